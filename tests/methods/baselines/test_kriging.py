"""Kriging as a method: what it predicts, how sure it is, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shapely import box

from napari_stsr.errors import Cancelled, InputError
from napari_stsr.methods.baselines.interpolation import Linear
from napari_stsr.methods.baselines.kriging import Kriging
from napari_stsr.methods.baselines.kriging_system import Covariance, saddles
from napari_stsr.slides import Counts
from napari_stsr.slides.readers import open_slide
from napari_stsr.slides.region import Region
from napari_stsr.slides.targets import points
from napari_stsr.training import Run

from .fields import fit, hexagonal, slide_of, smooth_slide

EVERY = np.arange(6)


@pytest.fixture(scope="module")
def slide():
    return smooth_slide()


@pytest.fixture(scope="module")
def fitted(slide):
    return fit(Kriging(), slide, neighbours=36)


def logs_of(slide):
    return np.log1p(1e4 * slide.counts.rows.toarray() / slide.counts.totals.clip(1)[:, None])


def test_it_is_the_dense_system_of_every_genes_own_covariance(slide):
    fitted = fit(Kriging(), slide, neighbours=400)
    targets = points(slide.coordinates[[20, 77]] + [31.0, 17.0], slide.diameter_um)
    found = fitted.predict(targets)
    logs, pitch = logs_of(slide), slide.lattice.pitch_um
    places, there = slide.coordinates / pitch, targets.coordinates / pitch
    for gene in range(5):
        covariance = Covariance(*fitted.learned["grid"][fitted.learned["choice"][gene]])
        system = next(saddles([covariance], places))
        away = np.linalg.norm(places[:, None] - there, axis=2)
        right = np.concatenate([covariance(away), np.ones((1, 2))])
        solution = np.linalg.solve(system, right)
        expected = solution[:-1].T @ logs[:, gene]
        at = EVERY[[gene]]
        np.testing.assert_allclose(found.expression_source.logs(at)[:, 0], expected, atol=1e-4)
        variance = 1 - (solution * right).sum(axis=0)
        depth = found.expression_source.columns(at)[:, 0] / np.expm1(expected)
        sd = depth * np.exp(expected) * np.sqrt(variance * fitted.learned["sill"][gene])
        np.testing.assert_allclose(found.uncertainty.columns(at)[:, 0], sd, rtol=1e-3)


def test_hidden_spots_are_told_better_than_by_joining_neighbours(data):
    slide = open_slide(data("her2st_C2/spaceranger_like"))
    genes = np.sort(np.argsort(-slide.counts.gene_totals)[:150])
    slide = replace(slide, counts=Counts(slide.counts.genes(genes)), genes=slide.genes.take(genes))
    hidden = np.random.default_rng(0).random(len(slide)) < 0.2
    seen, truth = slide.take(~hidden), logs_of(slide.take(hidden))
    targets = slide.locations().take(hidden)
    error = {}
    for method in (Kriging(), Linear()):
        source = fit(method, seen).predict(targets).expression_source
        error[method.name] = ((source.logs(np.arange(150)) - truth) ** 2).mean()
    mean = ((logs_of(seen).mean(axis=0) - truth) ** 2).mean()
    assert error["kriging"] < 0.95 * mean
    assert error["kriging"] < 0.85 * error["linear"]


def test_the_spread_is_that_of_the_errors(slide):
    hidden = np.random.default_rng(3).random(len(slide)) < 0.2
    fitted = fit(Kriging(), slide.take(~hidden), neighbours=36)
    found = fitted.predict(slide.locations().take(hidden))
    learned = fitted.learned
    noise = learned["grid"][learned["choice"], 2]
    source = found.expression_source
    error = source.logs(EVERY) - logs_of(slide.take(hidden))
    slope = source.columns(EVERY) / np.expm1(source.logs(EVERY).clip(1e-9))
    slope *= np.exp(source.logs(EVERY))
    variance = (found.uncertainty.columns(EVERY)[:, :5] / slope[:, :5]) ** 2
    variance += (learned["sill"] * noise)[:5]
    assert 0.7 < np.mean(error[:, :5] ** 2 / variance) < 1.4


def test_genes_come_one_by_one_as_all_together(fitted, slide):
    found = fitted.predict(slide.grid(37.0))
    for expression in (found.expression_source, found.uncertainty):
        whole = expression.columns(EVERY)
        assert np.isfinite(whole).all()
        assert (whole >= 0).all()
        np.testing.assert_allclose(expression.columns(EVERY[[4, 1]]), whole[:, [4, 1]], rtol=1e-5)
        rows = np.array([5, 3, 90])
        np.testing.assert_allclose(expression.take(rows).columns(EVERY), whole[rows], rtol=1e-5)
    # Nobody has seen the last gene.
    assert (found.expression_source.columns(EVERY)[:, 5] == 0).all()


def test_subspots_add_up_and_the_switch_lets_go(fitted, slide):
    targets = slide.subspots()
    found = fitted.predict(targets)
    sums = found.expression().reshape(len(slide), -1, 6).sum(axis=1)
    np.testing.assert_allclose(sums, slide.counts.rows.toarray(), rtol=1e-4, atol=1e-4)
    free = fit(Kriging(), slide, neighbours=36, conserve="off").predict(targets)
    np.testing.assert_allclose(free.expression(), found.denoised.columns(EVERY), rtol=1e-5)
    assert np.abs(free.expression() - found.expression()).max() > 0.1
    # A part's share of its location's uncertainty.
    whole = fitted.predict(points(targets.coordinates, slide.diameter_um)).uncertainty
    np.testing.assert_allclose(
        found.uncertainty.columns(EVERY) * 7, whole.columns(EVERY), rtol=1e-4
    )


def test_a_region_is_kriged_from_what_it_holds(slide):
    inside = slide.within(Region("some", box(150, 150, 950, 850)))
    found = fit(Kriging(), inside).predict(inside.subspots())
    assert found.expression().shape == (7 * len(inside), 6)
    assert np.isfinite(found.expression()).all()


def test_what_was_saved_predicts_the_same(fitted, slide, tmp_path):
    fitted.save(tmp_path / "fit.npz")
    again = Kriging().load(tmp_path / "fit.npz")
    targets = slide.grid(60.0)
    before, after = fitted.predict(targets), again.predict(targets)
    np.testing.assert_array_equal(before.expression(), after.expression())
    np.testing.assert_array_equal(
        before.uncertainty.columns(EVERY), after.uncertainty.columns(EVERY)
    )


def test_a_spot_with_one_molecule_and_an_empty_one_do_no_harm(slide, fitted):
    counts = slide.counts.rows.toarray()
    counts[90], counts[40] = 0, 0
    counts[90, 2] = 1
    harmed = fit(Kriging(), slide_of(slide.coordinates, counts), neighbours=36)
    around = points(slide.coordinates[[89, 91, 41]], slide.diameter_um)
    before = fitted.predict(around).expression()[:, :5]
    np.testing.assert_allclose(harmed.predict(around).expression()[:, :5], before, rtol=0.25)


def test_a_slide_of_locations_twice_on_one_line_without_lattice_is_kriged():
    places = np.repeat(np.column_stack([np.arange(9.0) ** 1.5, np.zeros(9)]), 2, axis=0) * 100
    counts = np.random.default_rng(0).poisson(20, (18, 3))
    found = fit(Kriging(), slide_of(places, counts), neighbours=8).predict(points(places, 55.0))
    assert np.isfinite(found.expression()).all()
    assert np.isfinite(found.uncertainty.columns(np.arange(3))).all()


@pytest.mark.parametrize("smoothness", ["1/2", "3/2", "5/2"])
def test_smoothness_is_the_users(slide, smoothness):
    learned = fit(Kriging(), slide, smoothness=smoothness).learned
    assert set(learned["grid"][:, 0]) == {float(smoothness[0]) / 2}


def test_few_locations_and_empty_counts_are_refused(slide):
    with pytest.raises(InputError, match="at least 4"):
        fit(Kriging(), slide_of(hexagonal(1, 3), np.ones((3, 2))))
    with pytest.raises(InputError, match="All counts are zero"):
        fit(Kriging(), slide_of(hexagonal(3, 3), np.zeros((9, 2))))
    lost = replace(slide, coordinates=np.where(np.arange(196)[:, None] == 3, np.nan, 1.0))
    with pytest.raises(InputError, match="no coordinates"):
        Kriging().check(lost, slide.locations(), Kriging().parameters())
    with pytest.raises(InputError, match="out of range"):
        Kriging().parameters("auto", {"neighbours": 2})


def test_a_cancelled_fit_stops(slide):
    run = Run()
    fitting = Kriging().fit(slide, Kriging().parameters(), run)
    next(fitting)
    run.cancel.cancel()
    with pytest.raises(Cancelled):
        list(fitting)


def test_larger_slides_and_more_neighbours_are_estimated_to_cost_more(slide):
    method, targets = Kriging(), slide.subspots()
    few, many = (method.parameters("auto", {"neighbours": k}) for k in (20, 150))
    assert (
        method.estimate(slide, targets, few).seconds < method.estimate(slide, targets, many).seconds
    )
    grid = slide.grid(5.0)
    assert (
        method.estimate(slide, grid, few).memory_bytes
        > method.estimate(slide, targets, few).memory_bytes
    )
