"""Shared weights are those every target would get alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from napari_stsr.methods.baselines.kriging_system import (
    Covariance,
    distances,
    saddles,
    weights_and_variance,
)
from napari_stsr.methods.baselines.neighbourhoods import Neighbourhoods, Whole, surroundings
from napari_stsr.slides import Lattice

from .fields import hexagonal

MATERN = Covariance(1.5, 3.0, 0.7)
PLATE = Covariance(np.inf, 1.0, 5.0)


@pytest.fixture(scope="module")
def holed():
    """A turned hexagonal slide with a fifth of its spots missing and a few unusable."""
    rng = np.random.default_rng(0)
    turn = np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    places = hexagonal(20, 20)[rng.random(400) < 0.8] @ turn
    return Lattice.from_coordinates(places), places, rng.random(len(places)) < 0.97


@pytest.mark.parametrize("covariance", [MATERN, PLATE])
def test_weights_on_a_lattice_are_those_of_each_target_alone(holed, covariance):
    lattice, places, usable = holed
    offsets = lattice.division(7).offsets @ lattice.basis
    targets = (places[:40, None] + offsets).reshape(-1, 2)
    near = surroundings(lattice, places, usable, targets, 30)
    [(weights, variance)] = near.weights([covariance])
    assert isinstance(near, Neighbourhoods)
    for target in range(0, len(targets), 13):
        rows = np.sort(near.index[target][near.index[target] >= 0])
        assert usable[rows].all()
        assert len(rows) >= 15
        here = places[rows] / lattice.pitch_um
        place = targets[[target]] / lattice.pitch_um
        away = distances(here, place)
        middle = place[0]
        matrix = next(saddles([covariance], here - middle))
        alone, spread = weights_and_variance(covariance, matrix, away, place - middle)
        # Targets lie on a mesh of 1/64 of a pitch.
        np.testing.assert_allclose(weights[target].toarray()[0, rows], alone[:, 0], atol=4e-3)
        if covariance is MATERN:
            assert variance[target] == pytest.approx(spread[0], rel=0.02)


def test_targets_far_outside_and_at_corners_take_the_nearest(holed):
    lattice, places, usable = holed
    targets = np.array([places.min(axis=0) - 900, places.mean(axis=0)])
    [(weights, variance)] = surroundings(lattice, places, usable, targets, 30).weights([MATERN])
    rows = weights[0].indices
    away = np.linalg.norm(places - targets[0], axis=1)
    assert set(rows) == set(np.flatnonzero(usable)[np.argsort(away[usable])[:30]])
    assert variance[0] > 2 * variance[1]


def test_a_full_lattice_needs_few_systems():
    places = hexagonal(30, 30)
    near = surroundings(
        Lattice.from_coordinates(places), places, np.ones(900, dtype=bool), places, 36
    )
    inner = (np.abs(places - places.mean(axis=0)) < 1000).all(axis=1)
    assert len(np.unique(near.system[inner])) == 1
    assert len(near.offsets) < 700


@pytest.mark.parametrize("covariance", [MATERN, PLATE])
def test_neighbourhoods_of_everything_are_the_whole(covariance):
    rng = np.random.default_rng(1)
    places, targets = rng.random((30, 2)) * 900, rng.random((11, 2)) * 900
    lattice, usable = Lattice.none(places), np.arange(30) != 4
    whole = surroundings(lattice, places, usable, targets, 29)
    assert isinstance(whole, Whole)
    index = np.tile(np.flatnonzero(usable), (11, 1)).astype(np.int32)
    offsets = ((places[index] - targets[:, None]) / lattice.pitch_um).astype(np.float32)
    every = Neighbourhoods(index, np.arange(11), offsets, np.ones(index.shape, dtype=bool), 30)
    [(w, v)], [(sparse_w, sparse_v)] = whole.weights([covariance]), every.weights([covariance])
    np.testing.assert_allclose(sparse_w.toarray(), w, atol=1e-5)
    if covariance is MATERN:
        np.testing.assert_allclose(sparse_v, v, atol=1e-5)
    np.testing.assert_allclose(whole.take(np.arange(3)).weights([covariance])[0][0], w[:3])


def test_too_many_systems_share_the_weights_of_full_neighbourhoods(holed, monkeypatch):
    lattice, places, usable = holed
    exact, spread = surroundings(lattice, places, usable, places, 30).weights([MATERN])[0]
    monkeypatch.setattr("napari_stsr.methods.baselines.neighbourhoods.MOST_SYSTEMS", 100)
    near = surroundings(lattice, places, usable, places, 30)
    assert (near.system >= 100).any()
    shared, wide = near.weights([MATERN])[0]
    np.testing.assert_allclose(shared.sum(axis=1), 1, atol=1e-4)
    # Places that lack most, such as those at the rim, keep their own.
    lacking = np.argsort((near.index >= 0).sum(axis=1))[:50]
    np.testing.assert_allclose(shared[lacking].toarray(), exact[lacking].toarray(), atol=1e-5)
    values = np.sin(places @ [0.004, 0.002])
    assert np.abs((shared - exact) @ values).mean() < 0.03
    np.testing.assert_allclose(wide, spread, rtol=0.5)


@pytest.mark.parametrize("neighbours", [None, 25])
def test_smoothed_thin_plates_are_those_of_scipy(neighbours):
    rng = np.random.default_rng(2)
    places, targets, values = rng.random((60, 2)) * 8, rng.random((20, 2)) * 8, rng.normal(size=60)
    reference = RBFInterpolator(
        places, values, neighbors=neighbours, smoothing=5.0, kernel="thin_plate_spline", degree=1
    )
    lattice = Lattice("none", 1.0, np.empty((0, 2), dtype=np.int64), np.zeros(2), np.eye(2))
    near = surroundings(lattice, places, np.ones(60, dtype=bool), targets, neighbours or 60)
    [(weights, _)] = near.weights([PLATE])
    np.testing.assert_allclose(weights @ values, reference(targets), atol=2e-5)


def test_thin_plates_give_planes_back(holed):
    lattice, places, usable = holed
    [(weights, _)] = surroundings(lattice, places, usable, places, 30).weights([PLATE])
    plane = places @ [0.01, -0.02] + 5
    np.testing.assert_allclose(weights @ plane, plane, atol=2e-2)
