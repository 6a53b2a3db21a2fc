"""Bootstrap draws against drawing locations one draw at a time."""

import numpy as np
import pytest
from scipy import stats

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics import (
    drawn_correlations,
    drawn_medians,
    interval,
    location_weights,
    paired_difference,
    pearson,
)


def drawn(m: int = 80, g: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    expected = rng.gamma(1.0, 2.0, (m, g))
    return rng.poisson(expected).astype(float), expected


def test_every_draw_is_the_correlation_of_the_locations_drawn():
    truth, predicted = drawn()
    weights = location_weights(80, 7, seed=2)
    assert (weights.sum(axis=1) == 80).all()
    found = drawn_correlations(truth, predicted, weights)
    for draw, weight in enumerate(weights):
        rows = np.repeat(np.arange(80), weight)
        want = [stats.pearsonr(truth[rows, g], predicted[rows, g]).statistic for g in range(4)]
        np.testing.assert_allclose(found[draw], want, atol=1e-4)


def test_entries_that_do_not_count_do_not_count():
    truth, predicted = drawn()
    scored = np.random.default_rng(0).random(truth.shape) < 0.7
    weights = location_weights(80, 5)
    found = drawn_correlations(truth, predicted, weights, scored)
    for draw, weight in enumerate(weights):
        for gene in range(4):
            rows = np.repeat(np.arange(80), weight * scored[:, gene])
            want = stats.pearsonr(truth[rows, gene], predicted[rows, gene]).statistic
            assert found[draw, gene] == pytest.approx(want, abs=1e-4)


def test_many_locations_go_through_in_chunks():
    truth, predicted = drawn(40_000, 2)
    whole = np.ones((1, 40_000), dtype=np.uint8)
    found = drawn_correlations(truth, predicted, whole)[0]
    np.testing.assert_allclose(found, pearson(truth, predicted).values, atol=1e-5)


def test_same_seed_same_weights_and_another_seed_others():
    np.testing.assert_array_equal(location_weights(50, 3, 1), location_weights(50, 3, 1))
    assert (location_weights(50, 3, 1) != location_weights(50, 3, 2)).any()


def test_constant_genes_take_no_part_or_know_nothing():
    truth, predicted = drawn()
    truth[:, 0], predicted[:, 1] = 1, 1
    draws = drawn_correlations(truth, predicted, location_weights(80, 20))
    assert np.isnan(draws[:, 0]).all()
    assert (draws[:, 1] == 0).all()
    np.testing.assert_allclose(drawn_medians(draws), np.median(draws[:, 1:], axis=1))
    with pytest.raises(InputError, match="constant in all genes"):
        drawn_medians(draws[:, :1])


def test_the_interval_covers_the_correlation_of_the_population():
    rng = np.random.default_rng(4)
    covered = 0
    for run in range(60):
        x = rng.normal(size=(120, 1))
        y = 0.6 * x + 0.8 * rng.normal(size=x.shape)
        draws = drawn_correlations(x, y, location_weights(120, 200, run))
        found = interval(pearson(x, y).median, drawn_medians(draws))
        covered += found.low <= 0.6 <= found.high
    assert 50 <= covered <= 60


def test_an_interval_lies_around_its_figure_also_where_draws_lie_above_it():
    # Most genes next to noise, a few well told: noise lifts the median, and folds do not lower it.
    rng = np.random.default_rng(0)
    strength = rng.gamma(0.5, 0.4, 200)
    figures, draws = [], []
    for fold in range(20):
        truth = rng.normal(size=(150, 200))
        told = strength * truth + rng.normal(size=truth.shape)
        figures.append(pearson(truth, told).median)
        weights = location_weights(150, 100, fold)
        draws.append(drawn_medians(drawn_correlations(truth, told, weights)))
    value, drawn = np.mean(figures), np.mean(draws, axis=0)
    assert np.quantile(drawn, 0.025) > value
    found = interval(value, drawn)
    assert found.low < value < found.high
    assert found.high - found.low == pytest.approx(np.ptp(np.quantile(drawn, [0.025, 0.975])))


def test_a_paired_difference_is_narrower_than_its_methods():
    truth, expected = drawn(150, 30)
    noise = np.random.default_rng(1).normal(size=truth.shape)
    weights = location_weights(150)
    better = drawn_correlations(truth, expected, weights)
    worse = drawn_correlations(truth, expected + noise, weights)
    gain = paired_difference(better, worse)
    assert 0 < gain.low < gain.value < gain.high
    alone = interval(0.0, drawn_medians(better))
    assert gain.high - gain.low < alone.high - alone.low
    same = paired_difference(better, better)
    assert (same.low, same.high) == (0, 0)
    with pytest.raises(InputError, match="cannot be paired"):
        paired_difference(better, worse[:10])


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(InputError, match="cannot be made"):
        location_weights(0)
    with pytest.raises(InputError, match="Weights of 5 locations"):
        drawn_correlations(np.ones((4, 1)), np.ones((4, 1)), location_weights(5, 2))
