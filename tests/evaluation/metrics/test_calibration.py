"""Coverage of right and wrong uncertainty, and risk against coverage."""

import numpy as np
import pytest
from scipy import stats

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics import (
    conservation_error,
    interval_coverage,
    probability_transform,
    risk_coverage,
    transformed_coverage,
)


def test_interval_coverage_counts_both_ends_and_the_width():
    found = interval_coverage([1.0, 2.0, 3.0, 4.0], [1, 0, 4, 0], [2, 1, 5, 4])
    assert (found.share, found.width) == (0.5, 1.75)


@pytest.mark.parametrize("deviation", [0.0, 0.4, 3.0])
def test_the_right_distribution_covers_what_it_says(deviation):
    rng = np.random.default_rng(0)
    p = rng.gamma(1.0, 4.0, 20_000) + 0.05
    d = deviation * np.ones_like(p)
    mean = p if deviation == 0 else rng.gamma((p / deviation) ** 2, deviation**2 / p)
    u = probability_transform(rng.poisson(mean), p, d)
    assert stats.kstest(u, "uniform").pvalue > 0.001
    for level, share in transformed_coverage(u).items():
        assert share == pytest.approx(level, abs=0.015)


def test_too_sure_covers_too_little_and_too_shy_too_much():
    rng = np.random.default_rng(1)
    p = rng.gamma(2.0, 10.0, 5000)
    counts = rng.poisson(rng.gamma(4, p / 4))
    sure = transformed_coverage(probability_transform(counts, p, 0 * p))[0.9]
    shy = transformed_coverage(probability_transform(counts, p, 2 * p))[0.9]
    assert sure < 0.75
    assert shy > 0.93


def test_an_expectation_of_nothing_expects_nothing():
    u = probability_transform(np.array([0.0, 0, 2]), np.zeros(3), np.array([0.0, 1, 1]))
    assert (u[:2] < 1).all()
    assert u[2] == 1


def test_risk_falls_with_the_right_order_and_not_without():
    rng = np.random.default_rng(0)
    error = rng.random(500)
    right, wrong = risk_coverage(error, error), risk_coverage(error, -error)
    none = risk_coverage(error, np.ones(500))
    assert right.area == pytest.approx(right.best_area)
    assert right.area < none.area < wrong.area
    np.testing.assert_allclose(none.risk, error.mean())
    assert none.area == pytest.approx(none.random_area)
    assert right.coverage[-1] == 1
    assert right.risk[-1] == pytest.approx(error.mean())


def test_bad_uncertainty_is_a_sentence():
    with pytest.raises(InputError, match="end before they start"):
        interval_coverage([1.0], [2.0], [1.0])
    with pytest.raises(InputError, match="no numbers"):
        risk_coverage([np.nan], [1.0])
    with pytest.raises(InputError, match="cannot be compared"):
        risk_coverage([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="must not be negative"):
        probability_transform([1.0], [-1.0], [1.0])
    with pytest.raises(InputError, match="no value"):
        transformed_coverage([])


def test_conservation_error_is_relative_to_what_was_measured():
    measured = np.array([[10.0, 0.0], [4.0, 2.0], [7.0, 7.0]])
    parts = np.array([[4.0, 0.0], [6.0, 0.0], [2.0, 1.5], [1.0, 0.5], [99.0, 99.0]])
    found = conservation_error(parts, np.array([0, 0, 1, 1, -1]), measured)
    assert (found.largest, found.mean, found.entries) == (0.25, 0.0625, 4)
    both = found + conservation_error(parts[:2], np.array([0, 0]), measured)
    assert (both.largest, both.entries) == (0.25, 6)
    assert both.mean == pytest.approx(0.25 / 6)
    with pytest.raises(InputError, match="divides"):
        conservation_error(parts, -np.ones(5, dtype=int), measured)
    with pytest.raises(InputError, match="Parts are"):
        conservation_error(parts[:, :1], np.zeros(5, dtype=int), measured)
