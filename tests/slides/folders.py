"""Small Space Ranger folders with known content, in every layout the readers know."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy import io, sparse

from napari_stsr.slides import Slide

UM_PER_PX = 0.5
HEADER = [
    "barcode",
    "in_tissue",
    "array_row",
    "array_col",
    "pxl_row_in_fullres",
    "pxl_col_in_fullres",
]


@dataclass
class Outs:
    """A Visium section of `rows` × `columns` hexagonal places, with counts."""

    rows: int = 12
    columns: int = 14
    genes: int = 9
    seed: int = 0
    counts: np.ndarray = field(init=False)
    table: pd.DataFrame = field(init=False)
    scales: dict[str, float] = field(init=False)
    full_shape: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        row, half = (a.ravel() for a in np.mgrid[: self.rows, : self.columns])
        column = 2 * half + row % 2
        n = len(row)
        self.counts = rng.poisson(0.8, (n, self.genes)).astype(np.int32)
        self.counts[:, 0] = 1 + np.arange(n) % 300
        self.table = pd.DataFrame(
            {
                "barcode": [f"SPOT{i:04d}-1" for i in range(n)],
                "in_tissue": 1,
                "array_row": row,
                "array_col": column,
                "pxl_row_in_fullres": 300 + row * 87 / UM_PER_PX,
                "pxl_col_in_fullres": 200 + column * 50 / UM_PER_PX,
            }
        )[HEADER]
        self.full_shape = (
            int(self.table["pxl_row_in_fullres"].max()) + 300,
            int(self.table["pxl_col_in_fullres"].max()) + 300,
        )
        self.scales = {
            "fiducial_diameter_fullres": 105 / UM_PER_PX,
            "spot_diameter_fullres": 65 / UM_PER_PX,
            "tissue_hires_scalef": 0.1,
            "tissue_lowres_scalef": 0.03,
        }

    @property
    def barcodes(self) -> list[str]:
        return [f"SPOT{i:04d}-1" for i in range(len(self.counts))]

    def write(
        self,
        folder: Path,
        matrix: str = "h5",
        positions: str = "tissue_positions.csv",
        kind: str = "filtered",
        prefix: str = "",
    ) -> Path:
        """Write everything; returns the folder."""
        spatial = folder / f"{prefix}spatial"
        spatial.mkdir(parents=True)
        place = folder / f"{prefix}{kind}_feature_bc_matrix"
        if matrix == "h5":
            self.write_h5(place.with_name(place.name + ".h5"))
        else:
            self.write_mtx(place, packed=matrix == "mtx.gz")
        write_positions(self.table, spatial / f"{prefix}{positions}")
        (spatial / f"{prefix}scalefactors_json.json").write_text(json.dumps(self.scales))
        height, width = self.full_shape
        for name, factor in (("hires", 0.1), ("lowres", 0.03)):
            write_picture(
                spatial / f"{prefix}tissue_{name}_image.png",
                (round(height * factor), round(width * factor)),
            )
        return folder

    def write_h5(self, path: Path, **options: object) -> None:
        """Write the matrix the way Cell Ranger does: genes × barcodes, column order."""
        rows = sparse.csr_matrix(self.counts)
        made = {"chunks": (min(64, rows.nnz),), "compression": "gzip", "shuffle": True} | options
        with h5py.File(path, "w") as file:
            group = file.create_group("matrix")
            group["barcodes"] = np.array(self.barcodes, dtype="S")
            group["shape"] = np.array(rows.shape[::-1], dtype=np.int32)
            group.create_dataset("data", data=rows.data, **made)
            group.create_dataset("indices", data=rows.indices.astype(np.int64), **made)
            group["indptr"] = rows.indptr.astype(np.int64)
            features = group.create_group("features")
            features["id"] = np.array([f"ENSG{i:05d}" for i in range(self.genes)], dtype="S")
            features["name"] = np.array([f"GENE{i}" for i in range(self.genes)], dtype="S")
            features["feature_type"] = np.full(self.genes, b"Gene Expression")

    def write_mtx(self, folder: Path, packed: bool) -> None:
        folder.mkdir()
        io.mmwrite(folder / "matrix.mtx", sparse.coo_matrix(self.counts.T))
        (folder / "barcodes.tsv").write_text("\n".join(self.barcodes) + "\n")
        lines = [f"ENSG{i:05d}\tGENE{i}\tGene Expression" for i in range(self.genes)]
        (folder / "features.tsv").write_text("\n".join(lines) + "\n")
        if packed:
            for path in list(folder.iterdir()):
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()


def write_positions(table: pd.DataFrame, path: Path) -> None:
    """Write positions; `_list` names carry no header, txt is tab-separated."""
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        separator = "\t" if path.name.endswith(".txt") else ","
        table.to_csv(path, index=False, header="_list" not in path.name, sep=separator)


def write_picture(path: Path, shape: tuple[int, int], seed: int = 0) -> None:
    """Write a coloured picture of the given height and width."""
    from PIL import Image

    row, column = np.mgrid[: shape[0], : shape[1]]
    colour = np.stack([row % 256, column % 256, (row + column + seed) % 256], axis=-1)
    Image.fromarray(colour.astype(np.uint8)).save(path)


def sentences(slide: Slide, level: str) -> str:
    return " ".join(check.sentence for check in slide.checks if check.level == level)


def assert_holds(slide: Slide, outs: Outs) -> None:
    np.testing.assert_array_equal(slide.counts.rows.toarray(), outs.counts)
    assert slide.barcodes.tolist() == outs.barcodes
    table = outs.table.set_index("barcode").loc[slide.barcodes]
    px = table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
    np.testing.assert_allclose(slide.coordinates_px, px, atol=1e-6)
    np.testing.assert_allclose(slide.scale.um_per_px, UM_PER_PX, rtol=1e-6)
    assert slide.lattice.kind == "hex"
    assert not sentences(slide, "problem")


def anndata_of(outs: Outs) -> object:
    import anndata

    table = outs.table.set_index("barcode")
    adata = anndata.AnnData(
        sparse.csr_matrix(outs.counts.astype(np.float32)),
        obs=table[["in_tissue", "array_row", "array_col"]],
        var=pd.DataFrame(
            {"gene_ids": [f"ENSG{i:05d}" for i in range(outs.genes)]},
            index=[f"GENE{i}" for i in range(outs.genes)],
        ),
        obsm={"spatial": table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()},
    )
    picture = np.zeros((60, 70, 3), dtype=np.float32)
    adata.uns["spatial"] = {"lib": {"images": {"hires": picture}, "scalefactors": outs.scales}}
    return adata
