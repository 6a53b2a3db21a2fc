import numpy as np
import pytest
from napari.layers import Layer

from napari_stsr.slides import Lattice, grid, points, subspots
from napari_stsr.slides.readers import open_slide
from napari_stsr.slides.simulate import simulate_slide
from napari_stsr.viewer.layers import places
from napari_stsr.viewer.layers.look import clear_low
from napari_stsr.viewer.layers.places import (
    ImagePlaces,
    SpotPlaces,
    places_of_slide,
    places_of_targets,
)
from tests.results.made import hex_slide


def world_values(shown: ImagePlaces, painted: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Value shown at each of the points (x, y) in µm."""
    homogeneous = np.column_stack([points[:, ::-1], np.ones(len(points))])
    row, column, _ = np.rint(np.linalg.inv(shown.affine) @ homogeneous.T).astype(int)
    return painted[row, column]


@pytest.mark.parametrize("k", [6, 7])
def test_every_hex_subspot_shows_its_own_value_at_its_centre(k):
    lattice, coordinates = hex_slide()
    targets = subspots(lattice, coordinates, k)
    shown = places_of_targets(targets)
    values = np.arange(len(targets), dtype=np.float32)
    np.testing.assert_array_equal(
        world_values(shown, shown.painted(values), targets.coordinates), values
    )


def test_outside_every_cell_nothing_is_painted():
    _, coordinates = hex_slide()
    targets = grid(coordinates, 30.0, 50.0)
    painted = places_of_targets(targets).painted(np.ones(len(targets), dtype=np.float32))
    assert np.isnan(painted).any()
    assert np.nanmin(painted) == 1


def test_spots_with_room_between_them_are_drawn_as_discs_of_their_size():
    lattice, coordinates = hex_slide()
    targets = points(coordinates, 55.0)
    shown = places_of_targets(targets)
    painted = shown.painted(np.arange(len(targets), dtype=np.float32))
    np.testing.assert_array_equal(
        world_values(shown, painted, targets.coordinates), np.arange(len(targets))
    )
    pixel = abs(np.linalg.det(shown.affine))
    area = np.isfinite(painted).sum() * pixel / len(targets)
    assert area == pytest.approx(np.pi * 55.0**2 / 4, rel=0.1)
    between = (coordinates[0] + coordinates[1]) / 2
    assert np.isnan(world_values(shown, painted, between[None]))
    touching = points(coordinates, lattice.pitch_um)
    filled = places_of_targets(touching)
    painted = filled.painted(np.ones(len(targets), dtype=np.float32))
    assert np.isfinite(world_values(filled, painted, between[None]))


def test_bins_of_a_turned_slide_become_one_pixel_each(monkeypatch):
    monkeypatch.setattr(places, "MANY_SPOTS", 50)
    slide = simulate_slide(lattice="square", shape=(9, 11), genes=10, image=False)
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    turned = slide.coordinates @ turn
    from dataclasses import replace

    slide = replace(slide, coordinates=turned, lattice=Lattice.from_coordinates(turned))
    shown = places_of_slide(slide)
    assert isinstance(shown, ImagePlaces)
    assert np.sort(shown.index[shown.index >= 0]).tolist() == list(range(len(slide)))
    values = np.random.default_rng(0).random(len(slide)).astype(np.float32)
    np.testing.assert_array_equal(world_values(shown, shown.painted(values), turned), values)


def test_a_fading_picture_keeps_its_colours_and_is_as_opaque_as_told():
    _, coordinates = hex_slide()
    shown = places_of_targets(grid(coordinates, 30.0, 50.0))
    values = np.linspace(0, 8, shown.index.max() + 1, dtype=np.float32)
    opacity = np.linspace(1, 0, len(values), dtype=np.float32)
    sure = shown.faded(values, (0.0, 8.0), clear_low("magma"), np.ones_like(values))
    fading = shown.faded(values, (0.0, 8.0), clear_low("magma"), opacity)
    there = shown.index >= 0
    assert not fading[~there].any()
    np.testing.assert_array_equal(fading[..., :3], sure[..., :3])
    seen = there & (sure[..., 3] == 255)
    np.testing.assert_allclose(fading[seen][:, 3], 255 * opacity[shown.index[seen]], atol=0.51)
    layer = Layer.create(*shown.layer_data(fading, (0.0, 8.0), clear_low("magma"), name="e"))
    assert layer.rgb
    shown.put(layer, sure, (0.0, 5.0))
    np.testing.assert_array_equal(layer.data, sure)
    # Limits of values would change the colours on the screen.
    assert list(layer.contrast_limits) == [0, 255]


def test_many_hex_spots_are_painted_not_drawn(monkeypatch):
    monkeypatch.setattr(places, "MANY_SPOTS", 50)
    slide = simulate_slide(lattice="hex", shape=(12, 10), genes=10, image=False)
    shown = places_of_slide(slide)
    assert isinstance(shown, ImagePlaces)
    values = np.arange(len(slide), dtype=np.float32)
    np.testing.assert_array_equal(
        world_values(shown, shown.painted(values), slide.coordinates), values
    )


def test_spots_are_points_in_micrometres_whose_colour_follows_the_value(data):
    slide = open_slide(data("her2st_C2/spaceranger_like"))
    shown = places_of_slide(slide)
    assert isinstance(shown, SpotPlaces)
    values = slide.counts.column(slide.genes.column("ERBB2"))
    layer = Layer.create(*shown.layer_data(values, (0.0, 200.0), clear_low("viridis"), name="m"))
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    np.testing.assert_allclose(layer.data[:, ::-1], slide.coordinates)
    assert layer.face_color[values.argmin(), 3] < layer.face_color[values.argmax(), 3] == 1
    np.testing.assert_array_equal(layer.face_color, layer.border_color)
    before = layer.face_color.copy()
    shown.put(layer, values[::-1].copy(), (0.0, 200.0))
    np.testing.assert_allclose(layer.face_color, before[::-1], atol=1e-6)
