"""CARD: the CAR model against dense formulas, and its predictions where nothing was measured."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats

from napari_stsr.methods.baselines.gene_mean import GeneMean
from napari_stsr.methods.peers import car, card
from napari_stsr.slides.simulate import Simulation, simulate
from napari_stsr.slides.targets import points
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome
from tests.methods.peers.conftest import fit


@pytest.fixture(scope="module")
def field() -> tuple[np.ndarray, sparse.csr_matrix, np.ndarray]:
    """Places, their graph, and noisy draws of a strong CAR field, two columns."""
    rng = np.random.default_rng(4)
    places = rng.uniform(0, 10, (120, 2))
    joined = car.graph(places, 6, 1.0)
    covariance = np.linalg.inv(car.precision(joined, 0.99).toarray())
    values = rng.multivariate_normal(np.zeros(120), covariance, 2).T
    return places, joined, 2.0 + values + 0.8 * rng.normal(size=values.shape)


def test_conditional_mean_is_that_of_the_dense_normal(
    field: tuple[np.ndarray, sparse.csr_matrix, np.ndarray],
) -> None:
    places, joined, values = field
    model = car.Car(0.9, np.array([2.0, 1.5]), np.array([0.7, 5.0]), 0.0)
    prior = np.linalg.inv(car.precision(joined, 0.9).toarray())
    smooth = model.denoised(joined, values)
    for column in range(2):
        mean, rho = model.mean[column], model.rho[column]
        gain = prior @ np.linalg.inv(prior + rho * np.eye(len(prior)))
        expected = mean + gain @ (values[:, column] - mean)
        np.testing.assert_allclose(smooth[:, column], expected, rtol=1e-6, atol=1e-8)

    new = np.array([[5.2, 4.9], [0.1, 9.7]])
    away = np.linalg.norm(new[:, None] - places[None], axis=2)
    for place, distance in enumerate(away):
        near = np.argsort(distance)[:6]
        weight = np.exp(-0.5 * distance[near] ** 2)
        pull = weight @ (smooth[near] - model.mean) / weight.sum()
        made = model.continued(car.weights(new, places, 6, 1.0), smooth)
        np.testing.assert_allclose(made[place], model.mean + 0.9 * pull, rtol=1e-10)


def test_likelihood_is_that_of_the_dense_normal(
    field: tuple[np.ndarray, sparse.csr_matrix, np.ndarray],
) -> None:
    _, joined, values = field
    n = len(values)
    fitted = car.Car.fitted(joined, values)
    prior = np.linalg.inv(car.precision(joined, fitted.phi).toarray())
    total = 0.0
    for column in range(2):
        shape = prior + fitted.rho[column] * np.eye(n)
        residual = values[:, column] - fitted.mean[column]
        scale = residual @ np.linalg.solve(shape, residual) / n
        dense = stats.multivariate_normal(np.full(n, fitted.mean[column]), scale * shape)
        total += dense.logpdf(values[:, column]) + 0.5 * n * (1 + np.log(2 * np.pi))
    np.testing.assert_allclose(fitted.likelihood, total, rtol=1e-8)


def test_a_smooth_field_is_told_from_noise(
    field: tuple[np.ndarray, sparse.csr_matrix, np.ndarray],
) -> None:
    places, joined, values = field
    noise = np.random.default_rng(0).normal(size=values.shape)
    smooth = car.Car.fitted(joined, values)
    assert smooth.phi >= 0.9
    near = car.weights(places + 0.05, places, 6, 1.0)
    rough = car.Car.fitted(joined, noise)
    spread = [
        model.continued(near, model.denoised(joined, given)).std(axis=0) / given.std(axis=0)
        for model, given in ((smooth, values), (rough, noise))
    ]
    assert (spread[0] > 0.4).all()
    assert (spread[1] < 0.2).all()


def test_weights_are_those_of_the_nearest_and_symmetric_in_the_graph() -> None:
    places = np.random.default_rng(1).uniform(0, 5, (40, 2))
    near = car.weights(places[:3] + 0.01, places, 4, 0.7)
    assert (np.diff(near.indptr) == 4).all()
    joined = car.graph(places, 4, 0.7)
    assert abs(joined - joined.T).max() == 0
    assert joined.diagonal().max() == 0


@pytest.fixture(scope="module")
def hidden() -> tuple[Simulation, np.ndarray]:
    simulation = simulate("realistic", "square", (16, 16), 80, 2, image=False, tissue=False)
    return simulation, np.random.default_rng(0).random(256) < 0.2


def test_hidden_spots_are_predicted_better_than_by_the_mean(
    hidden: tuple[Simulation, np.ndarray],
) -> None:
    slide, left_out = hidden[0].slide, hidden[1]
    taught = slide.take(np.flatnonzero(~left_out))
    targets = points(slide.coordinates[left_out], slide.diameter_um)
    mean = hidden[0].mean.reshape(256, 9, -1).sum(axis=1)[left_out]
    made = fit("card", taught, factors=8, steps=100).predict(targets).expression()
    flat = outcome(GeneMean().fit(taught, GeneMean().parameters(), Run())).predict(targets)
    size = mean.mean(axis=0)
    error, least = (np.mean(((values - mean) / size) ** 2) for values in (made, flat.expression()))
    assert error < 0.8 * least


def test_measured_places_take_their_own_loadings(clear: Simulation) -> None:
    slide = clear.slide
    fitted = fit("card", slide)
    whole = fitted.predict(slide.locations()).expression()
    beside = points(slide.coordinates + 0.01 * slide.diameter_um, slide.diameter_um)
    blurred = fitted.predict(beside).expression()
    measured = slide.counts.rows.toarray()
    assert np.mean((whole - measured) ** 2) < np.mean((blurred - measured) ** 2)


def test_a_large_slide_learns_factors_on_a_sample(
    clear: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, targets = clear.slide, clear.slide.subspots(9)
    whole = fit("card", slide, steps=100, conserve="off").predict(targets).expression()
    monkeypatch.setattr(card, "_MOST", 200)
    monkeypatch.setattr(car, "_MOST", 150)
    sampled = fit("card", slide, steps=100, conserve="off").predict(targets).expression()
    assert np.corrcoef(whole.ravel(), sampled.ravel())[0, 1] > 0.9
