"""Find the files of a slide in a folder, whatever Space Ranger or a download called them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_stsr.errors import InputError
from napari_stsr.slides.readers.legacy import is_legacy
from napari_stsr.slides.readers.matrix import is_10x_h5

_SQUARE = re.compile(r"square_(\d{3})um$")


def _named(ending: str) -> re.Pattern[str]:
    """Match a file by the end of its name; downloads put the name of the data set before it."""
    return re.compile(rf"(?P<prefix>.*[_.])?{ending}$")


_POSITIONS = _named(r"tissue_positions(?:_list)?\.(?:csv|txt|tsv|parquet)(?:\.gz)?")
_SCALES = _named(r"scalefactors_json\.json(?:\.gz)?")
_MARKET = _named(r"matrix\.mtx(?:\.gz)?")
_PICTURES = {
    "hires": _named(r"tissue_hires_image\.(?:png|jpe?g|tiff?)"),
    "lowres": _named(r"tissue_lowres_image\.(?:png|jpe?g|tiff?)"),
    "CytAssist": _named(r"cytassist_image\.tiff?"),
    "aligned": _named(r"aligned_tissue_image\.jpe?g"),
    "detected": _named(r"detected_tissue_image\.jpe?g"),
}
_MATRICES = ("filtered_feature_bc_matrix", "raw_feature_bc_matrix")
_PLAIN_NAMES = {"outs", "binned_outputs", "spatial", "spaceranger_like", "original", *_MATRICES}
_EXPECTED = (
    "A slide is Space Ranger's outs, an h5ad with obsm['spatial'], or the tables of Spatial "
    "Transcriptomics."
)


@dataclass(frozen=True)
class Layout:
    """The files of one slide.

    Attributes
    ----------
    format : {"10x", "h5ad", "legacy"}
    folder : Path
        Where they are; for h5ad the file itself.
    bin_um : float, optional
        Side of a bin, Visium HD only.
    bins : dict
        Folder of every bin size there is, Visium HD only.
    """

    format: Literal["10x", "h5ad", "legacy"]
    folder: Path
    matrix: Path | None = None
    positions: Path | None = None
    scalefactors: Path | None = None
    pictures: tuple[tuple[str, Path], ...] = ()
    bin_um: float | None = None
    bins: tuple[tuple[float, Path], ...] = ()

    @property
    def name(self) -> str:
        """Name of the data set: the nearest folder that has a name of its own."""
        if self.format == "h5ad":
            return self.folder.stem
        for folder in (self.folder, *self.folder.parents):
            plain = folder.name in _PLAIN_NAMES or _SQUARE.search(folder.name)
            if folder.name and not plain:
                return folder.name
        return "slide"


def is_slide(path: str | Path) -> bool:
    """Whether a path looks like a slide; cheap, never raises, reads at most a few headers."""
    try:
        recognise(Path(path))
    except (InputError, OSError):
        return False
    return True


def recognise(path: Path, bin_um: float | None = None) -> Layout:
    """Find the slide that a folder or file belongs to.

    Raises
    ------
    InputError
        When there is none, there are several, or a part of it is missing.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no file or folder {str(path)!r}.", "Check the path.")
    try:
        layout = _of_file(path, bin_um) if path.is_file() else _of_tree(path, bin_um)
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error}.") from None
    if bin_um is not None and bin_um not in dict(layout.bins):
        sizes = ", ".join(f"{size:g}" for size, _ in layout.bins)
        raise InputError(
            f"There are no bins of {bin_um:g} µm in {str(path)!r}.",
            f"There are {sizes} µm." if sizes else "Only Visium HD has bins.",
        )
    return layout


def _of_tree(path: Path, bin_um: float | None) -> Layout:
    """Return the slide in a folder, or the only one in the folders inside it."""
    layout = _of_folder(path, bin_um)
    if layout is not None:
        return layout
    inner: dict[str, Layout] = {}
    broken: list[InputError] = []
    for folder in _folders(path):
        try:
            found = _of_folder(folder, bin_um)
        except InputError as error:
            broken.append(error)
        else:
            inner |= {folder.name: found} if found is not None else {}
    if len(inner) == 1:
        return next(iter(inner.values()))
    if inner:
        names = ", ".join(map(repr, inner))
        raise InputError(f"{str(path)!r} holds {len(inner)} slides: {names}.", "Choose one.")
    if broken:
        raise broken[0]
    raise InputError(f"{str(path)!r} is no slide{_reason(path)}.", _EXPECTED)


def _reason(path: Path) -> str:
    """Say what a folder lacks to be a slide."""
    names = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    if not names:
        return ": the folder is empty"
    if any(name.endswith(("spatial.tar.gz", "matrix.tar.gz")) for name in names):
        return ": unpack its .tar.gz files first"
    shown = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
    return f": it holds no count matrix (it holds {shown})"


def _of_file(path: Path, bin_um: float | None) -> Layout:
    if path.suffix == ".h5ad":
        return Layout("h5ad", path)
    folder = path.parent
    inner = folder.name in (*_MATRICES, "spatial") or folder.name.endswith(_MATRICES)
    base = folder.parent if inner else folder
    if path.suffix == ".h5" and is_10x_h5(path):
        return _spaceranger(base, path, bin_um)
    if _MARKET.match(path.name):
        return _spaceranger(base, folder if inner else path, bin_um)
    layout = _of_folder(base, bin_um) if inner or path.suffix in (".tsv", ".gz") else None
    if layout is None:
        raise InputError(f"{str(path)!r} is no slide.", _EXPECTED)
    return layout


