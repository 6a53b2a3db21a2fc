from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

from napari_stsr.errors import InputError
from napari_stsr.results.writers import export, read_enhancement
from napari_stsr.slides.simulate import simulate_slide
from tests.results.made import UM_PER_PX, assert_same, enhancement


@pytest.fixture(scope="module")
def spatialdata():
    with warnings.catch_warnings():
        # What spatialdata's dependencies deprecate is not ours to mend.
        warnings.simplefilter("ignore")
        return pytest.importorskip("spatialdata", exc_type=ImportError)


@pytest.mark.parametrize("kind", ["subspots", "grid", "points"])
def test_reading_back_gives_the_same_enhancement(tmp_path, spatialdata, kind):
    one = enhancement(kind)
    export(one, tmp_path / "r.zarr")
    assert_same(one, read_enhancement(tmp_path / "r.zarr"))
    export(one.take(np.arange(4)), tmp_path / "r.zarr")
    assert len(read_enhancement(tmp_path / "r.zarr")) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["r.zarr"]


@pytest.mark.filterwarnings("ignore")
def test_spatialdata_opens_it_with_everything_in_place(tmp_path, spatialdata):
    from spatialdata.transformations import get_transformation

    slide = simulate_slide(lattice="hex", shape=(14, 12), genes=20)
    one = enhancement()
    export(one, tmp_path / "r.zarr", slide=slide)
    store = spatialdata.read_zarr(tmp_path / "r.zarr")
    table = store.tables["predicted"]
    np.testing.assert_array_equal(table.X, one.expression())
    np.testing.assert_array_equal(
        table.layers["uncertainty_sd"], one.uncertainty.columns(np.arange(5))
    )
    assert table.uns["napari_stsr"]["kind"] == "predicted"

    cells = store.shapes["predicted_cells"]
    assert len(cells) == len(one)
    middle = np.column_stack([cells.centroid.x, cells.centroid.y])
    np.testing.assert_allclose(middle, one.targets.coordinates, atol=1e-6)
    np.testing.assert_allclose(cells.area, one.targets.area_um2, rtol=1e-3)
    matched, _ = spatialdata.join_spatialelement_table(
        sdata=store, spatial_element_names="predicted_cells", table_name="predicted", how="inner"
    )
    assert len(matched["predicted_cells"]) == len(one)
    centres = store.points["predicted_centres"].compute()
    np.testing.assert_allclose(centres[["x", "y"]], one.targets.coordinates)
    to_px = get_transformation(store.shapes["predicted_cells"], "px").to_affine_matrix(
        ("x", "y"), ("x", "y")
    )
    np.testing.assert_allclose(np.diag(to_px), [1 / UM_PER_PX, 1 / UM_PER_PX, 1])

    spots = store.shapes["measured_locations"]
    np.testing.assert_allclose(
        np.column_stack([spots.geometry.x, spots.geometry.y]), slide.coordinates
    )
    finest = store.images["histology"]["scale0"]["image"].to_numpy()
    np.testing.assert_array_equal(np.moveaxis(finest, 0, -1), slide.image.levels[0])
    # The centre of our pixel (0, 0) is at 0 µm; SpatialData counts from its corner.
    placed = get_transformation(store.images["histology"]).to_affine_matrix(("x", "y"), ("x", "y"))
    np.testing.assert_allclose(placed @ [0.5, 0.5, 1], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(placed[0, 0], slide.image.um_per_px)


def test_without_spatialdata_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spatialdata", None)
    with pytest.raises(InputError, match="pip install"):
        export(enhancement(), tmp_path / "r.zarr")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_result_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read|holds no enhancement"):
        read_enhancement(tmp_path)
