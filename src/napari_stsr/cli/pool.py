"""``napari-stsr pool``: single cells become a slide, with the truth beside it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from napari_stsr import __version__
from napari_stsr.errors import InputError
from napari_stsr.files import check_writable, written_aside
from napari_stsr.slides import Counts, Slide
from napari_stsr.slides.pooling import (
    BIN_UM,
    PITCH_UM,
    Pooled,
    cell_bins,
    pool_cells,
    pooled_counts,
    spot_parts,
)

_RECORD = "provenance.json"


def run(options: argparse.Namespace) -> None:
    """Pool the cells as the options say."""
    from napari_stsr.slides.readers import CellColumns, read_cells

    folder = Path(options.output)
    _check_free(folder)
    um = options.um
    if options.kind == "visium" and um not in (None, PITCH_UM):
        raise InputError(
            f"Visium's spots are {PITCH_UM:g} µm apart, not {um:g}.",
            "Leave --um out, or pool bins.",
        )
    if options.seed < 0:
        raise InputError(f"A seed of {options.seed} cannot be.", "Give 0 or more.")
    if options.um_per_px is not None and not 0 < options.um_per_px < float("inf"):
        raise InputError(
            f"A scale of {options.um_per_px:g} µm per unit cannot be.", "Give a positive length."
        )
    columns = CellColumns(options.x, options.y, tuple(options.not_genes or ()))
    cells = read_cells(options.cells, columns, options.um_per_px or 1.0)
    print(cells, file=sys.stderr)
    for check in cells.checks:
        print(f"  ! {check.sentence} {check.remedy}".rstrip(), file=sys.stderr)
    pooled = pool_cells(cells, options.kind, um, options.seed)
    with written_aside(folder) as aside:
        write_pooled(cells, pooled, options.kind, options.seed, aside)
    slide = pooled.slide
    share = slide.counts.totals.sum() / cells.counts.totals.sum()
    print(
        f"Wrote {folder}: {len(slide):,} {slide.location_word}s with {share:.0%} of the molecules "
        f"of {len(cells):,} cells (median {np.median(slide.counts.totals):,.0f}); the truth is in "
        f"{folder / 'truth'}"
    )


def _check_free(folder: Path) -> None:
    """Replace nothing: a folder may hold what was put there later."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{str(folder)!r} is there already.", "Choose a new folder.")
    check_writable(folder.parent)


def write_pooled(cells: Slide, pooled: Pooled, kind: str, seed: int, folder: Path) -> None:
    """Write the slide, the truth and where they came from into a new folder."""
    from napari_stsr.slides.writing import write_slide

    write_slide(pooled.slide, folder)
    truth = folder / "truth"
    truth.mkdir()
    finer = BIN_UM if kind == "visium" else pooled.slide.diameter_um / 2
    targets, owner = cell_bins(pooled, cells, finer)
    sites = pooled.slide.lattice.nearest_site(targets.coordinates)
    parents = pooled.slide.lattice.location_at(sites)
    counts = pooled_counts(cells.counts, owner, len(targets))
    _write_truth(
        truth / f"bins_{finer:g}um.h5ad", pooled.slide, counts, targets.coordinates, parents
    )
    if kind == "visium":
        owner, centres = spot_parts(pooled, cells)
        counts = pooled_counts(cells.counts, owner, len(centres))
        parents = np.repeat(np.arange(len(pooled.slide)), 7)
        _write_truth(truth / "subspots.h5ad", pooled.slide, counts, centres, parents)
    _write_truth(
        truth / "cells.h5ad", pooled.slide, cells.counts, cells.coordinates, pooled.owner,
        cells.barcodes,
    )  # fmt: skip
    record = _record(cells, pooled, kind, seed)
    (folder / _RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False))


def _write_truth(
    path: Path,
    slide: Slide,
    counts: Counts,
    coordinates: np.ndarray[Any, np.dtype[np.float64]],
    parents: np.ndarray[Any, np.dtype[np.int64]],
    names: np.ndarray[Any, np.dtype[np.str_]] | None = None,
) -> None:
    """Write counts at places in µm; ``parent`` is the barcode of the location they belong to."""
    import anndata
    import pandas as pd

    ids = np.arange(len(parents)).astype(str) if names is None else names
    owners = np.where(parents >= 0, slide.barcodes[parents], "")
    table = anndata.AnnData(
        counts.rows,
        obs=pd.DataFrame({"parent": pd.Categorical(owners)}, index=ids),
        var=pd.DataFrame({"symbol": slide.genes.symbols}, index=slide.genes.ids),
        obsm={"spatial": coordinates},
    )
    table.write_h5ad(path, compression="gzip")


def _record(cells: Slide, pooled: Pooled, kind: str, seed: int) -> dict[str, Any]:
    slide = pooled.slide
    return {
        "made_by": f"napari-stsr {__version__}, pool",
        "cells": {"path": cells.source.path, "hashes": cells.source.hashes, "count": len(cells)},
        "pooled_as": kind,
        "pitch_um": round(slide.lattice.pitch_um, 6),
        "width_um": slide.diameter_um,
        "seed": seed,
        "genes": len(slide.genes),
        "molecules_of_cells": int(cells.counts.totals.sum()),
        "molecules_pooled": int(slide.counts.totals.sum()),
        "notices": [check.sentence for check in cells.checks],
    }
