"""The noise ceiling against what the true mean scores."""

import numpy as np
import pytest

from napari_stsr.evaluation.metrics import (
    ceiling_from_halves,
    ceiling_from_repeats,
    expected_log,
    measured_log,
    pearson,
)

PLACES = 12_000
OTHERS = 3000


def assert_near(ceilings: np.ndarray, best: np.ndarray, near: float = 0.05) -> None:
    """Compare reliabilities, which are as uncertain as any correlation over so many places."""
    np.testing.assert_allclose(ceilings**2, best**2, atol=near)
    assert abs(np.median(ceilings) - np.median(best)) < 0.03


@pytest.fixture(scope="module")
def field() -> np.ndarray:
    """Expected counts of 20 genes, smooth over many places, sparse to plentiful."""
    rng = np.random.default_rng(0)
    x = np.linspace(0, 6 * np.pi, PLACES)[:, None]
    depth = rng.lognormal(0, 0.3, (PLACES, 1))
    level = np.geomspace(0.1, 30, 20)
    return depth * level * np.exp(rng.uniform(0.3, 0.9, 20) * np.sin(x + rng.uniform(0, 6, 20)))


def logs_of(counts: np.ndarray, others: np.ndarray) -> np.ndarray:
    return measured_log(counts, counts.sum(axis=1) + others)


def test_repeats_tell_what_the_true_mean_scores(field):
    first, second = np.random.default_rng(1).poisson(field, (2, *field.shape))
    assert_near(ceiling_from_repeats(first, second).values, pearson(first, field).values)


def test_halves_tell_it_too(field):
    rng = np.random.default_rng(2)
    whole = rng.poisson(field)
    half = rng.binomial(whole, 0.5)
    assert_near(ceiling_from_halves(half, whole - half).values, pearson(whole, field).values)


def test_in_logs_the_best_prediction_is_the_expected_log(field):
    rng = np.random.default_rng(3)
    others = np.full(PLACES, OTHERS)
    whole, again = rng.poisson(field, (2, *field.shape))
    logs = logs_of(whole, rng.poisson(others))
    best = pearson(logs, expected_log(field, field.sum(axis=1) + others)).values
    assert_near(ceiling_from_repeats(logs, logs_of(again, rng.poisson(others))).values, best)
    worse = pearson(logs, np.log1p(field * 1e4 / OTHERS)).values
    assert np.median(best) > np.median(worse)


def test_in_logs_halves_tell_it_nearly(field):
    rng = np.random.default_rng(4)
    whole, others = rng.poisson(field), rng.poisson(np.full(PLACES, OTHERS))
    best = pearson(logs_of(whole, others), expected_log(field, field.sum(axis=1) + OTHERS)).values
    half, others_half = rng.binomial(whole, 0.5), rng.binomial(others, 0.5)
    found = ceiling_from_halves(
        logs_of(half, others_half), logs_of(whole - half, others - others_half)
    ).values
    # Spearman and Brown's formula is for sums, and a log of halves is none: a little too high.
    np.testing.assert_allclose(found, best, atol=0.1)
    assert abs(np.mean(found - best)) < 0.04


def test_noise_alone_has_no_ceiling():
    rng = np.random.default_rng(0)
    a, b = rng.poisson(3.0, (2, 4000, 10))
    assert ceiling_from_repeats(a, b).median < 0.15
    np.testing.assert_array_equal(ceiling_from_repeats(a, a.max() - a).values, 0)
    np.testing.assert_allclose(ceiling_from_repeats(a, a).values, 1)
