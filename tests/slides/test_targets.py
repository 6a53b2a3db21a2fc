"""Targets lie where they were asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_stsr.errors import InputError
from napari_stsr.slides import Region, grid, points, read_targets
from napari_stsr.slides.readers import open_slide
from tests.slides.folders import Outs


@settings(max_examples=20, deadline=None)
@given(st.floats(5, 60), st.floats(20, 80))
def test_a_grid_covers_the_tissue_and_no_more(step: float, reach: float) -> None:
    xy = np.random.default_rng(0).uniform(0, 400, (60, 2))
    targets = grid(xy, step, reach)
    away = np.linalg.norm(targets.coordinates[:, None] - xy[None], axis=2)
    assert away.min(axis=1).max() <= reach
    # Within reach of a location there is always a grid point next to it.
    if reach > step:
        assert away.min(axis=0).max() <= step * np.sqrt(0.5) + 1e-6
    np.testing.assert_allclose(targets.area_um2, step**2)
    assert (targets.parent == -1).all()


@pytest.mark.parametrize("step", [0.0, -5.0, float("nan"), 1e-6])
def test_an_impossible_grid_is_refused(step: float) -> None:
    with pytest.raises(InputError, match="grid"):
        grid(np.array([[0.0, 0.0], [5000.0, 5000.0]]), step, 10)


def test_subspots_are_named_by_their_spot_and_cut_by_regions(tmp_path: Path) -> None:
    slide = open_slide(Outs().write(tmp_path / "outs"))
    targets = slide.subspots()
    assert targets.per_location == 7
    assert targets.ids[8] == f"{slide.barcodes[1]}/1"
    x, y = slide.coordinates[30]
    ring = [(x - 60, y - 60), (x + 60, y - 60), (x + 60, y + 60), (x - 60, y + 60)]
    inside = targets.within(Region.from_polygons("roi", [ring]))
    assert set(np.flatnonzero(targets.parent == 30)) <= set(
        np.flatnonzero(np.isin(targets.ids, inside.ids))
    )
    with pytest.raises(InputError, match="holds none of the"):
        targets.within(Region.from_polygons("far", [np.array(ring) + 1e6]))


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("target_id,x,y,diameter\na,10,20,4\nb,30,40,6\n", 0.5),
        ("target_id,x_um,y_um,diameter_um\na,5,10,2\nb,15,20,3\n", 1.0),
    ],
)
def test_targets_are_read_in_px_or_um(tmp_path: Path, text: str, scale: float) -> None:
    path = tmp_path / "targets.csv"
    path.write_text(text)
    targets = read_targets(path, 0.5, diameter_um=55)
    np.testing.assert_allclose(targets.coordinates, [[5, 10], [15, 20]])
    np.testing.assert_allclose(targets.area_um2, np.pi * np.array([1, 1.5]) ** 2)
    assert targets.ids.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("target_id,x\na,1\n", "lacks the column 'y'"),
        ("target_id,x,y\na,1,2\na,3,4\n", "'a' occurs twice"),
        ("target_id,x,y\na,1,2\n,3,4\n", "Target 2 has no id"),
        ("target_id,x,y\na,1,2\nb,1e300,4\n", "5e\\+299 µm cannot be"),
        ("target_id,x,y\na,one,2\n", "no numbers"),
        ("target_id,x,y\na,,2\n", "no coordinates"),
        ("target_id,x,y\n", "at least one"),
        ("target_id,x,y,diameter\na,1,2,-3\n", "positive"),
    ],
)
def test_broken_target_files_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "targets.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_targets(path, 0.5, 55)
    with pytest.raises(InputError, match="no target file"):
        read_targets(tmp_path / "none.csv", 0.5, 55)


def test_points_take_one_or_many_diameters() -> None:
    xy = np.array([[0.0, 0.0], [10.0, 0.0]])
    np.testing.assert_allclose(points(xy, 2.0).area_um2, np.pi)
    np.testing.assert_allclose(points(xy, np.array([2.0, 4.0])).area_um2, [np.pi, 4 * np.pi])
