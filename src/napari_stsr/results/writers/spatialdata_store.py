"""Enhancements as SpatialData zarr: table, centres, cells, and the slide's spots and image."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.files import written_aside
from napari_stsr.results.enhancement import Enhancement
from napari_stsr.results.expression import Expression
from napari_stsr.results.writers.annotated import annotated, matrices
from napari_stsr.results.writers.stored import chunks, pour
from napari_stsr.slides import Slide

if TYPE_CHECKING:
    from anndata import AnnData

TABLE = "tables/predicted/"
_CELLS = "predicted_cells"
# Shapely's number for polygons.
_POLYGON = 3


def write_spatialdata(
    enhancement: Enhancement, path: Path, columns: NDArray[np.int64], slide: Slide | None = None
) -> None:
    """Write the given gene columns as a SpatialData store.

    Elements lie in µm in the coordinate system ``"global"`` and in full-res px in ``"px"``.

    Raises
    ------
    InputError
        When spatialdata is not installed.
    """
    with warnings.catch_warnings():
        # What spatialdata's own dependencies deprecate is nothing the user can act on.
        warnings.simplefilter("ignore")
        try:
            import spatialdata
        except ImportError as error:
            raise InputError(
                f"A SpatialData store needs the package spatialdata ({error}).",
                "Run: pip install 'napari-stsr[spatialdata]'; or export as h5ad.",
            ) from None
        with written_aside(path) as aside:
            elements = {"predicted": _table(enhancement, columns), **_places(enhancement)}
            if slide is not None:
                elements.update(_measured(slide))
            spatialdata.SpatialData.init_from_elements(elements).write(aside)
            _pour_matrices(aside, enhancement, columns)


def _pour_matrices(store: Path, enhancement: Enhancement, columns: NDArray[np.int64]) -> None:
    import zarr

    root = zarr.open_group(str(store), mode="r+", use_consolidated=False)
    for name, expression in matrices(enhancement).items():
        _write_matrix(root, TABLE + name, expression, columns)
    zarr.consolidate_metadata(root.store)


def _write_matrix(root: Any, name: str, expression: Expression, columns: NDArray[np.int64]) -> None:
    shape = (expression.shape[0], len(columns))
    matrix = root.create_array(
        name, shape=shape, dtype="float32", chunks=chunks(shape, "zarr"), overwrite=True
    )
    matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    for _ in pour(expression, columns, matrix):
        pass


def _table(enhancement: Enhancement, columns: NDArray[np.int64]) -> AnnData:
    from spatialdata.models import TableModel

    table = annotated(enhancement, columns)
    table.obs["region"] = np.full(len(enhancement), _CELLS)
    table.obs["region"] = table.obs["region"].astype("category")
    table.obs["target"] = np.arange(len(enhancement))
    parsed: AnnData = TableModel.parse(
        table, region=_CELLS, region_key="region", instance_key="target"
    )
    return parsed


def _frames(um_per_px: float, um_per_unit: float = 1.0) -> dict[str, Any]:
    """Transformations of an element whose unit is `um_per_unit` µm."""
    from spatialdata.transformations import Scale

    return {
        "global": Scale([um_per_unit] * 2, axes=("x", "y")),
        "px": Scale([um_per_unit / um_per_px] * 2, axes=("x", "y")),
    }


def _image_frames(um_per_px: float, um_per_unit: float) -> dict[str, Any]:
    """Transformations of an image: SpatialData counts from a pixel's corner, we from its centre."""
    from spatialdata.transformations import Sequence, Translation

    centre = Translation([-0.5, -0.5], axes=("x", "y"))
    return {
        name: Sequence([centre, scale]) for name, scale in _frames(um_per_px, um_per_unit).items()
    }


def _places(enhancement: Enhancement) -> dict[str, Any]:
    from spatialdata.models import PointsModel, ShapesModel

    targets, frames = enhancement.targets, _frames(enhancement.scale.um_per_px)
    ring = np.vstack([targets.cell, targets.cell[:1]])
    corners = (targets.coordinates[:, None, :] + ring[None]).reshape(-1, 2)
    counted = np.arange(len(targets) + 1)
    return {
        "predicted_centres": PointsModel.parse(targets.coordinates, transformations=frames),
        _CELLS: ShapesModel.parse(
            corners,
            geometry=_POLYGON,
            offsets=(len(ring) * counted, counted),
            transformations=frames,
        ),
    }


def _measured(slide: Slide) -> dict[str, Any]:
    from spatialdata.models import Image2DModel, ShapesModel

    places = {
        "measured_locations": ShapesModel.parse(
            slide.coordinates,
            geometry=0,
            radius=slide.diameter_um / 2,
            transformations=_frames(slide.scale.um_per_px),
        )
    }
    if slide.image is not None:
        finest = slide.image.levels[0].transpose(2, 0, 1)
        smaller = len(slide.image.levels) - 1
        places["histology"] = Image2DModel.parse(
            finest,
            dims=("c", "y", "x"),
            c_coords=["r", "g", "b"],
            scale_factors=[2] * smaller or None,
            transformations=_image_frames(slide.scale.um_per_px, slide.image.um_per_px),
        )
    return places
