"""An enhancement as an annotated matrix: the layout shared by h5ad and zarr."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.results.attention import Attention
from napari_stsr.results.enhancement import Enhancement
from napari_stsr.results.expression import Expression, StoredExpression
from napari_stsr.results.writers.stored import FileExpression, opened
from napari_stsr.slides import Genes, PixelScale, Targets

if TYPE_CHECKING:
    from anndata import AnnData

KEY = "napari_stsr"
# Matrices beside X, by the field of the enhancement they hold.
LAYERS = {"denoised": "layers/denoised", "uncertainty": "layers/uncertainty_sd"}
_LAYOUT = 1
_ATTENTION = re.compile(r"attention_l(\d+)_h(\d+)")


def annotated(enhancement: Enhancement, columns: NDArray[np.int64]) -> AnnData:
    """Everything of an enhancement but the matrices, which are poured in afterwards."""
    from anndata import AnnData

    targets, genes = enhancement.targets, enhancement.genes.take(columns)
    obs = pd.DataFrame(
        {
            "parent": enhancement.parents.astype(object),
            "parent_index": targets.parent,
            "part": targets.part,
            "area_um2": targets.area_um2,
            "in_tissue": enhancement.in_tissue,
            "supported": enhancement.supported,
        },
        index=pd.Index(targets.ids.astype(object)),
    )
    var = pd.DataFrame({"symbol": genes.symbols.astype(object)}, index=genes.ids.astype(object))
    places: dict[str, Any] = {
        "spatial": enhancement.coordinates_px,
        "spatial_um": targets.coordinates,
    }
    if enhancement.embedding is not None:
        places["embedding"] = enhancement.embedding
    if enhancement.attention is not None:
        for (layer, head), weights in enhancement.attention.weights.items():
            places[f"attention_l{layer}_h{head}"] = weights
    return AnnData(None, obs=obs, var=var, obsm=places, uns={KEY: _record(enhancement)})


def matrices(enhancement: Enhancement) -> dict[str, Expression]:
    """Matrices to pour into the table, by their place in it."""
    found = {"X": enhancement.expression_source}
    for field, name in LAYERS.items():
        expression: Expression | None = getattr(enhancement, field)
        if expression is not None:
            found[name] = expression
    return found


def _record(enhancement: Enhancement) -> dict[str, Any]:
    """Provenance to read at a glance, the same as JSON to read back, and the targets' geometry."""
    targets = enhancement.targets
    record = {
        **readable(enhancement.provenance),
        "kind": enhancement.kind,
        "layout": _LAYOUT,
        "name": enhancement.name,
        "provenance": json.dumps(enhancement.provenance),
        "um_per_px": enhancement.scale.um_per_px,
        "um_per_px_source": enhancement.scale.source,
        "target_kind": targets.kind,
        "target_cell_um": targets.cell,
        "targets_named": targets.names is not None or targets.location_names is not None,
        "targets_per_location": targets.per_location,
    }
    if enhancement.sources is not None:
        record["source_barcodes"] = enhancement.sources.astype(object)
    if enhancement.source_coordinates is not None:
        record["source_coordinates_um"] = enhancement.source_coordinates
    return record


def readable(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers, words and switches of a record, at any depth.

    Lists, empty entries and keys that are no plain word are left to the JSON copy: HDF5 has no
    place for them.
    """
    kept: dict[str, Any] = {}
    for key, value in record.items():
        if not key.isidentifier() or value is None:
            continue
        if isinstance(value, Mapping):
            kept[key] = readable(value)
        elif isinstance(value, (str, bool, int, float)):
            kept[key] = value
    return kept


def read_annotated(path: Path, table: str = "") -> Enhancement:
    """Read an enhancement; its matrices stay in the file.

    Parameters
    ----------
    path : Path
    table : str
        Place of the annotated matrix inside the store, with a closing slash; empty for the root.

    Raises
    ------
    InputError
        When the file holds no enhancement of this package.
    """
    from anndata.io import read_elem

    with opened(path) as file:
        group = file[table.rstrip("/")] if table else file
        if "uns" not in group or KEY not in group["uns"]:
            raise InputError(
                f"{str(path)!r} holds no enhancement: it lacks uns[{KEY!r}].",
                "Open a file that was exported from here.",
            )
        record = read_elem(group["uns"][KEY])
        obs, var = read_elem(group["obs"]), read_elem(group["var"])
        places = {name: read_elem(group["obsm"][name]) for name in group["obsm"]}
        shape = (len(obs), len(var))
        expression = _matrix(group, path, table, "X", shape)
        beside: dict[str, Any] = {
            field: _matrix(group, path, table, name, shape)
            for field, name in LAYERS.items()
            if name in group
        }
    plain = _enhancement(record, obs, var, places, expression)
    return replace(plain, **beside, attention=_attention(places))


def _matrix(group: Any, path: Path, table: str, name: str, shape: tuple[int, int]) -> Expression:
    """Matrix in the file; a sparse one (re-saved by another tool) comes to memory."""
    from anndata.io import read_elem

    if hasattr(group[name], "chunks"):
        return FileExpression(path, table + name, shape)
    return StoredExpression(sparse.csc_matrix(read_elem(group[name])))


def _enhancement(
    record: Mapping[str, Any],
    obs: pd.DataFrame,
    var: pd.DataFrame,
    places: Mapping[str, Any],
    expression: Expression,
) -> Enhancement:
    names = obs.index.to_numpy(dtype=np.str_)
    targets = Targets(
        str(record["target_kind"]),  # type: ignore[arg-type]  # written from a Targets
        np.asarray(places["spatial_um"], dtype=np.float64),
        obs["parent_index"].to_numpy(dtype=np.int64),
        obs["part"].to_numpy(dtype=np.int64),
        np.asarray(record["target_cell_um"], dtype=np.float64),
        obs["area_um2"].to_numpy(dtype=np.float64),
        names if record["targets_named"] else None,
        int(record["targets_per_location"]),
    )
    barcodes = record.get("source_barcodes")
    symbols = var["symbol"].astype(str).to_numpy(dtype=np.str_)
    return Enhancement(
        str(record["name"]),
        targets,
        Genes(var.index.to_numpy(dtype=np.str_), symbols),
        expression,
        PixelScale(float(record["um_per_px"]), str(record["um_per_px_source"])),
        obs["in_tissue"].to_numpy(dtype=np.bool_),
        obs["supported"].to_numpy(dtype=np.bool_),
        obs["parent"].astype(str).to_numpy(dtype=np.str_),
        sources=None if barcodes is None else np.array(barcodes.tolist(), dtype=np.str_),
        source_coordinates=record.get("source_coordinates_um"),
        embedding=places.get("embedding"),
        provenance=json.loads(str(record["provenance"])),
    )


def _attention(places: Mapping[str, Any]) -> Attention | None:
    weights = {}
    for name, matrix in places.items():
        if found := _ATTENTION.fullmatch(name):
            weights[int(found[1]), int(found[2])] = sparse.csr_matrix(matrix)
    return Attention(weights) if weights else None
