"""Profiles across genes: against SciPy one location at a time, and what chance gives."""

import numpy as np
import pytest
from scipy import stats

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics import (
    jaccard_distance_above_mean,
    jaccard_distance_of_top,
    location_correlation,
    spearman_distance,
)


@pytest.fixture
def profiles() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    expected = rng.gamma(0.5, 4, (25, 80))
    return rng.poisson(expected).astype(float), expected


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    return 1 - len(set(a) & set(b)) / len(set(a) | set(b))


def test_correlation_across_genes_is_scipys_also_of_the_gene_mean(profiles):
    truth, predicted = profiles
    mean = predicted.mean(axis=0)
    want = [stats.pearsonr(t, p).statistic for t, p in zip(truth, predicted)]
    of_mean = [stats.pearsonr(t, mean).statistic for t in truth]
    np.testing.assert_allclose(location_correlation(truth, predicted).values, want)
    np.testing.assert_allclose(location_correlation(truth, mean).values, of_mean)


def test_spearman_distance_is_scipys(profiles):
    truth, predicted = profiles
    want = [1 - stats.spearmanr(t, p).statistic for t, p in zip(truth, predicted)]
    np.testing.assert_allclose(spearman_distance(truth, predicted).values, want)
    np.testing.assert_allclose(spearman_distance(truth, truth).values, 0, atol=1e-12)


def test_above_mean_compares_sets(profiles):
    truth, predicted = profiles
    want = [
        jaccard(np.flatnonzero(t > t.mean()), np.flatnonzero(p > p.mean()))
        for t, p in zip(truth, predicted)
    ]
    np.testing.assert_allclose(jaccard_distance_above_mean(truth, predicted).values, want)


def test_top_genes_without_ties_are_the_sorted_ones():
    rng = np.random.default_rng(1)
    truth, predicted = rng.random((2, 20, 50))
    want = [jaccard(np.argsort(-t)[:10], np.argsort(-p)[:10]) for t, p in zip(truth, predicted)]
    np.testing.assert_allclose(jaccard_distance_of_top(truth, predicted, 10).values, want)


def test_ties_are_broken_at_random_and_by_seed():
    truth = np.zeros((400, 100))
    truth[:, :5] = 9
    truth[:, 5:60] = 1
    found = jaccard_distance_of_top(truth, truth, 30, seed=3)
    np.testing.assert_array_equal(
        found.values, jaccard_distance_of_top(truth, truth, 30, seed=3).values
    )
    # 5 genes are common for sure, 25 of 55 by chance: 25²/55 of them.
    common = 5 + 25 * 25 / 55
    assert found.mean == pytest.approx(1 - common / (60 - common), abs=0.01)


def test_chance_among_95_exchangeable_genes_is_the_slides_figure():
    same = np.zeros((3000, 95))
    assert jaccard_distance_of_top(same, same, 30).mean == pytest.approx(0.8125, abs=0.003)


def test_empty_locations_are_counted(profiles):
    truth, predicted = (values.copy() for values in profiles)
    truth[3], predicted[4] = 0, 0
    for found in (
        spearman_distance(truth, predicted),
        location_correlation(truth, predicted),
    ):
        assert np.flatnonzero(np.isnan(found.values)).tolist() == [3, 4]
        assert found.notes[0] == "The truth is constant in 1 of 25 locations."
    above = jaccard_distance_above_mean(truth, predicted)
    assert np.flatnonzero(np.isnan(above.values)).tolist() == [3]
    assert above.values[4] == 1


def test_bad_input_is_a_sentence(profiles):
    truth, predicted = profiles
    with pytest.raises(InputError, match="30 highest of 20 genes"):
        jaccard_distance_of_top(truth[:, :20], predicted[:, :20])
    with pytest.raises(InputError, match="same genes"):
        spearman_distance(truth, predicted[:, 1:])
