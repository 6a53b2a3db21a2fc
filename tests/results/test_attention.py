from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.results import Attention

DENSE = {
    (0, 0): np.array([[0.2, 0.8, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    (0, 1): np.array([[0.6, 0.4, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]),
    (1, 0): np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]),
    (1, 1): np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]),
}


@pytest.fixture
def attention() -> Attention:
    return Attention({key: sparse.csr_matrix(dense) for key, dense in DENSE.items()})


def test_what_is_not_chosen_is_averaged(attention):
    assert (attention.layers, attention.heads) == (2, 2)
    np.testing.assert_allclose(attention.matrix(0, 1).toarray(), DENSE[0, 1])
    np.testing.assert_allclose(attention.matrix(0).toarray(), (DENSE[0, 0] + DENSE[0, 1]) / 2)
    np.testing.assert_allclose(attention.matrix(head=1).toarray(), (DENSE[0, 1] + DENSE[1, 1]) / 2)
    np.testing.assert_allclose(attention.matrix().toarray(), sum(DENSE.values()) / 4)


def test_sources_come_strongest_first(attention):
    where, weights = attention.sources(0, 0)
    assert where.tolist() == [1, 0]
    np.testing.assert_allclose(weights, [0.6, 0.4])
    assert attention.sources(2)[0].size == 0


def test_some_targets_keep_their_rows(attention):
    some = attention.take(np.array([1, 0]))
    np.testing.assert_allclose(some.matrix(0, 0).toarray(), DENSE[0, 0][[1, 0]])


def test_a_head_that_is_not_there_is_refused(attention):
    with pytest.raises(InputError, match="heads from 0 to 1"):
        attention.matrix(0, 2)
