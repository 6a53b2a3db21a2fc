"""Checkpoints: one file a stage, written aside and renamed, tied to the run they belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr import __version__
from napari_stsr.errors import InputError
from napari_stsr.files import written_aside
from napari_stsr.slides import Slide
from napari_stsr.training.device import resolve_device
from napari_stsr.training.progress import Run


def identity(
    method: str, slide: Slide, genes: NDArray[np.int64], params: Mapping[str, Any], run: Run
) -> str:
    """Fingerprint of everything that decides the weights of a fit.

    Parameters
    ----------
    method : str
        Two methods may share a folder's file names.
    slide : Slide
    genes : int array
        Columns the networks learn from; what is decoded after them may differ.
    params : mapping
        As `Params.as_dict` gives them.
    run : Run
    """
    rows = slide.counts.rows
    parts = {
        "method": method,
        "counts": [_digest(part) for part in (rows.data, rows.indices, rows.indptr)],
        "places": _digest(slide.coordinates),
        "genes": _digest(genes),
        "params": dict(params),
        # Any card of a kind gives the same weights.
        "run": {**run.described(), "device": resolve_device(run.device).split(":")[0]},
        "version": __version__,
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digest(array: NDArray[Any]) -> str:
    """Fingerprint of the content of an array, a second per gigabyte or so."""
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=8).hexdigest()


class Checkpoints:
    """Checkpoints of one run.

    Parameters
    ----------
    folder : Path or None
        Without a folder nothing is written and nothing is found.
    run_identity : str
        See `identity`.
    """

    def __init__(self, folder: Path | None, run_identity: str) -> None:
        self.folder, self.run_identity = folder, run_identity

    def _path(self, stage: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{stage}.pt"

    def load(self, stage: str) -> dict[str, Any] | None:
        """State a stage left behind, or None.

        Raises
        ------
        InputError
            When the folder holds the checkpoint of another run, or a file that is none.
        """
        import torch

        path = self._path(stage)
        if path is None or not path.is_file():
            return None
        try:
            held = torch.load(path, map_location="cpu", weights_only=True)
            owner, state = held["identity"], held["state"]
        except Exception as error:
            raise InputError(
                f"The checkpoint {str(path)!r} is damaged.", "Remove it to start anew."
            ) from error
        if owner != self.run_identity:
            raise InputError(
                f"The checkpoints in {str(self.folder)!r} belong to another run: slide, genes, "
                "parameters, seed, device or versions differ.",
                "Choose another folder, or repeat that run's settings.",
            )
        loaded: dict[str, Any] = state
        return loaded

    def save(self, stage: str, state: Mapping[str, Any]) -> None:
        """Write the state of a stage, complete or not at all."""
        import torch

        path = self._path(stage)
        if path is not None:
            with written_aside(path) as aside:
                torch.save({"identity": self.run_identity, "state": dict(state)}, aside)
