"""Models as files: the method's own file, and beside it what tells whose it is. No code is run.

A model file is a zip archive, whatever the method:

- ``model.json``: format, layout, how it was fitted, the slide in numbers
- ``slide.npz``: genes it predicts; barcodes, places and totals of the locations it learned from
- ``fitted``: what `Fitted.save` wrote, for `Method.load`
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError, RunError, StsrError
from napari_stsr.files import written_aside
from napari_stsr.methods import Fitted, get_method, method_names
from napari_stsr.session.models import Model, fit_words
from napari_stsr.slides import Counts, Genes, Lattice, PixelScale, Slide, Source

SUFFIX = ".stsr"
_FORMAT, _LAYOUT = "napari-stsr model", 1
_ABOUT, _SLIDE, _FITTED = "model.json", "slide.npz", "fitted"
# More than any record of a fit: what claims to be larger is no model.
_MOST_ABOUT = 50_000_000


@dataclass(frozen=True)
class Card:
    """What a model file tells without being loaded.

    Parameters
    ----------
    path : Path
    fit : dict
        How it was fitted; see `Model`.
    about : dict
        Everything told.
    """

    path: Path
    fit: dict[str, Any]
    about: dict[str, Any]


def save_model(model: Model, path: str | Path) -> None:
    """Write a model, complete or not at all.

    Parameters
    ----------
    model : Model
        From `fit`, or of a run in the window.
    path : path
        Usually ends in ``.stsr``.

    Raises
    ------
    InputError
        When a folder is in the way.
    RunError
        When the place cannot be written or the disk is full.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder.", "Name a file for the model.")
    with (
        written_aside(path) as aside,
        tempfile.TemporaryDirectory(prefix="napari-stsr-") as folder,
        zipfile.ZipFile(aside, "w") as archive,
    ):
        archive.writestr(_ABOUT, json.dumps(_about(model), indent=1))
        with archive.open(_SLIDE, "w", force_zip64=True) as file:
            np.savez(file, allow_pickle=False, **_arrays(model))
        inner = Path(folder) / _FITTED
        model.fitted.save(inner)
        archive.write(inner, _FITTED)


def read_card(path: str | Path) -> Card:
    """Read what a model file tells of itself, without loading it.

    Raises
    ------
    InputError
        When there is no such file, or it is no model, or one of another version.
    """
    with _opened(Path(path)) as archive:
        return _card(Path(path), archive)


def load_model(path: str | Path) -> Model:
    """Read a model; the method is found from the file.

    Parameters
    ----------
    path : path
        Written by `save_model`.

    Returns
    -------
    Model
        Predicts the same numbers as the one that was saved.

    Raises
    ------
    InputError
        When the file is missing, damaged, no model, of another version, or of a method that is
        not installed.
    """
    path = Path(path)
    with (
        _opened(path) as archive,
        tempfile.TemporaryDirectory(prefix="napari-stsr-") as folder,
    ):
        card = _card(path, archive)
        method = str(card.fit["method"])
        if method not in method_names():
            raise InputError(
                f"{str(path)!r} is a model of {method!r}, which is not installed.",
                f"Installed methods: {', '.join(method_names())}.",
            )
        with archive.open(_SLIDE) as file, np.load(file, allow_pickle=False) as arrays:
            slide, totals = _slide(card, dict(arrays))
        inner = Path(folder) / _FITTED
        with archive.open(_FITTED) as source, inner.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        fitted = _loaded(method, inner, path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    origin = {"file": path.name, "sha256": digest.hexdigest()}
    return Model(fitted, card.fit, slide, totals, None, origin)


def _loaded(method: str, inner: Path, path: Path) -> Fitted:
    try:
        return get_method(method).load(inner)
    except InputError as error:
        # The user knows the model's file, not the copy of its part.
        raise InputError(error.what.replace(str(inner), str(path)), error.remedy) from error
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        raise InputError(
            f"{str(path)!r} is damaged: {type(error).__name__}, {error}.",
            "Fit it again, or copy it again.",
        ) from error


def _about(model: Model) -> dict[str, Any]:
    slide, lattice = model.slide, model.slide.lattice
    return {
        "format": _FORMAT,
        "layout": _LAYOUT,
        "fit": dict(model.fit),
        "slide": {
            "name": slide.name,
            "kind": slide.kind,
            "diameter_um": slide.diameter_um,
            "scale": [slide.scale.um_per_px, slide.scale.source],
            "lattice": [lattice.kind, lattice.pitch_um, lattice.residual],
            "source": [slide.source.path, slide.source.hashes],
        },
    }


def _arrays(model: Model) -> dict[str, NDArray[Any]]:
    slide, lattice = model.slide, model.slide.lattice
    return {
        "gene_ids": slide.genes.ids.astype(np.str_),
        "gene_symbols": slide.genes.symbols.astype(np.str_),
        "barcodes": slide.barcodes.astype(np.str_),
        "coordinates": slide.coordinates,
        "in_tissue": slide.in_tissue,
        "totals": model.totals,
        "sites": lattice.sites,
        "origin": lattice.origin,
        "basis": lattice.basis,
    }


def _slide(card: Card, arrays: dict[str, NDArray[Any]]) -> tuple[Slide, NDArray[np.float64]]:
    told = card.about["slide"]
    genes = Genes(arrays["gene_ids"], arrays["gene_symbols"])
    kind, pitch, residual = told["lattice"]
    places = arrays["coordinates"]
    slide = Slide(
        told["name"],
        told["kind"],
        Counts(sparse.csr_matrix((len(places), len(genes)), dtype=np.float32)),
        genes,
        places,
        arrays["barcodes"],
        Lattice(kind, pitch, arrays["sites"], arrays["origin"], arrays["basis"], residual),
        told["diameter_um"],
        PixelScale(*told["scale"]),
        arrays["in_tissue"],
        source=Source(*told["source"]),
    )
    return slide, arrays["totals"]


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a model file; whatever is wrong with it becomes an `InputError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (StsrError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(f"There is no model {str(path)!r}.") from None
    except IsADirectoryError:
        raise InputError(f"{str(path)!r} is a folder.", "Name a model file in it.") from None
    except PermissionError as error:
        raise RunError(f"The model {str(path)!r} cannot be read: {error.strerror}.") from error
    except Exception as error:  # a damaged or foreign file fails in as many ways as there are
        raise InputError(
            f"{str(path)!r} is no model, or a damaged one: {type(error).__name__}: {error}.",
            "Name a file that was saved from here, and that is complete.",
        ) from error


def _card(path: Path, archive: zipfile.ZipFile) -> Card:
    if archive.getinfo(_ABOUT).file_size > _MOST_ABOUT:
        raise InputError(f"{str(path)!r} is no model: what it tells of itself is too long.")
    about = json.loads(archive.read(_ABOUT))
    if about["format"] != _FORMAT:
        raise InputError(f"{str(path)!r} is no model but {about['format']!r}.")
    if about["layout"] != _LAYOUT:
        raise InputError(
            f"{str(path)!r} is a model of layout {about['layout']}; this version reads layout "
            f"{_LAYOUT}.",
            "Fit it again, or use the version that wrote it.",
        )
    fit = about["fit"]
    # Whoever shows it relies on these.
    _ = fit_words(fit), fit["made"], fit["params"], fit["slide"]["lattice"], fit["run"]["seed"]
    return Card(path, fit, about)
