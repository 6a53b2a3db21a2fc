"""Moran's I against its double sum, and what compares two maps."""

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics import (
    jaccard_of_top,
    measured_log,
    morans_i,
    morans_i_of_counts,
    nearest,
    neighbour_weights,
    ratio,
    slide_weights,
    spatial,
    top,
)
from napari_stsr.slides import Counts
from napari_stsr.slides.simulate import simulate_slide


def places(n: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (n, 2))


def by_double_sum(x: np.ndarray, w: np.ndarray) -> float:
    z = x - x.mean()
    cross = sum(w[i, j] * z[i] * z[j] for i in range(len(x)) for j in range(len(x)))
    return len(x) / w.sum() * cross / (z**2).sum()


def test_morans_i_is_its_double_sum():
    x = np.random.default_rng(0).gamma(1, 1, (40, 3))
    weights = neighbour_weights(nearest(places(), 4))
    found = morans_i(x, weights).values
    want = [by_double_sum(x[:, g], weights.toarray()) for g in range(3)]
    np.testing.assert_allclose(found, want)
    np.testing.assert_allclose(morans_i(3 * x + 7, weights).values, want)


def test_nearest_are_the_nearest_others():
    where = places(30)
    found = nearest(where, 3)
    away = cdist(where, where) + np.diag(np.full(30, np.inf))
    for row, others in zip(found, np.argsort(away, axis=1)[:, :3]):
        assert set(row[row >= 0]) == set(others)
    weights = neighbour_weights(found)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert weights.diagonal().sum() == 0


def test_locations_on_top_of_each_other_are_no_neighbours_of_themselves():
    weights = neighbour_weights(nearest(np.zeros((9, 2)), 4))
    assert weights.diagonal().sum() == 0
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_smooth_maps_are_near_one_and_shuffled_ones_near_zero():
    where = places(600)
    weights = neighbour_weights(nearest(where))
    smooth = np.sin(where / 20)
    shuffled = np.random.default_rng(0).permutation(smooth)
    assert (morans_i(smooth, weights).values > 0.85).all()
    assert (np.abs(morans_i(shuffled, weights).values) < 0.1).all()


def test_counts_in_blocks_give_the_same_as_all_at_once(monkeypatch):
    slide = simulate_slide(lattice="square", shape=(9, 9), genes=23, seed=1)
    weights = slide_weights(slide)
    dense = slide.counts.rows.toarray()
    dense[:, 5] = 0
    counts = Counts(sparse.csr_matrix(dense))
    want = morans_i(measured_log(dense, dense.sum(axis=1)), weights)
    monkeypatch.setattr(spatial, "_BLOCK_BYTES", 4 * len(dense) * 7)
    found = morans_i_of_counts(counts, weights)
    np.testing.assert_allclose(found.values, want.values, atol=1e-5)
    assert np.isnan(found.values[5])
    assert found.constant_truth.sum() == 1


def test_lattice_weights_are_the_neighbours_on_the_lattice():
    slide = simulate_slide(lattice="hex", shape=(8, 8), genes=5)
    weights = slide_weights(slide)
    away = cdist(slide.coordinates, slide.coordinates)
    near = (away > 0) & (away < 1.2 * slide.lattice.pitch_um)
    np.testing.assert_array_equal(weights.toarray() > 0, near)


def test_top_leaves_out_the_undefined_and_keeps_order():
    assert top([0.1, np.nan, 0.7, 0.7, -1], 3).tolist() == [2, 3, 0]
    assert top([np.nan, np.nan], 3).tolist() == []


def test_jaccard_of_top_is_that_of_the_sets():
    assert jaccard_of_top([5, 4, 3, 2], [5, 1, 4, 0], 2) == pytest.approx(1 / 3)
    assert jaccard_of_top([5, 4, 3], [5, 4, 3], 2) == 1
    assert jaccard_of_top([5, 4, 3], [np.nan, np.nan, np.nan], 2) == 0
    with pytest.raises(InputError, match="No gene of the truth"):
        jaccard_of_top([np.nan], [1.0])
    with pytest.raises(InputError, match="2 and 1 genes"):
        jaccard_of_top([1.0, 2.0], [1.0])


def test_ratio_is_undefined_where_the_truth_has_none():
    weights = neighbour_weights(nearest(places()))
    x = np.random.default_rng(0).normal(size=(40, 2))
    truth = morans_i(x, weights)
    np.testing.assert_allclose(ratio(truth, truth), 1)
    x[:, 1] = 2
    assert np.isnan(ratio(truth, morans_i(x, weights))).tolist() == [False, True]


def test_bad_input_is_a_sentence():
    weights = neighbour_weights(nearest(places()))
    with pytest.raises(InputError, match="Weights are"):
        morans_i(np.ones((3, 1)), weights)
    with pytest.raises(InputError, match="No location has a neighbour"):
        morans_i(np.ones((3, 1)), sparse.csr_matrix((3, 3)))
    with pytest.raises(InputError, match="1 locations have no neighbours"):
        nearest(np.zeros((1, 2)))
