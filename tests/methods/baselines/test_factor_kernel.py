"""Poisson factors against scikit-learn, and what sharing strength between genes is worth."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import TypeVar

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import NMF

from napari_stsr.methods.baselines import FactorKernel, PoissonKernel, factor_kernel
from napari_stsr.methods.baselines.factor_kernel import pooling
from napari_stsr.methods.baselines.factors import fit_factors, fit_loadings, fit_profiles
from napari_stsr.slides import Slide
from napari_stsr.slides.readers import open_slide

from .fields import fit, hexagonal, slide_of

T = TypeVar("T")


def finished(steps: Generator[int, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def programmes(seed: int = 0, genes: int = 60, depth: float = 150.0):
    """Return a slide of three smooth programmes, and its noise-free means."""
    rng = np.random.default_rng(seed)
    places = hexagonal(20, 20)
    waves = np.stack([np.exp(2 * np.sin(places @ rng.normal(0, 0.004, 2) + k)) for k in range(3)])
    loadings = (waves / waves.sum(axis=0)).T
    profiles = rng.dirichlet(np.full(genes, 0.3), 3)
    mean = depth * loadings @ profiles
    return slide_of(places, rng.poisson(mean)), mean


def divergence(counts: np.ndarray, mean: np.ndarray) -> float:
    return float((mean - counts * np.log(np.maximum(mean, 1e-12))).sum())


def test_the_factors_fit_as_well_as_scikit_learns():
    slide, _ = programmes()
    counts = slide.counts.rows.astype(np.float32)
    dense = counts.toarray().astype(np.float64)
    a, b = finished(fit_factors(counts, 3, 300, 0))
    np.testing.assert_allclose(a.sum(axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(b.sum(axis=1), 1, rtol=1e-4)
    own = divergence(dense, dense.sum(axis=1, keepdims=True) * (a @ b))
    reference = NMF(
        3, solver="mu", beta_loss="kullback-leibler", init="random", max_iter=1000, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = divergence(dense, reference.fit_transform(dense) @ reference.components_)
    flat = divergence(dense, np.outer(dense.sum(axis=1), dense.sum(axis=0)) / dense.sum())
    assert (flat - own) > 0.99 * (flat - theirs)


def test_the_same_seed_gives_the_same_factors():
    counts = programmes()[0].counts.rows.astype(np.float32)
    first, second = (finished(fit_factors(counts, 4, 20, 5)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[1], finished(fit_factors(counts, 4, 20, 6))[1])


def test_loadings_and_profiles_are_found_when_the_other_is_known():
    rng = np.random.default_rng(0)
    a, b = rng.dirichlet(np.ones(3), 1500), rng.dirichlet(np.ones(40), 3)
    counts = (2000 * a @ b).astype(np.float32)
    start = np.full((1500, 3), 1 / 3, dtype=np.float32)
    known = b.astype(np.float32)
    found = finished(fit_loadings(sparse.csr_matrix(counts), known, start, 400))
    np.testing.assert_allclose(found, a, atol=0.02)
    amounts = (2000 * a).astype(np.float32)
    profiles = fit_profiles(counts, amounts, np.full((3, 40), 0.1, dtype=np.float32), 400)
    np.testing.assert_allclose(profiles, b, atol=2e-3)


def error(slide: Slide, mean: np.ndarray, method, **values) -> float:
    predicted = fit(method, slide, **values).predict(slide.locations()).expression()
    return float(np.sqrt(np.mean((predicted - mean) ** 2)))


def test_genes_share_strength_where_counts_are_few():
    slide, mean = programmes(depth=60.0)
    few = error(slide, mean, FactorKernel(), factors=4)
    assert few < 0.8 * error(slide, mean, PoissonKernel())
    # Genes the factors were not learned from are predicted as well.
    others = error(slide, mean, FactorKernel(), factors=4, variable_genes=30)
    assert others < 1.2 * few


def test_large_slides_pool_neighbours_and_predict_as_well(monkeypatch):
    slide, mean = programmes()
    whole = error(slide, mean, FactorKernel(), factors=4)
    monkeypatch.setattr(factor_kernel, "_MOST_LOCATIONS", 120)
    assert error(slide, mean, FactorKernel(), factors=4) < 1.3 * whole


def test_pooling_puts_every_location_into_one_compact_group():
    places = hexagonal(30, 30)
    groups = pooling(places, 100)
    assert 50 < groups.shape[0] <= 100
    np.testing.assert_array_equal(np.asarray(groups.sum(axis=0)).ravel(), 1)
    members = groups.tocsr()
    for group in range(groups.shape[0]):
        own = places[members.indices[members.indptr[group] : members.indptr[group + 1]]]
        assert np.ptp(own, axis=0).max() < 600
    np.testing.assert_array_equal(pooling(places, 900).toarray(), np.eye(900))


@pytest.mark.parametrize("method", [PoissonKernel(), FactorKernel()])
def test_hidden_spots_of_a_real_slide_are_predicted_far_better_than_by_the_nearest(method, data):
    slide = open_slide(data("her2st_C2/original"))
    often = np.sort(np.argsort(-slide.counts.gene_totals, kind="stable")[:300])
    slide = slide.with_genes(often)
    hidden = np.arange(len(slide)) % 5 == 2
    truth = slide.take(hidden)
    fitted = fit(method, slide.take(~hidden))
    predicted = fitted.predict(truth.locations()).expression().astype(np.float64)
    measured = truth.counts.rows.toarray().astype(np.float64)
    away = np.linalg.norm(truth.coordinates[:, None] - slide.coordinates[~hidden], axis=2)
    nearest = slide.take(~hidden).counts.rows.toarray()[np.argmin(away, axis=1)]

    def median_r(values: np.ndarray) -> float:
        pairs = [np.corrcoef(a, b)[0, 1] for a, b in zip(values.T, measured.T) if a.std() > 0]
        return float(np.median(pairs))

    assert median_r(predicted) > median_r(nearest.astype(np.float64)) + 0.05
