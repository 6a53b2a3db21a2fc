"""Time and memory to open a Visium HD slide of real size, and to show one gene of it.

Makes a simulated `square_008um` folder once (bounded memory), then opens it in a fresh process::

    python benchmarks/open_hd.py --bins 700000 --genes 18000 --nnz 100000000 --folder hd_benchmark
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

UM_PER_PX = 0.2738


def make(folder: Path, bins: int, genes: int, nnz: int, chunk: int = 20_000) -> None:
    """Write a slide: a full grid of bins, a share of them in the matrix, skewed genes."""
    (folder / "spatial").mkdir(parents=True, exist_ok=True)
    side = int(np.ceil(np.sqrt(bins)))
    row, column = np.divmod(np.arange(side * side), side)
    names = np.array([f"s_008um_{r:05d}_{c:05d}-1" for r, c in zip(row, column)], dtype="S")
    table = {
        "barcode": pa.array(names).cast(pa.string()),
        "in_tissue": (np.arange(side * side) < bins).astype(np.int32),
        "array_row": row.astype(np.int32),
        "array_col": column.astype(np.int32),
        "pxl_row_in_fullres": 500.0 + row * 8 / UM_PER_PX + column * 0.05,
        "pxl_col_in_fullres": 700.0 + column * 8 / UM_PER_PX - row * 0.05,
    }
    pq.write_table(pa.table(table), folder / "spatial" / "tissue_positions.parquet")
    scales = {"microns_per_pixel": UM_PER_PX, "bin_size_um": 8.0, "spot_diameter_fullres": 29.2}
    (folder / "spatial" / "scalefactors_json.json").write_text(json.dumps(scales))
    rng = np.random.default_rng(0)
    reach = rng.permutation(genes)
    many = rng.multinomial(nnz, np.full(bins, 1 / bins))
    with h5py.File(folder / "filtered_feature_bc_matrix.h5", "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = names[:bins]
        group["shape"] = np.array([genes, bins], dtype=np.int32)
        features = group.create_group("features")
        features["id"] = np.array([f"ENSG{i:011d}" for i in range(genes)], dtype="S")
        features["name"] = np.array([f"GENE{i}" for i in range(genes)], dtype="S")
        features["feature_type"] = np.full(genes, b"Gene Expression")
        made = {"chunks": (80_000,), "compression": "gzip", "compression_opts": 4}
        data = group.create_dataset("data", (nnz,), np.int32, **made)
        indices = group.create_dataset("indices", (nnz,), np.int64, **made)
        pointers, filled = [0], 0
        for start in range(0, bins, chunk):
            columns = [np.sort(reach[_skewed(rng, k, genes)]) for k in many[start : start + chunk]]
            values = np.concatenate(columns)
            stop = filled + len(values)
            indices[filled:stop] = values
            data[filled:stop] = 1 + rng.geometric(0.7, len(values)) // 2
            pointers += (filled + np.cumsum([len(c) for c in columns])).tolist()
            filled = stop
        group["indptr"] = np.array(pointers, dtype=np.int64)


def _skewed(rng: np.random.Generator, many: int, genes: int) -> np.ndarray:
    """Different genes of one bin, a few of them far commoner than the rest."""
    drawn = np.unique((rng.random(3 * many) ** 3 * genes).astype(np.int64))
    if len(drawn) < many:
        return rng.choice(genes, many, replace=False)
    return rng.permutation(drawn)[:many]


def measure(folder: Path) -> dict[str, float]:
    """Open, build the column order, and draw genes; in this process alone."""
    from napari_stsr.slides import counts
    from napari_stsr.slides.readers import open_slide

    counts.LARGE = 0
    before = time.process_time()
    slide = open_slide(folder)
    figures = {"open_cpu_s": time.process_time() - before, "open_peak_gb": _peak_gb()}
    before = time.process_time()
    _ = slide.counts.columns
    figures["columns_cpu_s"] = time.process_time() - before
    figures["columns_peak_gb"] = _peak_gb()
    chosen = np.linspace(0, len(slide.genes) - 1, 50).astype(int)
    busiest = int(np.argmax(np.diff(slide.counts.columns.indptr)))
    costs = []
    for gene in (*chosen, busiest):
        before = time.process_time()
        slide.counts.column(int(gene))
        costs.append(1000 * (time.process_time() - before))
    return figures | {"gene_cpu_ms": float(np.median(costs)), "worst_gene_cpu_ms": max(costs)}


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bins", type=int, default=70_000)
    parser.add_argument("--genes", type=int, default=18_000)
    parser.add_argument("--nnz", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="keep the slide here; default: a temporary one")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    choice = parser.parse_args()
    if choice.measure:
        print(json.dumps(measure(choice.folder)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = (choice.folder or Path(scratch)) / "square_008um"
        if not (folder / "filtered_feature_bc_matrix.h5").is_file():
            make(folder, choice.bins, choice.genes, choice.nnz)
        command = [sys.executable, __file__, "--measure", "--folder", str(folder)]
        for turn in ("first", "second"):
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            print(f"{turn} opening of {choice.bins:,} × {choice.genes:,}, {choice.nnz:,} values")
            for name, value in json.loads(done.stdout).items():
                print(f"  {name:20s} {value:8.2f}")


if __name__ == "__main__":
    main()
