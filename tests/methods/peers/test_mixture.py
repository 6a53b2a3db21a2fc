"""The sampler against what its distributions are known to be."""

from __future__ import annotations

import numpy as np

from napari_stsr.methods.peers.bayesspace import colours, subspots
from napari_stsr.methods.peers.mixture import Neighbourhood, PottsMixture, given_mean, wishart
from napari_stsr.slides.simulate import simulate_slide


def test_parts_given_their_mean_follow_the_conditional_normal() -> None:
    rng = np.random.default_rng(0)
    k, many = 4, 40_000
    mean, variance = rng.normal(size=k), rng.uniform(0.2, 3.0, k)
    row = np.ones((1, k)) / k
    gain = np.diag(variance) @ row.T / (row @ np.diag(variance) @ row.T)
    expected = mean + (gain * (0.7 - row @ mean)).ravel()
    covariance = np.diag(variance) - gain @ row @ np.diag(variance)
    shape = (many, k, 1)
    drawn = given_mean(
        np.broadcast_to(mean[None, :, None], shape).astype(np.float32),
        np.broadcast_to(1 / variance[None, :, None], shape).astype(np.float32),
        np.full((many, 1, 1), 0.7, dtype=np.float32),
        rng.standard_normal(shape, dtype=np.float32),
    )[:, :, 0]
    np.testing.assert_allclose(drawn.mean(axis=1), 0.7, atol=1e-5)
    np.testing.assert_allclose(drawn.mean(axis=0), expected, atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.06)


def test_wishart_has_its_mean() -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(size=(3, 3))
    rate = root @ root.T + np.eye(3)
    mean = np.mean([wishart(rate, 50.0, rng) for _ in range(3000)], axis=0)
    np.testing.assert_allclose(mean, 50 * np.linalg.inv(rate), rtol=0.05, atol=0.5)


def test_neighbours_never_share_a_colour() -> None:
    for kind, parts in (("hex", 6), ("hex", 7), ("square", 9), ("square", 4)):
        lattice = simulate_slide(lattice=kind, shape=(8, 8), genes=20, image=False).lattice  # type: ignore[arg-type]
        near = lattice.neighbours()
        colour = colours(lattice)
        there = near >= 0
        assert (colour[near] != colour[:, None])[there].all()
        _, around = subspots(lattice, parts)
        for places in around.classes:
            assert around.share[places][:, places].nnz == 0


def test_subspots_touch_their_siblings_and_the_spots_around() -> None:
    lattice = simulate_slide(lattice="hex", shape=(8, 8), genes=20, image=False).lattice
    _, triangles = subspots(lattice, 6)
    touching = np.diff(triangles.share.indptr)
    assert touching.max() == 3
    inner = np.repeat((lattice.neighbours() >= 0).all(axis=1), 6)
    assert (touching[inner] == 3).all()


def test_the_prior_makes_neighbours_agree() -> None:
    slide = simulate_slide(shape=(12, 12), genes=20, image=False)
    around = Neighbourhood.of(slide.lattice.neighbours(), colours(slide.lattice))
    rng = np.random.default_rng(2)
    values = rng.normal(size=(len(slide), 2))
    agreement = []
    for gamma in (0.0, 3.0):
        labels = rng.integers(0, 3, len(slide))
        mixture = PottsMixture(values, labels, around, 3, gamma, tailed=False)
        for sweep in range(60):
            mixture.sweep(rng, sweep > 30)
        near = slide.lattice.neighbours()
        same = mixture.labels[near] == mixture.labels[:, None]
        agreement.append(same[near >= 0].mean())
    assert agreement[1] > agreement[0] + 0.2
