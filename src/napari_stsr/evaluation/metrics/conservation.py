"""Whether the parts of a location add up to what was measured there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from napari_stsr.errors import InputError


@dataclass(frozen=True)
class ConservationError:
    """Largest and mean ``|Σ parts − measured| / max(measured, 1)``, and what was compared."""

    largest: float
    mean: float
    entries: int

    def __add__(self, other: ConservationError) -> ConservationError:
        entries = self.entries + other.entries
        mean = (self.mean * self.entries + other.mean * other.entries) / entries
        return ConservationError(max(self.largest, other.largest), mean, entries)


def conservation_error(
    parts: ArrayLike, parent: NDArray[np.int64], measured: ArrayLike
) -> ConservationError:
    """Compare the sums of parts with what was measured, relative to it (to 1 where it was 0).

    Parameters
    ----------
    parts : (m, g) array
        Predicted counts; all parts of a location must be there.
    parent : (m,) int array
        Row of `measured` that each part divides, -1 for none.
    measured : (n, g) array
        Locations that own no part are not compared.

    Raises
    ------
    InputError
        When shapes do not fit or no target divides a location.
    """
    values, counts = np.asarray(parts, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    owned = np.asarray(parent) >= 0
    if values.shape[1:] != counts.shape[1:] or len(values) != len(owned):
        raise InputError(f"Parts are {values.shape}, what was measured is {counts.shape}.")
    if not owned.any():
        raise InputError("No target divides a measured location.", "Use subspots.")
    owners, group = np.unique(parent[owned], return_inverse=True)
    place = (group, np.flatnonzero(owned))
    members = sparse.csr_matrix((np.ones(len(group)), place), shape=(len(owners), len(owned)))
    sums = members @ values
    error = np.abs(sums - counts[owners]) / np.maximum(counts[owners], 1)
    return ConservationError(float(error.max()), float(error.mean()), error.size)
