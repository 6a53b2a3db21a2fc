"""Inverse distance and nearest, against the dense formula and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsRegressor

from napari_stsr.methods.baselines import InverseDistance, Nearest
from napari_stsr.methods.baselines.inverse_distance import inverse_distance_weights
from napari_stsr.slides import points

from .fields import fit, smooth_slide


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    power=st.sampled_from([0.5, 2.0, 20.0]),
    neighbours=st.integers(1, 80),
)
def test_weights_are_those_of_scikit_learn(seed, power, neighbours):
    rng = np.random.default_rng(seed)
    sources, places = rng.uniform(0, 1000, (50, 2)), rng.uniform(-200, 1200, (30, 2))
    places[0] = sources[7]
    values = rng.normal(size=(50, 3))
    weights = inverse_distance_weights(places, sources, np.ones(50), power, neighbours)

    def weigh(away):
        with np.errstate(divide="ignore", invalid="ignore"):
            raw = (away.min(axis=1, keepdims=True) / away) ** power
        raw[away == 0] = 1
        raw[(away == 0).any(axis=1)[:, None] & (away > 0)] = 0
        return raw

    exact = KNeighborsRegressor(min(neighbours, 50), weights=weigh).fit(sources, values)
    np.testing.assert_allclose(weights @ values, exact.predict(places), atol=1e-8)


@pytest.mark.parametrize("method", [Nearest(), InverseDistance()])
def test_both_give_the_measured_counts_back_where_they_were_measured(method):
    slide = smooth_slide()
    result = fit(method, slide).predict(slide.locations())
    np.testing.assert_allclose(
        result.expression(), slide.counts.rows.toarray(), rtol=1e-3, atol=1e-3
    )


def test_nearest_copies_the_nearest():
    slide = smooth_slide()
    beside = points(slide.coordinates[[17, 80]] + [40.0, 5.0], slide.diameter_um)
    values = fit(Nearest(), slide).predict(beside).expression()
    measured = slide.counts.rows.toarray()[[17, 80]]
    np.testing.assert_allclose(values, measured, rtol=1e-3, atol=1e-3)
