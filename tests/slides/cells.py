"""Single cells with known counts and places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from napari_stsr.slides import Slide
from napari_stsr.slides.readers import read_cells


def cell_table(cells: int = 1500, genes: int = 6, span_um: float = 700, seed: int = 0):
    """A table as instruments write it: an id, the centre, an area, a type and one column a gene."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"cell_id": [f"c{i}" for i in range(cells)]})
    table[["x_centroid", "y_centroid"]] = rng.random((cells, 2)) * span_um + (300, -50)
    table["area"] = rng.random(cells) * 60
    table["celltype"] = rng.choice(["neuron", "glia"], cells)
    counts = pd.DataFrame(rng.poisson(0.9, (cells, genes)), columns=[f"G{i}" for i in range(genes)])
    counts["G0"] += 1
    return pd.concat([table, counts], axis=1)


def cells_of(table: pd.DataFrame, folder: Path) -> Slide:
    """The cells of a table, through a file."""
    path = folder / "cells.csv.gz"
    table.to_csv(path, index=False)
    return read_cells(path)
