import numpy as np
import pytest
from napari.layers import Layer

from napari_stsr.viewer.layers.regions import name_shapes, regions_of, roi_layer

SQUARE = np.array([[0, 0], [0, 100], [50, 100], [50, 0]], dtype=float)


@pytest.fixture
def rois():
    return Layer.create(*roi_layer(10.0))


def test_all_shapes_become_regions_in_x_and_y(rois):
    rois.add_rectangles(SQUARE)
    rois.add_polygons(SQUARE + 200)
    name_shapes(rois)
    first, second = regions_of(rois)
    assert (first.name, second.name) == ("ROI 1", "ROI 2")
    assert first.bounds() == (0, 0, 100, 50)
    assert second.area_um2 == pytest.approx(5000)


def test_an_ellipse_has_the_area_of_an_ellipse(rois):
    rois.add_ellipses(SQUARE)
    name_shapes(rois)
    assert regions_of(rois)[0].area_um2 == pytest.approx(np.pi * 50 * 25, rel=0.01)


def test_shapes_of_one_name_are_one_region_and_slips_are_none(rois):
    rois.add_polygons([SQUARE, SQUARE + 500])
    rois.features = {"name": np.array(["tumour", "tumour"], dtype=object)}
    rois.add_paths(SQUARE)
    regions = regions_of(rois)
    assert [r.name for r in regions] == ["tumour"]
    assert regions[0].area_um2 == pytest.approx(10_000)


def test_given_names_stay_and_gaps_are_filled(rois):
    rois.add_polygons([SQUARE, SQUARE + 100, SQUARE + 200])
    rois.features = {"name": np.array(["", "ROI 1", "stroma"], dtype=object)}
    name_shapes(rois)
    assert list(rois.features["name"]) == ["ROI 2", "ROI 1", "stroma"]


def test_a_moved_layer_gives_world_coordinates(rois):
    rois.add_polygons(SQUARE)
    name_shapes(rois)
    rois.translate = (1000, 2000)
    assert regions_of(rois)[0].bounds() == (2000, 1000, 2100, 1050)
