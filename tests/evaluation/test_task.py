from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.evaluation.task import Task, halves
from napari_stsr.slides import Counts
from napari_stsr.slides.simulate import simulate_slide


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_halves_sum_to_the_whole_and_leave_it_alone(dtype):
    values = np.random.default_rng(0).poisson(2, (40, 30)).astype(dtype)
    counts = Counts(sparse.csr_matrix(values))
    first, second = halves(counts, 5)
    np.testing.assert_array_equal(first.rows.toarray() + second.rows.toarray(), values)
    np.testing.assert_array_equal(counts.rows.toarray(), values)
    assert (first.rows.data > 0).all()
    assert (second.rows.data > 0).all()


def test_halves_are_fair_independent_and_repeatable():
    counts = Counts(sparse.csr_matrix(np.random.default_rng(0).poisson(3, (400, 50))))
    first, second = halves(counts, [1, 2])
    a, b = first.rows.toarray().ravel(), second.rows.toarray().ravel()
    assert a.sum() / (a + b).sum() == pytest.approx(0.5, abs=0.01)
    # Halves of Poisson counts are independent; 20,000 entries leave ±0.007.
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03
    again, _ = halves(counts, [1, 2])
    other, _ = halves(counts, [1, 3])
    assert (again.rows != first.rows).nnz == 0
    assert (other.rows != first.rows).nnz > 0


def test_normalised_values_have_no_halves():
    with pytest.raises(InputError, match="no molecules to split"):
        halves(Counts(sparse.csr_matrix(np.full((3, 3), 0.5))), 0)


def test_truth_of_other_genes_is_refused():
    slide = simulate_slide(shape=(6, 6), genes=10, image=False)
    truth = slide.with_genes(np.arange(9)).counts
    with pytest.raises(InputError, match="36 targets and 10 genes"):
        Task("hidden-spots", 0, slide, slide.locations(), truth, np.arange(36))
