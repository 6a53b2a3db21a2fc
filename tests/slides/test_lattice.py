"""Lattices are found however the slide lies, and their parts tile it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_stsr.errors import InputError
from napari_stsr.slides import Lattice, subspots

few = settings(max_examples=25, deadline=None)
turns = st.floats(0, 360)
flips = st.booleans()


def array_places(rows: int = 20, columns: int = 18) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of Visium's doubled places."""
    row, half = (a.ravel() for a in np.mgrid[:rows, :columns])
    return row, 2 * half + row % 2


def laid(points: np.ndarray, degrees: float, mirrored: bool) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    flip = np.diag([-1.0, 1.0]) if mirrored else np.eye(2)
    return points @ flip @ turn + np.array([4000.0, -1500.0])


def visium(degrees: float = 0, mirrored: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row, column = array_places()
    return row, column, laid(np.column_stack([50.0 * column, 86.6 * row]), degrees, mirrored)


@few
@given(turns, flips)
def test_a_turned_or_mirrored_hex_lattice_is_found(degrees: float, mirrored: bool) -> None:
    row, column, xy = visium(degrees, mirrored)
    for lattice in (Lattice.from_array(row, column, xy), Lattice.from_coordinates(xy)):
        assert lattice.kind == "hex"
        assert lattice.pitch_um == pytest.approx(100, rel=0.01)
        assert np.abs(lattice.position(lattice.sites) - xy).max() < 0.05
        near = lattice.neighbours()
        assert (near >= 0).sum(axis=1).max() == 6
        at, step = np.nonzero(near >= 0)
        away = np.linalg.norm(xy[at] - xy[near[at, step]], axis=1)
        np.testing.assert_allclose(away, 100, rtol=0.01)


@few
@given(turns, flips, st.sampled_from([2.0, 8.0, 200.0]))
def test_a_turned_or_mirrored_square_lattice_is_found(
    degrees: float, mirrored: bool, pitch: float
) -> None:
    row, column = (a.ravel() for a in np.mgrid[:15, :22])
    xy = laid(pitch * np.column_stack([column, row]), degrees, mirrored)
    for lattice in (Lattice.from_array(row, column, xy), Lattice.from_coordinates(xy)):
        assert lattice.kind == "square"
        assert lattice.pitch_um == pytest.approx(pitch)
        assert lattice.residual < 1e-6


def test_doubled_square_places_make_a_lattice_turned_by_45_degrees() -> None:
    row, column = array_places()
    lattice = Lattice.from_array(row, column, 100.0 * np.column_stack([column, row]))
    assert lattice.kind == "square"
    assert lattice.pitch_um == pytest.approx(100 * np.sqrt(2))
    assert lattice.turned_degrees == pytest.approx(45)


@few
@given(turns, flips, st.integers(0, 10_000))
def test_nearest_site_undoes_position(degrees: float, mirrored: bool, seed: int) -> None:
    row, column, xy = visium(degrees, mirrored)
    lattice = Lattice.from_array(row, column, xy)
    np.testing.assert_array_equal(lattice.nearest_site(xy), lattice.sites)
    rng = np.random.default_rng(seed)
    points = xy + 45 * (rng.random(xy.shape) - 0.5)
    np.testing.assert_array_equal(lattice.nearest_site(points), lattice.sites)
    anywhere = rng.uniform(xy.min(), xy.max(), (200, 2))
    found = lattice.position(lattice.nearest_site(anywhere))
    around = found[:, None] + (lattice.steps @ lattice.basis)[None]
    rivals = np.linalg.norm(anywhere[:, None] - around, axis=2).min(axis=1)
    assert (np.linalg.norm(anywhere - found, axis=1) <= rivals + 1e-9).all()


@pytest.mark.parametrize(
    ("kind", "k"), [("hex", 7), ("hex", 6), ("square", 4), ("square", 9), ("square", 16)]
)
def test_blocks_tile_the_lattice_and_parts_share_the_cell(kind: str, k: int) -> None:
    if kind == "hex":
        row, column, xy = visium(17, True)
    else:
        row, column = (a.ravel() for a in np.mgrid[:20, :20])
        xy = laid(200.0 * np.column_stack([column, row]), 33, False)
    lattice = Lattice.from_array(row, column, xy)
    assert lattice.kind == kind
    division = lattice.division(k)
    # Every site belongs to exactly one block: its class modulo the coarse lattice is one cell's.
    turn = round(abs(np.linalg.det(division.coarse)))
    assert turn == len(division.cells)
    away = division.cells[:, None] - division.cells[None]
    steps = away @ np.linalg.inv(division.coarse)
    same = np.all(np.abs(steps - np.rint(steps)) < 1e-9, axis=-1)
    np.testing.assert_array_equal(same, np.eye(len(division.cells), dtype=bool))
    parts = subspots(lattice, xy, k)
    assert len(parts) == k * len(xy)
    assert parts.area_um2[:k].sum() == pytest.approx(abs(np.linalg.det(lattice.basis)))
    centre = parts.coordinates.reshape(len(xy), k, 2).mean(axis=1)
    np.testing.assert_allclose(centre, xy, atol=1e-6)
    nearest = lattice.location_at(lattice.nearest_site(parts.coordinates))
    np.testing.assert_array_equal(nearest, parts.parent)


def test_a_lattice_with_gaps_knows_what_is_measured() -> None:
    row, column, xy = visium(10)
    kept = np.random.default_rng(0).random(len(xy)) < 0.6
    lattice = Lattice.from_array(row, column, xy).take(kept)
    np.testing.assert_array_equal(lattice.location_at(lattice.sites), np.arange(kept.sum()))
    assert lattice.location_at([[10_000, 10_000]])[0] == -1
    near = lattice.neighbours()
    assert (near == -1).any()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_spots_have_no_lattice(count: int) -> None:
    xy = np.arange(2.0 * count).reshape(-1, 2) * 100
    lattice = Lattice.from_array(np.arange(count), np.arange(count), xy)
    assert lattice.kind == "none"
    assert lattice.divisions == ()
    with pytest.raises(InputError, match="has no lattice"):
        lattice.division(7)


def test_scattered_cells_have_no_lattice() -> None:
    xy = np.random.default_rng(0).uniform(0, 1000, (800, 2))
    assert Lattice.from_coordinates(xy).kind == "none"
    row, column = array_places()
    assert Lattice.from_array(row, column, xy[: len(row)]).kind == "none"


def test_two_locations_on_one_place_are_no_lattice() -> None:
    row, column, xy = visium()
    again = np.concatenate([np.arange(len(xy)), [5]])
    assert Lattice.from_array(row[again], column[again], xy[again]).kind == "none"


def test_a_number_of_parts_the_lattice_cannot_do_is_refused() -> None:
    row, column, xy = visium()
    with pytest.raises(InputError, match=r"cannot be split into 9 subspots\. Choose 7 or 6"):
        Lattice.from_array(row, column, xy).division(9)
