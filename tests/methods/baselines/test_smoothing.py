"""Gaussian sums and bandwidths against the dense formula, in double precision."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import poisson

from napari_stsr.methods.baselines import Kernel, PoissonKernel, bandwidth, smoothing
from napari_stsr.methods.baselines.bandwidth import LeftOut, best_bandwidths, poisson_loss
from napari_stsr.methods.baselines.poisson_kernel import prior_mass
from napari_stsr.methods.baselines.smoothing import REACH, SmoothedExpression, Smoother
from napari_stsr.methods.baselines.values import ArrayValues, CountValues, LogValues, log_mass
from napari_stsr.slides import points

from .fields import fit, hexagonal, slide_of, smooth_slide

OFF = np.array([31.0, 17.0])


class Finished:
    """A generator run to its end, and what it returned."""

    def __init__(self, work: Generator[int, None, np.ndarray]) -> None:
        self.work = work

    def __iter__(self) -> Iterator[int]:
        self.value = yield from self.work


def dense_weights(places: np.ndarray, sources: np.ndarray, width: float) -> np.ndarray:
    away = cdist(places, sources)
    weights = np.where(away <= REACH * width, np.exp(-(away**2) / (2 * width**2)), 0)
    # In a gap the width is half the distance to the nearest source.
    half = away.min(axis=1, keepdims=True) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        widened = np.exp(-(away**2) / (2 * half**2))
    return np.where(half > width, widened, weights)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), width=st.sampled_from([50.0, 140.0, 400.0]))
def test_direct_sums_follow_the_formula(seed, width):
    rng = np.random.default_rng(seed)
    sources, places = rng.uniform(0, 900, (60, 2)), rng.uniform(-300, 1200, (25, 2))
    values = rng.poisson(3, (60, 4)).astype(np.float32)
    sums = Smoother(sources, places, 100.0).sums(values, width)
    exact = dense_weights(places, sources, width) @ values.astype(np.float64)
    np.testing.assert_allclose(sums, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pitches", [0.5, 1.0, 2.8])
def test_the_raster_of_many_places_gives_nearly_the_same_means(monkeypatch, pitches):
    sources = hexagonal(30, 30)
    rng = np.random.default_rng(0)
    waves = 2 + np.sin(sources @ [0.004, 0.002])
    values = np.column_stack([rng.poisson(5 * waves), np.ones(900)]).astype(np.float32)
    places = rng.uniform(100, 2300, (400, 2))
    places = np.vstack([places, [[1e5, 0.0]]])
    exact = Smoother(sources, places, 100.0).sums(values, 100 * pitches)
    monkeypatch.setattr(smoothing, "_MOST_PAIRS", 0)
    raster = Smoother(sources, places, 100.0).sums(values, 100 * pitches)
    np.testing.assert_allclose(raster[-1], exact[-1])
    np.testing.assert_allclose(raster[:-1, 1].mean(), exact[:-1, 1].mean(), rtol=0.03)
    means = [sums[:-1, 0] / np.maximum(sums[:-1, 1], 1e-9) for sums in (raster, exact)]
    wrong = np.sqrt(np.mean((means[0] - means[1]) ** 2)) / means[1].std()
    assert wrong < (0.25 if pitches < 1 else 0.05)


def test_means_have_a_bandwidth_per_gene_and_a_prior():
    rng = np.random.default_rng(1)
    sources, places = rng.uniform(0, 900, (50, 2)), rng.uniform(0, 900, (9, 2))
    values, mass = rng.poisson(4, (50, 3)).astype(np.float32), rng.uniform(0.5, 2, 50)
    widths, mean = np.array([120.0, np.inf, 300.0]), np.array([3.0, 4.0, 5.0])
    smooth = SmoothedExpression(
        Smoother(sources, places, 100.0), ArrayValues(values), mass, widths, mean, 0.3
    )
    got = smooth.columns(np.array([2, 1, 0]))
    for column, gene in enumerate((2, 1, 0)):
        exact = np.full(9, mean[gene])
        if np.isfinite(widths[gene]):
            weights = dense_weights(places, sources, widths[gene])
            exact = (weights @ values[:, gene] + 0.3 * mean[gene]) / (weights @ mass + 0.3)
        np.testing.assert_allclose(got[:, column], exact, rtol=1e-4)


@pytest.mark.parametrize("large", [False, True])
def test_left_out_rates_are_those_of_a_slide_without_the_location(monkeypatch, large):
    if large:
        monkeypatch.setattr(bandwidth, "_DENSE_LOCATIONS", 10)
        monkeypatch.setattr(bandwidth, "_LARGE_SAMPLE", 40)
        monkeypatch.setattr(bandwidth, "_BLOCK_VALUES", 700)
    slide = smooth_slide(9, 9)
    counts, totals = slide.counts.rows.toarray().astype(np.float64), slide.counts.totals
    left_out = LeftOut.of(slide.coordinates, totals > 0, 100.0, 0)
    mean, prior = counts.sum(axis=0) / totals.sum(), prior_mass(totals)
    blocks = left_out.blocks(CountValues(slide.counts), totals.astype(np.float32), mean, prior)
    seen = 0
    for at, genes, own, rates in blocks:
        where, rates = left_out.locations[at], list(rates)
        assert len(rates) == len(left_out.grid)
        np.testing.assert_array_equal(own, counts[where][:, genes])
        for row in range(0, len(at), 7):
            others = np.delete(np.arange(81), where[row])
            for width, rate in zip(left_out.grid, rates):
                here = slide.coordinates[where[row]][None]
                weights = dense_weights(here, slide.coordinates[others], width)[0]
                exact = weights @ counts[others][:, genes] + prior * mean[genes]
                exact /= weights @ totals[others] + prior
                np.testing.assert_allclose(rate[row], exact, rtol=1e-4, atol=1e-6)
        seen += len(at)
    assert seen == (40 if large else 81)


def test_the_chosen_bandwidth_has_the_highest_left_out_poisson_likelihood():
    places, rng = hexagonal(10, 10), np.random.default_rng(0)
    strength = np.array([100.0, 5.0, 1.0, 0.3])
    counts = rng.poisson(strength * np.exp(np.sin(places @ [0.01, 0.004]))[:, None])
    slide = slide_of(places, np.column_stack([counts, rng.poisson(30, 100)]))
    counts, totals = slide.counts.rows.toarray(), slide.counts.totals
    left_out = LeftOut.of(slide.coordinates, totals > 0, 100.0, 0)
    mean, prior = counts.sum(axis=0) / totals.sum(), prior_mass(totals)
    values, depth = CountValues(slide.counts), totals.astype(np.float32)
    choosing = best_bandwidths(left_out, values, depth, mean, prior, poisson_loss(totals))
    *_, done = iter(chosen := Finished(choosing))
    assert done == counts.size
    likelihood = []
    for width in left_out.grid:
        weights = dense_weights(slide.coordinates, slide.coordinates, width)
        np.fill_diagonal(weights, 0)
        rate = (weights @ counts + prior * mean) / (weights @ totals + prior)[:, None]
        likelihood.append(poisson.logpmf(counts, totals[:, None] * rate).sum(axis=0))
    likelihood.append(poisson.logpmf(counts, totals[:, None] * mean).sum(axis=0))
    best = np.array([*left_out.grid, np.inf])[np.argmax(likelihood, axis=0)]
    np.testing.assert_array_equal(chosen.value, best)
    assert len(set(best)) > 2


def test_poisson_kernel_follows_its_formula():
    slide = smooth_slide()
    fitted = fit(PoissonKernel(), slide)
    places = points(slide.coordinates[40:60] + OFF, slide.diameter_um)
    counts, totals = slide.counts.rows.toarray(), slide.counts.totals
    mean, prior = counts.sum(axis=0) / totals.sum(), prior_mass(totals)
    weights = dense_weights(
        places.coordinates, slide.coordinates, float(fitted.learned["depth_bandwidth"])
    )
    depth = (weights @ totals + 0.01 * totals.mean()) / (weights.sum(axis=1) + 0.01)
    exact = np.tile(mean, (20, 1))
    for gene, width in enumerate(fitted.learned["bandwidth"]):
        if np.isfinite(width):
            weights = dense_weights(places.coordinates, slide.coordinates, width)
            exact[:, gene] = weights @ counts[:, gene] + prior * mean[gene]
            exact[:, gene] /= weights @ totals + prior
    np.testing.assert_allclose(
        fitted.predict(places).expression(), exact * depth[:, None], rtol=1e-4, atol=1e-6
    )


def test_kernel_smooths_logs_and_hands_them_on():
    slide = smooth_slide()
    fitted = fit(Kernel(), slide)
    places = points(slide.coordinates[40:60] + OFF, slide.diameter_um / 3)
    source = fitted.predict(places).expression_source
    totals, every = slide.counts.totals, np.arange(len(slide.genes))
    logs = np.log1p(1e4 * slide.counts.rows.toarray() / totals[:, None])
    mass = totals**2 / (totals**2 + (0.1 * np.median(totals)) ** 2)
    for gene, width in enumerate(fitted.learned["bandwidth"][:-1]):
        mean = (mass @ logs[:, gene]) / mass.sum()
        weights = dense_weights(places.coordinates, slide.coordinates, width) * mass
        exact = (weights @ logs[:, gene] + 0.01 * mean) / (weights.sum(axis=1) + 0.01)
        np.testing.assert_allclose(source.logs(every)[:, gene], exact, rtol=1e-3)
    rows = np.array([3, 1])
    np.testing.assert_allclose(source.take(rows).logs(every), source.logs(every)[rows], rtol=1e-5)


def test_values_by_rows_are_those_by_columns():
    slide = smooth_slide(6, 6)
    mass, every = log_mass(slide.counts.totals), np.arange(len(slide.genes))
    for values in (CountValues(slide.counts), LogValues(slide.counts, slide.counts.totals, mass)):
        rows = np.array([5, 30, 2])
        np.testing.assert_allclose(
            values.some(rows).toarray(), values.dense(every)[rows], rtol=1e-5
        )
