"""The field as pictures: right at every resolution, found again, bounded, refused in words."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stsr import open_slide
from napari_stsr.errors import Cancelled, InputError
from napari_stsr.methods import Fitted
from napari_stsr.methods.baselines import FactorKernel
from napari_stsr.results import Enhancement, Expression
from napari_stsr.session.field import Field, FieldPicture
from napari_stsr.session.tiles import SIDE
from napari_stsr.slides import Region, Slide, Targets
from napari_stsr.slides.simulate import simulate_slide
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome


class Counting(Fitted):
    """A fit that counts the places it is asked."""

    def __init__(self, fitted: Fitted) -> None:
        self.fitted, self.places = fitted, 0
        self.run: Run | None = None

    def at(self, places: NDArray[np.float64], run: Run | None = None) -> Expression:
        self.places += len(places)
        return self.fitted.at(places, run)

    def predict(self, targets: Targets, run: Run | None = None) -> Enhancement:
        return self.fitted.predict(targets, run)

    def save(self, path: object) -> None:
        raise NotImplementedError


@pytest.fixture(scope="module")
def slide() -> Slide:
    return simulate_slide(lattice="hex", shape=(12, 10), genes=12, seed=1)


@pytest.fixture(scope="module")
def fitted(slide: Slide) -> Fitted:
    method = FactorKernel()
    return outcome(method.fit(slide, method.parameters("fast"), Run()))


@pytest.fixture
def counting(fitted: Fitted) -> Counting:
    return Counting(fitted)


def centres(picture: FieldPicture) -> NDArray[np.float64]:
    height, width = picture.values.shape
    row, column = np.mgrid[:height, :width]
    places = np.column_stack([column.ravel(), row.ravel()])
    return picture.origin_um + picture.pixel_um * places


def assert_true(picture: FieldPicture, fitted: Fitted, slide: Slide, gene: int) -> None:
    """Every pixel holds the field at its centre, or nothing where nothing was measured."""
    places, values = centres(picture), picture.values.ravel()
    away, _ = cKDTree(slide.coordinates).query(places)
    pitch = slide.lattice.pitch_um
    assert np.isnan(values[away > pitch + 1e-6]).all()
    near = away < pitch - 1e-6
    if not near.any():
        return
    expected = fitted.at(places[near]).columns(np.array([gene]))[:, 0]
    np.testing.assert_allclose(values[near], expected, rtol=1e-3, atol=1e-4)


def test_pictures_come_coarse_to_fine_and_all_hold_the_field_itself(slide, fitted):
    field, gene = Field(fitted, slide), str(slide.genes.ids[3])
    made = list(field.pictures(gene, 8.0))
    assert len(made) >= 3
    steps = [picture.step_um for picture in made]
    assert steps == sorted(steps, reverse=True)
    assert [picture.finished for picture in made] == [False] * (len(made) - 1) + [True]
    assert made[0].step_um > 16
    for picture in made:
        if picture.step_um == picture.pixel_um:
            assert_true(picture, fitted, slide, 3)
    # A picture on its way holds coarser values where the fine ones are not there yet.
    assert all(np.isfinite(picture.values).any() for picture in made)
    place = slide.coordinates[37]
    there = fitted.at(place[None]).columns(np.array([3]))[0, 0]
    assert made[-1].value_at(place) == pytest.approx(there, rel=0.05)
    assert np.isnan(made[-1].value_at(place - 1e5))


def test_the_first_picture_asks_for_few_places_of_a_slow_fit(slide, counting):
    """So few that it comes at once, however fine the step."""

    class Slow(Counting):
        def at(self, places, run=None):
            time.sleep(len(places) / 20_000)
            return super().at(places, run)

    slow = Slow(counting.fitted)
    field = Field(slow, slide)
    first = next(field.pictures(str(slide.genes.ids[3]), 2.0))
    assert not first.finished
    assert 0 < slow.places <= 4 * SIDE * SIDE


@given(
    step=st.floats(6.0, 300.0),
    corner=st.tuples(st.floats(-200, 900), st.floats(-200, 900)),
    size=st.tuples(st.floats(20, 900), st.floats(20, 900)),
)
@settings(max_examples=15, deadline=None)
def test_any_window_is_covered(slide, fitted, step, corner, size):
    field = Field(fitted, slide)
    bounds = (*corner, corner[0] + size[0], corner[1] + size[1])
    low, high = np.maximum(bounds[:2], field.bounds[:2]), np.minimum(bounds[2:], field.bounds[2:])
    if (low >= high).any():
        with pytest.raises(InputError, match="no tissue in this window"):
            next(field.pictures(str(slide.genes.ids[0]), step, bounds))
        return
    *_, last = field.pictures(str(slide.genes.ids[0]), step, bounds)
    half = last.pixel_um / 2
    height, width = last.values.shape
    end = last.origin_um + last.pixel_um * (np.array([width, height]) - 1) + half
    assert (last.origin_um - half <= low + 1e-6).all()
    assert (end >= high - 1e-6).all()
    assert (last.origin_um + half >= low - 1e-6 - last.pixel_um).all()
    assert_true(last, fitted, slide, 0)


def test_what_was_evaluated_is_not_evaluated_again(slide, counting):
    field, (one, other) = Field(counting, slide), slide.genes.ids[:2]
    *_, first = field.pictures(one, 20.0)
    before = counting.places
    (again,) = field.pictures(one, 20.0)
    np.testing.assert_array_equal(again.values, first.values)
    (switched,) = field.pictures(other, 20.0)
    assert switched.finished
    assert not np.allclose(np.nan_to_num(switched.values), np.nan_to_num(first.values))
    corner = np.array(field.bounds[:2])
    part = (*(corner + 200), *(corner + 500))
    (window,) = field.pictures(one, 20.0, part)
    assert counting.places == before
    assert window.values.size < first.values.size
    # Half the step: four of the finer pixels lie in one of these, so that it starts from them.
    finer = next(field.pictures(one, 10.0))
    assert finer.step_um <= 20.0


def test_memory_is_bounded_and_the_picture_whole(slide, counting):
    field, gene = Field(counting, slide, most_bytes=60_000), str(slide.genes.ids[0])
    *_, small = field.pictures(gene, 10.0)
    assert field.store.bytes <= 60_000
    *_, large = Field(counting, slide).pictures(gene, 10.0)
    np.testing.assert_allclose(small.values, large.values, rtol=1e-4, atol=1e-5)


def test_a_cancelled_run_stops_and_what_is_done_is_kept(slide, counting):
    field, run, gene = Field(counting, slide), Run(), str(slide.genes.ids[0])
    pictures = field.pictures(gene, 3.0, run=run)
    next(pictures)
    run.cancel.cancel()
    some = counting.places
    with pytest.raises(Cancelled):
        list(pictures)
    assert counting.places == some
    assert len(field.store) > 0
    assert field.store.bytes > 0


def test_a_region_is_filled_and_nothing_else(slide, fitted):
    field = Field(fitted, slide)
    corner = np.array(field.bounds[:2])
    ring = corner + np.array([(150.0, 100.0), (700.0, 150.0), (400.0, 650.0)])
    region = Region.from_polygons("triangle", [ring])
    for picture in field.pictures(str(slide.genes.ids[2]), 12.0, region=region):
        inside = region.contains(centres(picture))
        assert np.isnan(picture.values.ravel()[~inside]).all()
        assert np.isfinite(picture.values.ravel()[inside]).mean() > 0.5
    far = Region.from_polygons("far", [ring + 1e5])
    with pytest.raises(InputError, match="region holds no tissue"):
        list(field.pictures(str(slide.genes.ids[2]), 12.0, region=far))


def test_a_profile_is_the_field_at_one_place(slide, fitted):
    field, genes = Field(fitted, slide), slide.genes.ids[[4, 1]].tolist()
    place = slide.coordinates[50] + 13.0
    expected = fitted.at(place[None]).columns(np.array([4, 1]))[0]
    np.testing.assert_allclose(field.profile(genes, place), expected)
    with pytest.raises(InputError, match="nothing measured within 100 µm"):
        field.profile(genes, slide.coordinates[0] - 500.0)


def test_what_cannot_be_shown_is_refused_in_words(slide, fitted):
    field, gene = Field(fitted, slide), str(slide.genes.ids[0])
    with pytest.raises(InputError, match="A step of 0 µm"):
        list(field.pictures(gene, 0.0))
    with pytest.raises(InputError, match="was not predicted"):
        list(field.pictures("nonesuch", 50.0))
    with pytest.raises(InputError, match="Choose a larger step, or zoom in"):
        list(field.pictures(gene, 0.1))
    finest = field.finest(0.1)
    assert 0.1 < finest < 2
    assert field.finest(50.0) == 50.0


def test_the_field_of_a_tumour_agrees_with_what_was_measured_at_every_resolution(data):
    slide, method = open_slide(data("her2st_C2") / "spaceranger_like"), FactorKernel()
    fitted = outcome(method.fit(slide, method.parameters("fast"), Run()))
    field, column = Field(fitted, slide), slide.genes.column("ERBB2")
    measured = np.log1p(slide.counts.column(column))
    for step in (100.0, 25.0):
        *_, last = field.pictures("ERBB2", step)
        there = np.array([last.value_at(place) for place in slide.coordinates])
        assert np.isfinite(there).all()
        assert np.corrcoef(np.log1p(there), measured)[0, 1] > 0.7
        # Of whole locations, however large the pixels.
        assert 0.8 < there.sum() / np.expm1(measured).sum() < 1.25
