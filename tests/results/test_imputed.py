from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from napari_stsr.results import ImputedExpression
from napari_stsr.slides import Counts
from tests.results.made import decoded


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), share=st.floats(0, 1))
def test_what_was_counted_is_kept_and_the_rest_is_expected(seed, share):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(3, (9, 12)) * (rng.random((9, 12)) < share)
    locations, genes = rng.permutation(9)[:6], rng.permutation(12)[:5]
    expected = decoded(6, 5, seed)
    made = ImputedExpression(expected, Counts(sparse.csr_matrix(counts)), locations, genes)
    every = np.arange(5)
    measured = counts[np.ix_(locations, genes)]
    want = np.where(measured > 0, measured, expected.columns(every))
    assert made.shape == (6, 5)
    np.testing.assert_array_equal(made.columns(every), want)
    some, columns = np.array([5, 0]), np.array([3, 1])
    np.testing.assert_array_equal(made.take(some).columns(columns), want[np.ix_(some, columns)])
