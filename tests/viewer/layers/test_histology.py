import numpy as np
import shapely
from napari.layers import Layer

from napari_stsr.slides.readers import open_slide
from napari_stsr.slides.simulate import simulate_slide
from napari_stsr.viewer.layers.histology import histology_layer, outline_layer, outline_rings


def test_outline_holds_the_tissue_and_leaves_the_glass(data):
    slide = open_slide(data("dlpfc_151673"))
    area = shapely.unary_union([shapely.Polygon(ring) for ring in outline_rings(slide)])
    x, y = slide.coordinates.T
    assert shapely.contains_xy(area, x[slide.in_tissue], y[slide.in_tissue]).all()
    cell = abs(np.linalg.det(slide.lattice.basis))
    assert slide.in_tissue.sum() * cell < area.area < 1.15 * slide.in_tissue.sum() * cell


def test_no_tissue_no_outline():
    from dataclasses import replace

    slide = simulate_slide(shape=(6, 6), genes=8, image=False)
    assert outline_layer(replace(slide, in_tissue=np.zeros(len(slide), dtype=bool))) is None


def test_histology_stands_where_its_pixels_were_measured():
    slide = simulate_slide(shape=(8, 8), genes=8)
    layer = Layer.create(*histology_layer(slide.image))
    np.testing.assert_allclose(
        layer.data_to_world((10, 20, 0)[:2]),
        (10 * slide.image.um_per_px, 20 * slide.image.um_per_px),
    )
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
