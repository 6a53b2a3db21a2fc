"""Write a slide the way Space Ranger does, so that any reader of its folders opens it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from napari_stsr.errors import InputError
from napari_stsr.slides.slide import Slide

# Coordinates are written in µm: a pixel of the picture that is not there is one µm wide.
_UM_PER_PX = 1.0


def write_slide(slide: Slide, folder: str | Path) -> Path:
    """Write counts, positions and scale factors into an empty folder.

    Visium: ``filtered_feature_bc_matrix.h5`` and ``spatial/``; bins of s µm: the same in
    ``binned_outputs/square_00sum``.

    Parameters
    ----------
    slide : Slide
        With ``array_row`` and ``array_col`` among its annotations.
    folder : path
        Made if need be. Give the aside path of `files.written_aside`.

    Returns
    -------
    Path
        Folder that holds the matrix.

    Raises
    ------
    InputError
        When the slide has no array places, or bins whose side is no whole number of µm.
    """
    if not {"array_row", "array_col"} <= set(slide.annotations.columns):
        raise InputError(
            f"{slide.name!r} has no array places, which Space Ranger's folders need.",
            "Write it as h5ad.",
        )
    scales: dict[str, float] = {
        "microns_per_pixel": _UM_PER_PX,
        "spot_diameter_fullres": slide.diameter_um / _UM_PER_PX,
    }
    home = Path(folder)
    if slide.kind == "visium-hd":
        side = round(slide.diameter_um)
        if not (0 < side < 1000 and abs(side - slide.diameter_um) < 1e-9):
            raise InputError(
                f"Bins of {slide.diameter_um:g} µm have no folder name.",
                "Take a side of 1, 2, 3 … µm.",
            )
        scales["bin_size_um"] = float(side)
        home = home / "binned_outputs" / f"square_{side:03d}um"
    spatial = home / "spatial"
    spatial.mkdir(parents=True)
    _write_matrix(slide, home / "filtered_feature_bc_matrix.h5")
    positions = _positions(slide)
    if slide.kind == "visium-hd":
        positions.to_parquet(spatial / "tissue_positions.parquet", index=False)
    else:
        positions.to_csv(spatial / "tissue_positions.csv", index=False)
    (spatial / "scalefactors_json.json").write_text(json.dumps(scales, indent=2))
    return home


def _positions(slide: Slide) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "barcode": slide.barcodes,
            "in_tissue": slide.in_tissue.astype(np.int64),
            "array_row": slide.annotations["array_row"].to_numpy(),
            "array_col": slide.annotations["array_col"].to_numpy(),
            "pxl_row_in_fullres": slide.coordinates[:, 1] / _UM_PER_PX,
            "pxl_col_in_fullres": slide.coordinates[:, 0] / _UM_PER_PX,
        }
    )


def _write_matrix(slide: Slide, path: Path) -> None:
    """Genes × locations by columns, as Cell Ranger 3 and later write it."""
    import h5py

    rows = slide.counts.rows
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["shape"] = np.array(rows.shape[::-1], dtype=np.int32)
        group["barcodes"] = np.char.encode(slide.barcodes, "utf-8")
        for name, values in (("data", rows.data), ("indices", rows.indices)):
            group.create_dataset(name, data=values, compression="gzip", shuffle=True)
        group["indptr"] = rows.indptr.astype(np.int64)
        features = group.create_group("features")
        features["id"] = np.char.encode(slide.genes.ids, "utf-8")
        features["name"] = np.char.encode(slide.genes.symbols, "utf-8")
        features["feature_type"] = np.full(len(slide.genes), b"Gene Expression")
