"""AnnData h5ad: counts from X, raw or a layer, places from obsm, pictures from uns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.slides.checks import check_memory
from napari_stsr.slides.image import Pyramid, metadata_um_per_px, open_pyramid, pyramid_from_array
from napari_stsr.slides.readers.assemble import assemble, given, place
from napari_stsr.slides.readers.matrix import Matrix, read_compressed, smallest_dtype
from napari_stsr.slides.readers.positions import Positions
from napari_stsr.slides.readers.recognise import Layout
from napari_stsr.slides.scale import check_isotropy, choose_scale, fiducial_scale, lattice_scale
from napari_stsr.slides.slide import Check, PixelScale, Slide, SlideKind

_SYMBOLS = ("gene_symbols", "gene_symbol", "gene_name", "feature_name", "symbol", "gene_names")
_IDS = ("gene_ids", "gene_id", "ensembl_id", "feature_id")
_COUNT_LAYERS = ("counts", "raw_counts", "count")


def open_h5ad(layout: Layout, path: Path, image: Path | None, um_per_px: float | None) -> Slide:
    """Open an AnnData file with ``obsm["spatial"]``."""
    import h5py

    file = layout.folder
    try:
        with h5py.File(file, "r") as content:
            return _open(content, layout.name, file, path, image, um_per_px)
    except (OSError, KeyError) as error:
        raise InputError(
            f"The AnnData file {str(file)!r} cannot be read: {error}.",
            "The file is incomplete or damaged; copy or download it again.",
        ) from None


def _open(
    content: Any, name: str, file: Path, path: Path, image: Path | None, um_per_px: float | None
) -> Slide:
    from anndata.io import read_elem

    if "napari_stsr" in content.get("uns", {}):
        raise InputError(
            f"{str(file)!r} holds predicted expression, not a measured slide.",
            "Open it as a result beside its slide.",
        )
    if "obsm" not in content or "spatial" not in content["obsm"]:
        raise InputError(
            f"The AnnData file {str(file)!r} has no obsm['spatial'].",
            "Store the centres (x, y) there, in full-resolution pixels.",
        )
    obs = read_elem(content["obs"])
    spatial = np.asarray(read_elem(content["obsm/spatial"]), dtype=np.float64)[:, :2]
    library = _library(content)
    positions = _positions(obs, spatial)
    matrix, findings = _matrix(content, obs)
    placed = place(matrix, positions, "spot")
    kind, scale, found = _scale(library["scalefactors"], positions, um_per_px, image)
    if image is not None:
        picture: Pyramid | None = open_pyramid(image, scale.um_per_px)
    else:
        picture = _picture(library, scale.um_per_px, file)
    extra = [column for column in obs.columns if column not in ("array_row", "array_col")]
    return assemble(
        name,
        kind,
        placed,
        scale,
        picture,
        counted=[file],
        files=[image] if image else [],
        path=path,
        findings=[*findings, *found],
        image_given=image is not None,
        bin_um=given(library["scalefactors"], "bin_size_um"),
        annotations=obs[extra].iloc[placed.rows].reset_index(drop=True),
    )


def _library(content: Any) -> dict[str, dict[str, Any]]:
    """Scale factors and stored pictures of the only library, or none."""
    from anndata.io import read_elem

    libraries = content["uns/spatial"] if "spatial" in content.get("uns", {}) else {}
    names = [n for n in libraries if hasattr(libraries[n], "keys")]
    if len(names) > 1:
        raise InputError(
            f"The AnnData file holds {len(names)} slides: {', '.join(names)}.",
            "Save every slide as its own file.",
        )
    library = libraries[names[0]] if names else {}
    factors = read_elem(library["scalefactors"]) if "scalefactors" in library else {}
    images = library.get("images", {})
    plain = {key: float(value) for key, value in factors.items() if np.ndim(value) == 0}
    return {"scalefactors": plain, "images": {key: images[key][()] for key in images}}


def _picture(library: dict[str, dict[str, Any]], um_per_px: float, file: Path) -> Pyramid | None:
    for name in ("hires", "lowres"):
        factor = given(library["scalefactors"], f"tissue_{name}_scalef")
        if name in library["images"] and factor is not None:
            picture = library["images"][name]
            return pyramid_from_array(
                picture, um_per_px / factor, str(file), full_resolution=factor > 0.999
            )
    return None


def _positions(obs: pd.DataFrame, spatial: NDArray[np.float64]) -> Positions:
    import pyarrow as pa

    array = None
    if {"array_row", "array_col"} <= set(obs.columns):
        places = obs[["array_col", "array_row"]].to_numpy(dtype=np.float64)
        array = places.astype(np.int64) if np.isfinite(places).all() else None
    inside = np.ones(len(obs), dtype=np.bool_)
    if "in_tissue" in obs:
        inside = obs["in_tissue"].astype(float).to_numpy() == 1
    names = obs.index.astype(str)
    if names.has_duplicates:
        raise InputError("The names of the observations repeat.", "Call obs_names_make_unique().")
    return Positions(pa.array(names.to_numpy()), inside, array, spatial)


def _scale(
    scalefactors: dict[str, Any],
    positions: Positions,
    um_per_px: float | None,
    image: Path | None,
) -> tuple[SlideKind, PixelScale, list[Check]]:
    """Platform and size of a pixel; without any scale the coordinates are taken as µm."""
    sources = {
        "user": um_per_px,
        "microns_per_pixel": given(scalefactors, "microns_per_pixel"),
        "fiducial diameter": fiducial_scale(scalefactors),
        "image metadata": None if image is None else metadata_um_per_px(image),
    }
    kind: SlideKind = "anndata"
    findings = []
    if given(scalefactors, "bin_size_um") is not None:
        kind = "visium-hd"
        sources["fiducial diameter"] = None
    elif positions.array is not None:
        array = lattice_scale(positions.array, positions.px)
        if array is not None:
            kind = "visium" if array[2] == "hex" else "st"
            sources["spot lattice"] = array[0]
            findings = check_isotropy(array[1])
            if kind == "st":
                sources["fiducial diameter"] = None
    if all(size is None for size in sources.values()):
        scale = PixelScale(1.0, "coordinates in µm")
        sentence = "No scale is stored: the coordinates are taken as µm."
        return kind, scale, [Check("notice", sentence, "Give the size of a pixel if they are px.")]
    scale, found = choose_scale(sources)
    return kind, scale, [*found, *findings]


def _matrix(content: Any, obs: pd.DataFrame) -> tuple[Matrix, list[Check]]:
    """Counts from X, or from where the raw counts were kept when X is normalised."""
    from anndata.io import read_elem

    places = ["X"]
    places += [f"layers/{n}" for n in _COUNT_LAYERS if n in content.get("layers", {})]
    places += ["raw/X"] if "raw" in content and "X" in content["raw"] else []
    places = [at for at in places if at in content]
    if not places:
        raise InputError("The AnnData file has neither X nor counts.", "Store the counts in X.")
    at = next((p for p in places if _whole(content[p])), places[0])
    genes = read_elem(content["raw/var" if at == "raw/X" else "var"])
    stored = content[at]["data"].shape[0] if hasattr(content[at], "keys") else content[at].size
    memory = check_memory(len(obs), int(stored))
    rows = _rows(content[at], (len(obs), len(genes)), content.filename)
    ids = symbols = genes.index.astype(str).to_numpy(dtype=np.str_)
    for names in (n for n in _IDS if n in genes):
        ids = genes[names].astype(str).to_numpy(dtype=np.str_)
        break
    for names in (n for n in _SYMBOLS if n in genes):
        symbols = genes[names].astype(str).to_numpy(dtype=np.str_)
        break
    findings = memory
    if at != "X":
        findings = [*memory, Check("notice", f"X is normalised; the counts are read from {at!r}.")]
    barcodes = np.char.encode(obs.index.astype(str).to_numpy(dtype=np.str_), "utf-8")
    return Matrix(rows, barcodes, ids, symbols, {}), findings


def _whole(group: Any) -> bool:
    """Whether the first values are whole numbers ≥ 0, enough to tell counts from the rest."""
    sparse_ = hasattr(group, "keys")
    values = group["data"][:1_000_000] if sparse_ else group[:1000]
    return smallest_dtype(values).kind == "u" or (
        values.dtype.kind in "iuf" and values.size > 0 and smallest_dtype(values).kind == "i"
        and values.min() >= 0
    )  # fmt: skip


def _rows(group: Any, shape: tuple[int, int], name: str) -> sparse.csr_matrix:
    """Counts by rows from a sparse or dense group."""
    if not hasattr(group, "keys"):
        pieces = [_squeezed(group[start : start + 1000]) for start in range(0, shape[0], 1000)]
        return sparse.vstack(pieces, format="csr")
    kind = group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", "csr"))
    if "csc" in str(kind):
        return read_compressed(group, shape[::-1], name).T.tocsr()
    return read_compressed(group, shape, name)


def _squeezed(values: NDArray[Any]) -> sparse.csr_matrix:
    return sparse.csr_matrix(values.astype(smallest_dtype(values)))
