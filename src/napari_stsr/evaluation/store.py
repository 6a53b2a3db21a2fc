"""A folder of finished units: each complete or absent, so that a stopped run goes on from it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from napari_stsr.errors import InputError
from napari_stsr.evaluation.outcome import Outcome
from napari_stsr.evaluation.plan import Unit
from napari_stsr.files import check_writable, written_aside


class Store:
    """Outcomes on disk, one folder a unit, found by its fingerprint.

    Parameters
    ----------
    folder : path
        Made if it is not there. Slides and plans may share it.

    Raises
    ------
    InputError
        When it is a file.
    RunError
        When it cannot be written to.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if self.folder.is_file():
            raise InputError(f"{str(folder)!r} is a file.", "Name a folder for the results.")
        check_writable(self.folder)

    def find(self, unit: Unit, fingerprint: str) -> Outcome | None:
        """Return the outcome of a unit, None where there is none that can be read."""
        place = self._place(unit, fingerprint)
        try:
            text = (place / "outcome.json").read_text(encoding="utf-8")
            # numpy leaves a file open that it cannot read.
            with (place / "maps.npz").open("rb") as file, np.load(file) as arrays:
                return Outcome.from_json(text, dict(arrays))
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None

    def keep(self, unit: Unit, fingerprint: str, outcome: Outcome) -> None:
        """Write an outcome; a failed one is not kept, the next run tries it again."""
        if outcome.state == "failed":
            return
        with written_aside(self._place(unit, fingerprint)) as aside:
            aside.mkdir()
            (aside / "outcome.json").write_text(outcome.to_json(), encoding="utf-8")
            (aside / "maps.npz").write_bytes(outcome.to_bytes())

    def describe(self, plan: dict[str, object]) -> None:
        """Write beside the results what they belong to, for people."""
        with written_aside(self.folder / "plan.json") as aside:
            aside.write_text(json.dumps(plan, indent=2, ensure_ascii=False), encoding="utf-8")

    def _place(self, unit: Unit, fingerprint: str) -> Path:
        key = "".join(c if c.isalnum() or c in "-_" else "-" for c in unit.contender.key)
        return self.folder / f"{unit.protocol}-{unit.fold}-{key}-{fingerprint}"
