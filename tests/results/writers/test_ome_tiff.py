from __future__ import annotations

import itertools
import json
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from napari_stsr.results.raster import CellRaster
from napari_stsr.results.writers import export, ome_tiff
from tests.results.made import enhancement

SPACE = {"ome": "http://www.openmicroscopy.org/Schemas/OME/2016-06"}


def test_channels_are_genes_in_micrometres(tmp_path):
    one = enhancement()
    export(one, tmp_path / "r.ome.tif", genes=["ERBB2", "ENSG3"])
    raster = CellRaster.of(one.targets, longest=4000)
    with tifffile.TiffFile(tmp_path / "r.ome.tif") as file:
        assert file.is_ome
        assert file.series[0].axes == "CYX"
        drawn = file.asarray()
        xml = ElementTree.fromstring(file.ome_metadata)
        resolution = file.pages[0].resolution
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn[0], raster.paint(one.expression(["ERBB2"])[:, 0]), rtol=1e-6)
    np.testing.assert_allclose(drawn[1], raster.paint(one.expression(["ENSG3"])[:, 0]), rtol=1e-6)
    assert np.isnan(drawn[0, 0, 0])
    pixels = xml.find(".//ome:Pixels", SPACE).attrib
    assert float(pixels["PhysicalSizeX"]) == pytest.approx(raster.um_per_px)
    assert pixels["PhysicalSizeXUnit"] == "µm"
    assert 1e4 / resolution[0] == pytest.approx(raster.um_per_px, rel=1e-4)
    names = [c.attrib["Name"] for c in xml.findall(".//ome:Channel", SPACE)]
    assert names == ["predicted ERBB2", "predicted ENSG3"]
    plane = xml.find(".//ome:Plane", SPACE).attrib
    assert float(plane["PositionX"]) == pytest.approx(raster.origin_um[0])
    assert json.loads(xml.find(".//ome:Image/ome:Description", SPACE).text) == one.provenance


def test_a_large_picture_is_a_pyramid(tmp_path, monkeypatch):
    monkeypatch.setattr(ome_tiff, "_PYRAMID_FROM", 40)
    one = enhancement()
    export(one, tmp_path / "r.ome.tiff", genes=["ERBB2", "MBP", "ENSG3"])
    with tifffile.TiffFile(tmp_path / "r.ome.tiff") as file:
        levels = [level.asarray() for level in file.series[0].levels]
    assert [level.shape[0] for level in levels] == [3] * len(levels)
    assert len(levels) >= 2
    assert max(levels[-1].shape) <= 40
    for fine, coarse in itertools.pairwise(levels):
        np.testing.assert_array_equal(coarse, fine[:, ::2, ::2])
