from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_stsr.errors import InputError
from napari_stsr.results.raster import CellRaster
from napari_stsr.slides import grid, points, subspots
from tests.results.made import hex_slide


@settings(max_examples=15, deadline=None)
@given(turn=st.floats(-3.1, 3.1), k=st.sampled_from([7, 6]))
def test_each_pixel_shows_the_nearest_target_whose_cell_holds_it(turn, k):
    lattice, places = hex_slide(3, 3, turn)
    targets = subspots(lattice, places, k)
    raster = CellRaster.of(targets)
    height, width = raster.index.shape
    row, column = (axis.ravel() for axis in np.indices((height, width)))
    pixels = raster.origin_um + raster.um_per_px * np.column_stack([column, row])
    away = np.linalg.norm(pixels[:, None] - targets.coordinates[None], axis=2)
    near = away.argmin(axis=1)
    cells = shapely.polygons(targets.coordinates[:, None] + targets.cell)
    outline = shapely.distance(shapely.points(pixels), shapely.boundary(cells[near]))
    two = np.partition(away, 1, axis=1)
    clear = (outline > 1e-6) & (two[:, 1] - two[:, 0] > 1e-6)
    inside = shapely.contains_xy(cells[near], pixels[:, 0], pixels[:, 1])
    expected = np.where(inside, near, -1)
    np.testing.assert_array_equal(raster.index.ravel()[clear], expected[clear])
    np.testing.assert_array_equal(raster.target_at(pixels), raster.index.ravel())


def test_every_subspot_is_seen_and_the_tissue_has_no_gaps():
    lattice, places = hex_slide(8, 8)
    targets = subspots(lattice, places, 7)
    raster = CellRaster.of(targets)
    assert set(range(len(targets))) <= set(np.unique(raster.index).tolist())
    middle = shapely.MultiPoint(places).convex_hull.buffer(-lattice.pitch_um)
    row, column = np.indices(raster.index.shape)
    x = raster.origin_um[0] + raster.um_per_px * column
    y = raster.origin_um[1] + raster.um_per_px * row
    within = shapely.contains_xy(middle, x, y)
    assert within.sum() > 1000
    assert (raster.index[within] >= 0).all()
    area = (raster.index >= 0).sum() * raster.um_per_px**2
    assert area == pytest.approx(targets.area_um2.sum(), rel=0.02)


def test_paint_puts_values_in_their_cells_and_nan_elsewhere():
    targets = points(np.array([[0.0, 0.0], [100.0, 0.0]]), 30.0)
    raster = CellRaster.of(targets, 2.0)
    painted = raster.paint([3.0, 5.0])
    assert painted.dtype == np.float32
    assert painted.shape == raster.index.shape
    at = raster.target_at(np.array([[0, 0], [100, 3], [50, 0], [-999, 0], [0, 9999]]))
    assert at.tolist() == [0, 1, -1, -1, -1]
    left = painted[:, : painted.shape[1] // 2]
    assert np.nanmax(left) == np.nanmin(left) == 3
    assert np.isnan(painted[:, painted.shape[1] // 2]).all()
    disc = np.isfinite(left).sum() * 4
    assert disc == pytest.approx(np.pi * 15**2, rel=0.1)


def test_a_square_grid_is_drawn_without_seams():
    targets = grid(np.array([[0.0, 0], [500, 0], [0, 500], [500, 500], [250, 250]]), 10.0, 400.0)
    raster = CellRaster.of(targets, 2.5)
    counted = np.bincount(raster.index[raster.index >= 0], minlength=len(targets))
    assert set(counted.tolist()) == {16}


def test_pixels_grow_rather_than_the_picture():
    lattice, places = hex_slide(8, 8)
    raster = CellRaster.of(subspots(lattice, places, 7), 0.01, longest=300)
    assert max(raster.index.shape) == 300
    with pytest.raises(InputError, match="-1"):
        CellRaster.of(subspots(lattice, places, 7), -1)
