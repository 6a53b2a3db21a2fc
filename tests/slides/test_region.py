"""Regions enclose what was drawn, and survive the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_stsr.errors import InputError
from napari_stsr.slides import Region, read_regions, write_regions
from napari_stsr.slides.readers import open_slide
from tests.slides.folders import Outs


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


@settings(max_examples=30, deadline=None)
@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 99), st.floats(1, 99), st.floats(1, 9))
def test_a_box_holds_what_lies_in_it(x: float, y: float, w: float, h: float, m: float) -> None:
    region = Region.from_polygons("box", [box(x, y, x + w, y + h)])
    assert region.area_um2 == pytest.approx(w * h)
    points = np.random.default_rng(0).uniform(-60, 160, (200, 2))
    low, high = np.array([x, y]), np.array([x + w, y + h])
    np.testing.assert_array_equal(
        region.contains(points), ((points >= low) & (points <= high)).all(axis=1)
    )
    grown = region.grown(m)
    assert (grown.contains(points) >= region.contains(points)).all()
    assert grown.bounds() == pytest.approx((x - m, y - m, x + w + m, y + h + m))


def test_overlaps_count_once_and_crossing_outlines_are_mended() -> None:
    both = Region.from_polygons("two", [box(0, 0, 10, 10), box(5, 0, 15, 10)])
    assert both.area_um2 == pytest.approx(150)
    bow = Region.from_polygons("bow", [[(0, 0), (10, 10), (10, 0), (0, 10)]])
    assert bow.area_um2 == pytest.approx(50)


@pytest.mark.parametrize("ring", [[], [(0, 0), (1, 1)], [(0, 0), (1, 1), (2, 2)]])
def test_an_empty_region_is_refused(ring: list[tuple[float, float]]) -> None:
    with pytest.raises(InputError, match="'nothing'"):
        Region.from_polygons("nothing", [ring])


def test_regions_survive_the_file(tmp_path: Path) -> None:
    drawn = [
        Region.from_polygons("tumour", [box(0, 0, 100, 50), box(300, 300, 310, 340)]),
        Region.from_polygons("stroma", [box(-5, -5, 5, 5)]),
    ]
    write_regions(tmp_path / "roi.geojson", drawn)
    # The file is in µm and says so: a size of a pixel must not touch it.
    back = read_regions(tmp_path / "roi.geojson", um_per_px=0.3)
    assert [r.name for r in back] == ["tumour", "stroma"]
    for one, other in zip(drawn, back):
        assert one.outline.equals(other.outline)


def test_pixels_become_um(tmp_path: Path) -> None:
    ring = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
    path = tmp_path / "roi.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    assert read_regions(path, um_per_px=0.5)[0].area_um2 == pytest.approx(25)


def test_a_region_off_the_tissue_is_refused(tmp_path: Path) -> None:
    slide = open_slide(Outs().write(tmp_path / "outs"))
    with pytest.raises(InputError, match="holds none of the 168 measured spots"):
        slide.within(Region.from_polygons("far", [box(-900, -900, -800, -800)]))
    x, y = slide.coordinates[40]
    part = slide.within(Region.from_polygons("one", [box(x - 5, y - 5, x + 5, y + 5)]))
    assert part.barcodes.tolist() == [slide.barcodes[40]]
    around = slide.within(Region.from_polygons("one", [box(x - 5, y - 5, x + 5, y + 5)]), 105)
    assert len(around) == 7
    np.testing.assert_array_equal(around.counts.totals, slide.counts.totals[
        [slide.barcodes.tolist().index(name) for name in around.barcodes]])  # fmt: skip


def test_a_corner_that_is_no_number_is_refused_without_a_warning(tmp_path):
    path = tmp_path / "roi.geojson"
    ring = "[[0, 0], [10, NaN], [10, 10], [0, 0]]"
    path.write_text('{"type": "Polygon", "coordinates": [' + ring + "]}")
    with pytest.raises(InputError, match="some corners are not numbers"):
        read_regions(path)
