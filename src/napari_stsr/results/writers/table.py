"""Enhancements as CSV, one row a target, with a JSON file of provenance beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_stsr.files import written_aside
from napari_stsr.results.enhancement import Enhancement


def write_csv(enhancement: Enhancement, path: Path, columns: NDArray[np.int64]) -> None:
    """Write the given gene columns as ``path``, and provenance as ``<name>.provenance.json``."""
    targets, px = enhancement.targets, enhancement.coordinates_px
    places = pd.DataFrame(
        {
            "target_id": targets.ids,
            "x_um": targets.coordinates[:, 0],
            "y_um": targets.coordinates[:, 1],
            "x_px": px[:, 0],
            "y_px": px[:, 1],
            "parent": enhancement.parents,
            "in_tissue": enhancement.in_tissue,
            "supported": enhancement.supported,
        }
    )
    genes = enhancement.genes.take(columns)
    values = pd.DataFrame(enhancement.expression_source.columns(columns), columns=genes.ids)
    record = {
        **enhancement.provenance,
        "kind": enhancement.kind,
        "name": enhancement.name,
        "columns": dict(zip(genes.ids.tolist(), genes.symbols.tolist())),
    }
    with written_aside(path) as table, written_aside(provenance_path(path)) as beside:
        beside.write_text(json.dumps(record, indent=2), encoding="utf-8")
        pd.concat([places, values], axis=1).to_csv(table, index=False)


def provenance_path(path: Path) -> Path:
    """Place of the provenance of a CSV file."""
    return path.with_suffix(".provenance.json")