def _of_folder(folder: Path, bin_um: float | None) -> Layout | None:
    """Return the slide in a folder itself, or None."""
    for inner in ("binned_outputs", "outs/binned_outputs"):
        if _bins(folder / inner):
            return _chosen_bin(_bins(folder / inner), bin_um)
    if _bins(folder):
        return _chosen_bin(_bins(folder), bin_um)
    if folder.name in _MATRICES and any(_MARKET.match(p.name) for p in folder.iterdir()):
        return _spaceranger(folder.parent, folder, bin_um)
    if folder.name == "spatial" and _one(folder, _POSITIONS):
        return _of_folder(folder.parent, bin_um)
    matrix = bin_matrix(folder)
    if matrix is not None:
        return _spaceranger(folder, matrix, bin_um)
    if (folder / "outs").is_dir():
        return _of_folder(folder / "outs", bin_um)
    tables = [p for p in folder.iterdir() if p.suffix == ".h5ad"]
    if len(tables) == 1:
        return Layout("h5ad", tables[0])
    return Layout("legacy", folder) if is_legacy(folder) else None


def _bins(folder: Path) -> tuple[tuple[float, Path], ...]:
    """Bin sizes in a folder, smallest first."""
    if not folder.is_dir():
        return ()
    sizes = [(_SQUARE.search(inner.name), inner) for inner in _folders(folder)]
    return tuple(sorted((float(match[1]), inner) for match, inner in sizes if match))


def _chosen_bin(bins: tuple[tuple[float, Path], ...], bin_um: float | None) -> Layout:
    """Take the size asked for (`recognise` tells when there is none), or that closest to 8 µm."""
    size, folder = min(bins, key=lambda b: abs(b[0] - (bin_um if bin_um is not None else 8.0)))
    matrix = bin_matrix(folder)
    if matrix is None:
        raise InputError(f"The folder {str(folder)!r} holds no count matrix.", "Download it again.")
    found = _spaceranger(folder, matrix, size)
    return Layout(
        "10x", folder, found.matrix, found.positions, found.scalefactors, found.pictures, size, bins
    )


def bin_matrix(folder: Path) -> Path | None:
    """Filtered before raw, h5 before mtx, and last any h5 that holds a matrix."""
    for name in _MATRICES:
        table = _one(folder, _named(rf"{name}\.h5"))
        if table is not None:
            return table
        for inner in _folders(folder):
            if inner.name.endswith(name) and any(_MARKET.match(p.name) for p in inner.iterdir()):
                return inner
    market = _one(folder, _MARKET)
    if market is not None:
        return market
    tables = [p for p in sorted(folder.glob("*.h5")) if is_10x_h5(p)]
    tables = [p for p in tables if "probe" not in p.name and "molecule" not in p.name]
    return tables[0] if len(tables) == 1 else None


def _spaceranger(folder: Path, matrix: Path, bin_um: float | None) -> Layout:
    """Gather what belongs to a matrix: positions, scale factors, pictures."""
    homes = [folder, *(p for p in _folders(folder) if p.name.endswith("spatial"))]
    size = _SQUARE.search(folder.name)
    if size:
        bin_um = float(size[1])
        homes += [folder.parent / "spatial", folder.parent.parent / "spatial"]
    homes = [home for home in homes if home.is_dir()]
    own = _prefix(matrix)
    positions = _first(homes, _POSITIONS, own)
    if positions is None:
        packed = any(p.name.endswith("spatial.tar.gz") for p in folder.iterdir())
        raise InputError(
            f"{str(folder)!r} has counts but no tissue_positions file.",
            "Unpack spatial.tar.gz first." if packed else "Put Space Ranger's spatial folder here.",
        )
    pictures = tuple(
        (name, found)
        for name, pattern in _PICTURES.items()
        if (found := _first(homes, pattern, own)) is not None
    )
    return Layout(
        "10x",
        folder,
        matrix,
        positions,
        _first(homes, _SCALES, own),
        pictures,
        bin_um if size else None,
        ((float(size[1]), folder),) if size else (),
    )


def _prefix(matrix: Path) -> str:
    """Return what a download put before the name of the matrix."""
    for name in (*_MATRICES, "matrix.mtx"):
        if name in matrix.name:
            return matrix.name.split(name)[0]
    return ""


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _first(homes: Sequence[Path], pattern: re.Pattern[str], prefix: str) -> Path | None:
    found = (_one(home, pattern, prefix) for home in homes)
    return next((path for path in found if path is not None), None)


def _one(folder: Path, pattern: re.Pattern[str], prefix: str = "") -> Path | None:
    """Return the file of a folder that matches: of the given prefix, else plain, else the only one.

    Raises
    ------
    InputError
        When several prefixed files match: several slides share the folder.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda p: (-len(p.name), p.name)):
        match = pattern.match(path.name)
        if match and path.is_file():
            found[match["prefix"] or ""] = path
    for wanted in (prefix, ""):
        if wanted in found:
            return found[wanted]
    if len(found) > 1:
        names = ", ".join(path.name for path in list(found.values())[:4])
        raise InputError(
            f"{str(folder)!r} holds several slides: {names}.",
            "Give the h5 file of one, or put every slide into its own folder.",
        )
    return next(iter(found.values()), None)
