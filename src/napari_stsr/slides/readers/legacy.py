"""Spatial Transcriptomics before Visium: a table of counts, a table of spots, a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.slides.image import metadata_um_per_px, open_pyramid
from napari_stsr.slides.readers.assemble import assemble, place
from napari_stsr.slides.readers.matrix import Matrix, open_text, smallest_dtype
from napari_stsr.slides.readers.positions import Positions
from napari_stsr.slides.scale import check_isotropy, choose_scale, lattice_scale
from napari_stsr.slides.slide import Check, Slide

_SPOT = re.compile(r'"?-?\d+(\.\d+)?x-?\d+(\.\d+)?"?$')
_TABLES = (".tsv", ".tsv.gz", ".txt", ".txt.gz")
_PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".btf", ".svs")


@dataclass(frozen=True)
class Tables:
    """The files of a section, told apart by their first two lines."""

    counts: Path | None = None
    spots: Path | None = None
    labels: Path | None = None
    names: Path | None = None


def tables(folder: Path) -> Tables:
    """Sort the tables of a folder by what they hold.

    Raises
    ------
    InputError
        When two tables claim the same part: several sections share the folder.
    """
    found: dict[str, Path] = {}
    for path in sorted(p for p in folder.iterdir() if p.name.endswith(_TABLES) and p.is_file()):
        part = _part(path)
        if part is None:
            continue
        if part in found:
            raise InputError(
                f"{str(folder)!r} holds two tables of {part}: {found[part].name}, {path.name}.",
                "Put every section into its own folder.",
            )
        found[part] = path
    return Tables(**found)


def _part(path: Path) -> str | None:
    try:
        with open_text(path) as stream:
            head = stream.readline().rstrip("\n").split("\t")
            line = stream.readline(1000).split("\t")
    except InputError:
        return None
    columns = set(head)
    if {"x", "y", "label"} <= columns:
        return "labels"
    if {"x", "y", "pixel_x", "pixel_y"} <= columns:
        return "spots"
    if {"gene_id", "gene_name"} <= columns:
        return "names"
    return "counts" if _SPOT.match(line[0]) and len(head) > 2 else None


def is_legacy(folder: Path) -> bool:
    """Whether a folder holds a table of counts and one of spots."""
    found = tables(folder)
    return found.counts is not None and found.spots is not None


def open_legacy(
    folder: Path, name: str, path: Path, image: Path | None, um_per_px: float | None
) -> Slide:
    """Open a section given as tables; a single picture beside them is the full-resolution one."""
    found = tables(folder)
    assert found.counts is not None
    assert found.spots is not None
    positions = _positions(found.spots)
    assert positions.array is not None
    matrix = _matrix(found.counts, found.names)
    placed = place(matrix, positions, "spot")
    pictures = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in _PICTURES]
    picture = image or (pictures[0] if len(pictures) == 1 else None)
    array = lattice_scale(positions.array, positions.px)
    scale, findings = choose_scale(
        {
            "user": um_per_px,
            "spot lattice": array[0] if array else None,
            "image metadata": metadata_um_per_px(picture) if picture else None,
        }
    )
    findings += check_isotropy(array[1]) if array else []
    if image is None and len(pictures) > 1:
        findings.append(Check("notice", f"{len(pictures)} pictures lie beside the tables.",
                              "Choose the one that shows this section."))  # fmt: skip
    annotations = None
    if found.labels is not None:
        annotations = _labels(found.labels, placed.matrix.barcodes)
    others = [p for p in (found.labels, found.names, picture) if p]
    return assemble(
        name,
        "st",
        placed,
        scale,
        open_pyramid(picture, scale.um_per_px) if picture else None,
        counted=[found.counts, found.spots],
        files=others,
        path=path,
        findings=findings,
        image_given=image is not None,
        annotations=annotations,
    )


def _read(path: Path) -> pd.DataFrame:
    with open_text(path) as stream:
        return pd.read_csv(stream, sep="\t")


def _spot_names(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.str_]:
    """Name "XxY" of array places; selection files may carry fractions."""
    return np.char.add(np.char.add(_whole(x).astype(np.str_), "x"), _whole(y).astype(np.str_))


def _whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(values).astype(np.int64)


def _positions(path: Path) -> Positions:
    import pyarrow as pa

    table = _read(path)
    try:
        x, y = (table[name].to_numpy(dtype=np.float64) for name in ("x", "y"))
        px = table[["pixel_x", "pixel_y"]].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise InputError(f"The table {str(path)!r} holds no numbers: {error}.") from None
    good = np.isfinite(x) & np.isfinite(y)
    x, y, px = x[good], y[good], px[good]
    chosen = np.ones(len(x), dtype=np.bool_)
    if "selected" in table:
        chosen = table["selected"].to_numpy()[good] == 1
    names = _spot_names(x, y)
    return Positions(pa.array(names), chosen, np.column_stack([_whole(x), _whole(y)]), px)


def _matrix(path: Path, names: Path | None) -> Matrix:
    with open_text(path) as stream:
        ids = np.array(stream.readline().rstrip("\n").split("\t"), dtype=np.str_)
    pieces: list[sparse.csr_matrix] = []
    spots: list[str] = []
    with open_text(path) as stream:
        # One section has about a thousand spots; chunks keep the dense part small.
        for table in pd.read_csv(stream, sep="\t", index_col=0, chunksize=200):
            if any(kind.kind not in "biuf" for kind in table.dtypes):
                raise InputError(f"The counts {str(path)!r} hold something other than numbers.")
            values = table.to_numpy()
            pieces.append(sparse.csr_matrix(values.astype(smallest_dtype(values))))
            spots += table.index.astype(str).tolist()
    rows = sparse.vstack(pieces, format="csr")
    # R writes headers without the empty first field.
    ids = ids[-rows.shape[1] :]
    place = np.array([spot.split("x") for spot in spots], dtype=np.float64)
    barcodes = _spot_names(place[:, 0], place[:, 1]).astype(np.bytes_)
    return Matrix(rows, barcodes, ids, _symbols(ids, names), {})


def _symbols(ids: NDArray[np.str_], path: Path | None) -> NDArray[np.str_]:
    if path is None:
        return ids
    table = _read(path).drop_duplicates("gene_id").set_index("gene_id")["gene_name"]
    return table.reindex(ids).fillna(pd.Series(ids, index=ids)).to_numpy(dtype=np.str_)


def _labels(path: Path, barcodes: NDArray[np.bytes_]) -> pd.DataFrame:
    """Labels of the spots, in the order of the counts; missing where there is none."""
    table = _read(path)
    names = _spot_names(table["x"].to_numpy(np.float64), table["y"].to_numpy(np.float64))
    labels = pd.Series(table["label"].astype(str).to_numpy(), index=names)
    labels = labels[~labels.index.duplicated()]
    return pd.DataFrame({"label": labels.reindex(np.char.decode(barcodes)).to_numpy()})
