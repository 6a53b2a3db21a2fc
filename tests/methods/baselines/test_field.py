"""What all baselines share: areas, subspots, conservation, regions, files, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_stsr.errors import InputError
from napari_stsr.methods import get_method
from napari_stsr.methods.baselines import (
    FactorKernel,
    GeneMean,
    InverseDistance,
    Kernel,
    Nearest,
    PoissonKernel,
    UniformSplit,
)
from napari_stsr.methods.field import FieldMethod
from napari_stsr.slides import Counts, Region, points
from napari_stsr.slides.simulate import simulate
from napari_stsr.training import Run
from napari_stsr.training.progress import Cancelled

from .fields import fit, hexagonal, slide_of, smooth_slide

SPLIT = UniformSplit()
SMOOTH: list[FieldMethod] = [
    GeneMean(),
    Nearest(),
    InverseDistance(),
    Kernel(),
    PoissonKernel(),
    FactorKernel(),
]
ALL = [*SMOOTH, SPLIT]


def names(method: FieldMethod) -> str:
    return method.name


@pytest.fixture(scope="module")
def slide():
    return smooth_slide()


@pytest.mark.parametrize("method", ALL, ids=names)
def test_subspots_add_up_to_what_was_measured_or_show_the_methods_own_amounts(method, slide):
    result = fit(method, slide).predict(slide.subspots())
    measured = slide.counts.rows.toarray()
    sums = result.expression().reshape(len(slide), 7, -1).sum(axis=1)
    np.testing.assert_allclose(sums, measured, rtol=1e-5, atol=1e-4)
    assert result.denoised is not None
    own = fit(method, slide, conserve="off").predict(slide.subspots())
    assert own.denoised is None
    every = np.arange(len(slide.genes))
    np.testing.assert_allclose(own.expression(), result.denoised.columns(every), rtol=1e-6)
    assert 0.8 < own.expression().sum() / measured.sum() < 1.25


@pytest.mark.parametrize("method", ALL, ids=names)
def test_one_gene_is_its_column_of_all_and_some_targets_their_rows(method, slide):
    source = fit(method, slide).predict(slide.locations()).expression_source
    whole = source.columns(np.arange(len(slide.genes)))
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    assert (whole >= 0).all()
    some = np.array([4, 1])
    np.testing.assert_allclose(source.columns(some), whole[:, some], rtol=1e-5, atol=1e-6)
    rows = np.array([90, 3, 3])
    taken = source.take(rows)
    assert taken.shape == (3, len(slide.genes))
    np.testing.assert_allclose(taken.columns(some), whole[rows][:, some], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ALL, ids=names)
def test_a_fit_read_from_its_file_predicts_the_same(method, slide, tmp_path: Path):
    fitted = fit(method, slide, genes=np.array([3, 0, 2]), conserve="off")
    fitted.save(tmp_path / "fit.npz")
    again = method.load(tmp_path / "fit.npz")
    targets = slide.subspots(6)
    before, after = fitted.predict(targets), again.predict(targets)
    np.testing.assert_array_equal(before.expression(), after.expression())
    assert after.genes.ids.tolist() == ["gene3", "gene0", "gene2"]
    assert (after.name, after.scale) == (before.name, before.scale)
    np.testing.assert_array_equal(after.parents, before.parents)
    assert [path.name for path in tmp_path.iterdir()] == ["fit.npz"]


def test_files_that_are_no_fit_of_the_method_are_refused(slide, tmp_path: Path):
    fit(Nearest(), slide).save(tmp_path / "nearest.npz")
    with pytest.raises(InputError, match="no saved Gene mean"):
        GeneMean().load(tmp_path / "nearest.npz")
    with pytest.raises(InputError, match="no model"):
        GeneMean().load(tmp_path / "absent.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK broken")
    with pytest.raises(InputError, match="no saved Gene mean"):
        GeneMean().load(tmp_path / "broken.npz")
    np.savez(tmp_path / "foreign.npz", values=np.arange(3))
    with pytest.raises(InputError, match="no saved Gene mean"):
        GeneMean().load(tmp_path / "foreign.npz")


def test_targets_take_the_share_of_their_area(slide):
    fitted = fit(GeneMean(), slide)
    mean = slide.counts.rows.toarray().mean(axis=0)
    step = 25.0
    cell = 100.0**2 * np.sqrt(0.75)
    grid = fitted.predict(slide.grid(step)).expression()
    np.testing.assert_allclose(grid, np.tile(mean * step**2 / cell, (len(grid), 1)), rtol=1e-3)
    half = fitted.predict(points(slide.coordinates[:2], slide.diameter_um / 2)).expression()
    np.testing.assert_allclose(half, np.tile(mean / 4, (2, 1)), rtol=1e-5)


@pytest.mark.parametrize("method", SMOOTH, ids=names)
def test_the_field_itself_is_of_whole_locations_wherever_it_is_asked(method, slide):
    fitted = fit(method, slide)
    places = slide.coordinates[40:60] + np.array([31.0, -12.0])
    at = fitted.at(places)
    every = np.arange(len(slide.genes))
    whole = fitted.predict(points(places, slide.diameter_um)).expression()
    assert at.shape == (20, len(slide.genes))
    np.testing.assert_allclose(at.columns(every), whole, rtol=1e-5)
    alone = fitted.at(places[7:8]).columns(every)
    np.testing.assert_allclose(alone, whole[7:8], rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="no coordinates"):
        fitted.at(np.array([[0.0, np.nan]]))
    run = Run()
    run.cancel.cancel()
    with pytest.raises(Cancelled):
        fitted.at(places, run)


@pytest.mark.parametrize("method", ALL, ids=names)
def test_a_region_is_learned_alone_and_targets_of_the_whole_slide_are_found_in_it(method, slide):
    region = Region.from_polygons("corner", [[(-1, -1), (720, -1), (720, 700), (-1, 700)]])
    part = slide.within(region)
    fitted = fit(method, part)
    whole = slide.subspots()
    inside = np.isin(whole.parent, np.flatnonzero(region.contains(slide.coordinates)))
    by_part = fitted.predict(part.subspots())
    by_whole = fitted.predict(whole.take(inside))
    np.testing.assert_allclose(by_whole.expression(), by_part.expression(), rtol=1e-4, atol=1e-5)
    assert by_whole.parents.tolist() == by_part.parents.tolist()
    some = fitted.predict(whole.take(np.flatnonzero(inside)[5::9]))
    np.testing.assert_allclose(some.expression(), by_part.expression()[5::9], rtol=1e-4, atol=1e-5)
    assert some.denoised is not None
    assert some.denoised.shape == some.expression_source.shape
    with pytest.raises(InputError, match="not seen"):
        fitted.predict(whole)


@pytest.mark.parametrize("method", SMOOTH, ids=names)
def test_a_spot_of_one_molecule_and_an_empty_one_do_no_harm(method):
    """They say as little as if they had not been measured."""
    whole = smooth_slide(seed=3)
    counts = whole.counts.rows.toarray()
    counts[[90, 105]] = 0
    counts[105, 0] = 1
    poor = slide_of(whole.coordinates, counts)
    absent = whole.take(np.delete(np.arange(len(whole)), [90, 105]))
    around = points(whole.coordinates[[90, 105, 30]] + np.array([60.0, 10.0]), whole.diameter_um)
    every = np.arange(len(whole.genes))
    shares = []
    for slide in (absent, poor):
        values = fit(method, slide).predict(around).expression_source.columns(every)
        shares.append(values / values.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(shares[1], shares[0], atol=0.01)


@pytest.mark.parametrize("method", SMOOTH[1:], ids=names)
def test_a_hole_is_told_by_its_rim(method):
    """A wide hole in one half of a slide of two halves holds what that half holds."""
    whole = smooth_slide(seed=4)
    counts = np.ones(whole.counts.shape)
    left = whole.coordinates[:, 0] < np.median(whole.coordinates[:, 0])
    counts[left, 0] = 60
    counts[~left, 1] = 60
    middle = np.quantile(whole.coordinates, [0.25, 0.5], axis=0)[[0, 1], [0, 1]]
    inside = np.linalg.norm(whole.coordinates - middle, axis=1) < 3.1 * whole.lattice.pitch_um
    assert left[inside].mean() > 0.9
    rest = slide_of(whole.coordinates, counts).take(np.flatnonzero(~inside))
    said = fit(method, rest).predict(points(middle[None], whole.diameter_um)).expression()[0]
    assert said[0] > 3 * said[1]


def test_places_far_from_the_tissue_get_something_between_what_was_measured(slide):
    far = points(np.array([[1e5, 1e5], [-1e4, 300.0]]), slide.diameter_um)
    counts = slide.counts.rows.toarray()
    for method in (PoissonKernel(), FactorKernel(), Kernel(), get_method("kriging")):
        values = fit(method, slide).predict(far).expression()
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert (values <= counts.max(axis=0) + 1e-3).all()
        assert 0.5 < values.sum() / (2 * counts.sum(axis=1).mean()) < 2


@pytest.mark.parametrize("method", [get_method("thin_plate"), get_method("stage")], ids=names)
def test_what_grows_off_the_tissue_is_held_to_what_can_be(method, slide):
    """A plate and a network go on beyond the tissue; nothing may be more than everything."""
    places = np.array([[1e6, 1e6], [-1e4, 300.0], [3e8, 0.0]])
    values = fit(method, slide).predict(points(places, slide.diameter_um)).expression()
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert (values <= 3 * slide.counts.totals.max()).all()


def test_what_cannot_work_is_refused_with_a_sentence(slide):
    params = PoissonKernel().parameters()

    def refused(changed, words, method=PoissonKernel(), targets=None):  # noqa: B008
        with pytest.raises(InputError, match=words):
            method.check(changed, targets or changed.locations(), params)

    zero = slide.with_counts(Counts(slide.counts.rows * 0))
    refused(zero, "All counts are zero")
    missing = slide.counts.rows.astype(np.float64)
    missing.data[3] = np.nan
    refused(slide.with_counts(Counts(missing)), "negative or missing")
    refused(slide.with_counts(Counts(-slide.counts.rows)), "negative or missing")
    refused(slide.take(np.arange(2)), "at least 3 spots with counts; there are 2")
    nowhere = slide.coordinates.copy()
    nowhere[4, 1] = np.nan
    broken = replace(slide, coordinates=nowhere)
    refused(broken, "1 spots have no coordinates", targets=slide.locations())
    cells = slide_of(np.random.default_rng(0).random((40, 2)) * 900, np.ones((40, 2)))
    refused(cells, "no lattice", targets=slide.subspots())
    with pytest.raises(InputError, match="conserve cannot be"):
        PoissonKernel().parameters("auto", {"conserve": "multinomial"})


@pytest.mark.parametrize("method", ALL, ids=names)
def test_a_cancelled_run_stops_and_every_preset_fits(method, slide):
    run = Run()
    run.cancel.cancel()
    with pytest.raises(Cancelled):
        list(method.fit(slide, method.parameters(), run))
    for preset in ("auto", "fast", "paper"):
        params = method.parameters(preset)
        estimate = method.estimate(slide, slide.subspots(), params)
        assert 1e8 < estimate.memory_bytes < 1e9
        assert 0 < estimate.seconds < 60


def test_uniform_split_copies_inside_locations_and_refuses_all_else(slide):
    fitted = fit(SPLIT, slide)
    measured = slide.counts.rows.toarray()
    parts = fitted.predict(slide.subspots()).expression()
    np.testing.assert_allclose(parts, np.repeat(measured, 7, axis=0) / 7, rtol=1e-5)
    inside = points(slide.coordinates[[20, 7]] + np.array([20.0, -15.0]), slide.diameter_um / 2)
    np.testing.assert_allclose(
        fitted.predict(inside).expression(), measured[[20, 7]] / 4, rtol=1e-5
    )
    outside = points(slide.coordinates[[20]] - 5000.0, 10.0)
    with pytest.raises(InputError, match="1 of 1 targets lie outside every measured spot"):
        SPLIT.check(slide, outside, SPLIT.parameters())
    with pytest.raises(InputError, match="outside every measured"):
        fitted.predict(outside)
    places = hexagonal(6, 6) + np.random.default_rng(1).normal(0, 25, (36, 2))
    cells = slide_of(places, np.arange(72.0).reshape(36, 2))
    assert cells.lattice.kind == "none"
    near = points(cells.coordinates[[5]] + np.array([10.0, 0.0]), cells.diameter_um)
    np.testing.assert_allclose(fit(SPLIT, cells).predict(near).expression(), [[10, 11]])


def test_three_spots_are_enough_to_go_on():
    slide = slide_of(hexagonal(1, 3), np.arange(1.0, 13.0).reshape(3, 4))
    for method in SMOOTH:
        values = fit(method, slide).predict(slide.grid(40.0)).expression()
        assert np.isfinite(values).all()
        assert values.sum() > 0


@pytest.mark.parametrize("apart", [0.0, 70.0])
def test_locations_that_share_their_places_are_averaged(apart):
    places = np.repeat(apart * hexagonal(5, 5, 1.0), 2, axis=0)
    slide = slide_of(places, np.tile([[1.0, 9.0], [3.0, 7.0]], (25, 1)))
    for method in (Kernel(), PoissonKernel(), FactorKernel()):
        values = fit(method, slide).predict(slide.locations()).expression()
        np.testing.assert_allclose(values, np.tile([2, 8], (50, 1)), rtol=0.15)


def test_shallow_square_slides_work_too():
    made = simulate(lattice="square", shape=(12, 12), genes=30, image=False, seed=4)
    for method in ALL:
        result = fit(method, made.slide).predict(made.slide.subspots(9))
        sums = result.expression().reshape(len(made.slide), 9, -1).sum(axis=1)
        np.testing.assert_allclose(sums, made.slide.counts.rows.toarray(), rtol=1e-4, atol=1e-4)
