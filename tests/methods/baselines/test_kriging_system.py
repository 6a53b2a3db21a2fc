"""The algebra of kriging, against scikit-learn and against actually leaving locations out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from napari_stsr.methods.baselines.kriging_system import (
    Covariance,
    LeaveOneOut,
    distances,
    left_out,
    patches,
    saddles,
    weights_and_variance,
)

ANY = st.builds(
    Covariance,
    st.sampled_from([0.5, 1.5, 2.5, np.inf]),
    st.floats(0.5, 5.0),
    st.floats(0.05, 20.0),
)


def krige(covariance, places, values, targets):
    matrix = next(saddles([covariance], places))
    away = distances(places, targets)
    weights, variance = weights_and_variance(covariance, matrix, away, targets)
    return weights.T @ values, variance


@pytest.mark.parametrize("smoothness", [0.5, 1.5, 2.5])
def test_ordinary_kriging_is_a_gaussian_process_around_the_generalised_mean(smoothness):
    rng = np.random.default_rng(0)
    places, targets, values = rng.random((40, 2)) * 6, rng.random((9, 2)) * 6, rng.normal(size=40)
    noise, length = 0.3, 1.7
    kernel = Matern(length, nu=smoothness)
    inverse = np.linalg.inv(kernel(places) + noise * np.eye(40))
    mean = (inverse @ values).sum() / inverse.sum()
    model = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)
    model.fit(places, values - mean)
    expected, sd = model.predict(targets, return_std=True)
    found, variance = krige(Covariance(smoothness, length, noise), places, values, targets)
    np.testing.assert_allclose(found, expected + mean, rtol=1e-9, atol=1e-9)
    # The unknown mean adds what it may be wrong by.
    near = kernel(targets, places)
    unsure = (1 - near @ inverse.sum(axis=1)) ** 2 / inverse.sum()
    np.testing.assert_allclose(variance, sd**2 + unsure, rtol=1e-8)


@given(ANY, st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_closed_form_errors_are_those_of_leaving_locations_out(covariance, seed):
    rng = np.random.default_rng(seed)
    places, values = rng.random((14, 2)) * 5, rng.normal(size=(14, 2))
    errors, variance = left_out(next(saddles([covariance], places)), values)
    for i in range(len(places)):
        others = np.arange(len(places)) != i
        found, spread = krige(covariance, places[others], values[others], places[[i]])
        np.testing.assert_allclose(errors[i], values[i] - found[0], rtol=1e-4, atol=1e-6)
        if np.isfinite(covariance.smoothness):
            assert variance[i] == pytest.approx(spread[0] + covariance.noise, rel=1e-5)


def test_without_noise_the_data_come_back_with_no_variance():
    rng = np.random.default_rng(1)
    places, values = rng.random((25, 2)) * 5, rng.normal(size=(25, 3))
    found, variance = krige(Covariance(1.5, 2.0, 0.0), places, values, places)
    np.testing.assert_allclose(found, values, atol=1e-9)
    np.testing.assert_allclose(variance, 0, atol=1e-9)


def test_members_that_differ_in_noise_alone_are_solved_as_if_alone():
    places = np.random.default_rng(2).random((3, 12, 2)) * 4
    there = np.random.default_rng(3).random((3, 12)) < 0.7
    grid = [Covariance(1.5, 2.0, noise) for noise in (0.1, 3.0)] + [Covariance(np.inf, 1.0, 0.5)]
    together = [matrix.copy() for matrix in saddles(grid, places, there)]
    for covariance, matrix in zip(grid, together, strict=True):
        np.testing.assert_array_equal(matrix, next(saddles([covariance], places, there)))


def test_leave_one_out_finds_the_covariance_that_made_the_field():
    rng = np.random.default_rng(4)
    places = np.argwhere(np.ones((20, 20))).astype(float)
    grid = [Covariance(1.5, length, noise) for length in (1.5, 12.0) for noise in (0.1, 6.0)]
    members = []
    for truth in grid:
        matrix = truth(distances(places, places)) + truth.noise * np.eye(400)
        members.append(3 * np.linalg.cholesky(matrix) @ rng.normal(size=(400, 20)))
    errors = LeaveOneOut(grid, 80)
    list(errors.add(places, np.hstack(members).astype(np.float32)))
    best, sill = errors.best()
    assert (best == np.repeat(np.arange(4), 20)).mean() > 0.85
    assert np.median(sill) == pytest.approx(9, rel=0.25)


@given(st.integers(1, 400), st.integers(10, 60), st.integers(50, 500), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_patches_are_small_apart_and_of_neighbours(count, most, limit, seed):
    places = np.random.default_rng(seed).random((count, 2))
    drawn = patches(places, most, limit, seed)
    every = np.concatenate(drawn)
    assert max(map(len, drawn)) <= most
    # Patches that were halved once more are half as large: "about" the limit is up to twice.
    assert len(np.unique(every)) == len(every) <= 2 * limit + most
    if count <= min(most, limit):
        assert len(every) == count
    again = patches(places, most, limit, seed)
    assert all(np.array_equal(a, b) for a, b in zip(drawn, again, strict=True))
