"""One figure per gene or per location, with an account of those that have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stsr.errors import InputError

Floats = NDArray[np.float64]
# Values that differ by less than this share of their size are one value with rounding errors.
ROUNDING = 5e-6


@dataclass(frozen=True, eq=False)
class Figures:
    """One figure per gene (or location), nan where it is not defined.

    Parameters
    ----------
    values : (g,) float array
    constant_truth : (g,) bool array
        The truth does not vary (or nothing of it counts), so that nothing can be said.
    constant_prediction : (g,) bool array
        The truth varies and the prediction does not.
    noun : str
        What there is one figure of.
    """

    values: Floats
    constant_truth: NDArray[np.bool_]
    constant_prediction: NDArray[np.bool_]
    noun: str = "gene"

    def __len__(self) -> int:
        return len(self.values)

    @property
    def undefined(self) -> int:
        """How many figures are nan."""
        return int(np.isnan(self.values).sum())

    @property
    def counted(self) -> Floats:
        """Figures of all items whose truth varies; a constant prediction knows nothing and is 0.

        Leaving constant predictions out would reward a method for giving up on what is hard.
        """
        return np.where(self.constant_prediction, 0.0, self.values)[~self.constant_truth]

    @property
    def median(self) -> float:
        """Median of `counted`.

        Raises
        ------
        InputError
            When the truth is constant everywhere.
        """
        return float(np.median(self._some()))

    @property
    def mean(self) -> float:
        """Mean of `counted`; raises like `median`."""
        return float(np.mean(self._some()))

    def _some(self) -> Floats:
        counted = self.counted
        if not len(counted):
            raise InputError(
                f"The truth is constant in all of {len(self)} {self.noun}s, so there is nothing "
                "to compare.",
                f"Choose {self.noun}s that were seen, or more targets.",
            )
        return counted

    @property
    def notes(self) -> list[str]:
        """What is undefined, one sentence each."""
        named = (("truth", self.constant_truth), ("prediction", self.constant_prediction))
        return [
            f"The {what} is constant in {int(hit.sum())} of {len(self)} {self.noun}s."
            for what, hit in named
            if hit.any()
        ]

    @classmethod
    def joined(cls, blocks: Sequence[Figures]) -> Figures:
        """Figures of several blocks, in order."""
        return cls(
            np.concatenate([block.values for block in blocks]),
            np.concatenate([block.constant_truth for block in blocks]),
            np.concatenate([block.constant_prediction for block in blocks]),
            blocks[0].noun,
        )


def compared(
    truth: ArrayLike, predicted: ArrayLike, scored: ArrayLike | None = None
) -> tuple[Floats, Floats, NDArray[np.bool_] | None]:
    """Check a truth and a prediction, locations × genes, and return them as float64.

    Raises
    ------
    InputError
        When they differ in shape, hold no location, or hold values that are no finite numbers.
    """
    t, p = (np.asarray(values, dtype=np.float64) for values in (truth, predicted))
    if t.ndim != 2 or t.shape != p.shape:
        raise InputError(
            f"The truth is {' × '.join(map(str, t.shape))}, but the prediction is "
            f"{' × '.join(map(str, p.shape))}.",
            "Compare the same locations and the same genes.",
        )
    if not t.size:
        raise InputError(f"There is nothing to compare: {t.shape[0]} locations × {t.shape[1]}.")
    t, p = finite("truth", t), finite("prediction", p)
    mask = None if scored is None else np.asarray(scored, dtype=np.bool_)
    if mask is not None and mask.shape != t.shape:
        raise InputError(f"Entries that count are {mask.shape}, but the truth is {t.shape}.")
    return t, p, mask


def finite(what: str, values: ArrayLike) -> Floats:
    """Return values, locations × genes, as float64.

    Raises
    ------
    InputError
        When some are no finite numbers; `what` names them.
    """
    found = np.asarray(values, dtype=np.float64)
    lacking = ~np.isfinite(found)
    if lacking.any():
        genes = np.flatnonzero(lacking.any(axis=0))
        raise InputError(
            f"The {what} holds {int(lacking.sum())} values that are no numbers, in "
            f"{len(genes)} genes, the first in column {genes[0]}.",
            "Leave these targets out, or repair the method.",
        )
    return found


def constant(
    values: Floats, scored: NDArray[np.bool_] | None = None, axis: int = 0
) -> NDArray[np.bool_]:
    """Whether values vary by no more than rounding, along an axis; also where none counts."""
    if scored is None:
        low, high = values.min(axis=axis), values.max(axis=axis)
    else:
        low = np.where(scored, values, np.inf).min(axis=axis)
        high = np.where(scored, values, -np.inf).max(axis=axis)
    size = np.maximum(np.abs(low), np.abs(high))
    return np.asarray((high <= low) | (high - low <= ROUNDING * size))
