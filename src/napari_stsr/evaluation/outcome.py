"""What became of one unit of work: its scores and maps, or why there are none."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_stsr.evaluation.scores import Scores

State = Literal["done", "not applicable", "failed"]
_ARRAYS = ("coordinates", "cell", "truth", "predicted")


@dataclass(frozen=True, eq=False)
class Map:
    """Truth and prediction of some genes at the targets of one task, as log1p(counts per 10,000).

    Parameters
    ----------
    task : str
        What the task is reported under.
    fold : int
    hidden : bool
        Whole locations were hidden, so that the folds' maps are parts of one map.
    coordinates : (m, 2) float array
        Centres of the targets in µm.
    cell : (v, 2) float array
        Corners in µm of one target's cell relative to its centre.
    genes : tuple of str
        Ids.
    truth, predicted : (m, g) float16 array
    """

    task: str
    fold: int
    hidden: bool
    coordinates: NDArray[np.float64]
    cell: NDArray[np.float64]
    genes: tuple[str, ...]
    truth: NDArray[np.float16]
    predicted: NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one method on one fold of one protocol.

    Parameters
    ----------
    protocol : str
    fold : int
    contender : str
        Its key in the plan.
    state : {"done", "not applicable", "failed"}
    words : str
        Why there are no scores.
    scores : tuple of Scores
        One a task of the fold.
    maps : tuple of Map
    seconds : mapping
        Wall-clock seconds of ``"fit"``, ``"predict"`` and ``"score"``.
    refused : mapping
        Tasks of the fold that are not for this method → why.
    """

    protocol: str
    fold: int
    contender: str
    state: State
    words: str = ""
    scores: tuple[Scores, ...] = ()
    maps: tuple[Map, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def spent(self) -> float:
        """Seconds from the start to the scores."""
        return sum(self.seconds.values())

    def to_json(self) -> str:
        """Return all but the maps' arrays as JSON."""
        content: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("protocol", "fold", "contender", "state", "words")
        }
        content |= {"seconds": dict(self.seconds), "refused": dict(self.refused)}
        content["scores"] = [json.loads(scores.to_json()) for scores in self.scores]
        content["maps"] = [
            {"task": one.task, "fold": one.fold, "hidden": one.hidden, "genes": list(one.genes)}
            for one in self.maps
        ]
        return json.dumps(content, allow_nan=False)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays of all maps by name."""
        return {
            f"{number}_{name}": getattr(one, name)
            for number, one in enumerate(self.maps)
            for name in _ARRAYS
        }

    @classmethod
    def from_json(cls, text: str, arrays: Mapping[str, NDArray[Any]]) -> Outcome:
        """Read what `to_json` and `arrays` gave."""
        content = json.loads(text)
        scores = [Scores.from_json(json.dumps(one)) for one in content.pop("scores")]
        maps = []
        for number, one in enumerate(content.pop("maps")):
            held: dict[str, Any] = {name: arrays[f"{number}_{name}"] for name in _ARRAYS}
            maps.append(Map(**{**one, **held, "genes": tuple(one["genes"])}))
        return cls(**content, scores=tuple(scores), maps=tuple(maps))

    def to_bytes(self) -> bytes:
        """Return the maps' arrays as a compressed npz file."""
        held = io.BytesIO()
        np.savez_compressed(held, **self.arrays())  # type: ignore[arg-type]
        return held.getvalue()
