"""Logs of a slide, and which locations are deep enough to have any."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.methods.baselines.values import LogValues
from napari_stsr.methods.measured import Measured

# Share of the median depth a location must have.
_SHALLOW = 0.05


def deep_enough(totals: NDArray[np.floating[Any]], share: float = _SHALLOW) -> NDArray[np.bool_]:
    """Locations that say something about their composition: a share of the median depth, (n,).

    Logs do not know how little a shallow location tells: the one molecule of a spot beside a
    median of 6,500 would be 10,000 per 10,000.
    """
    some = totals > 0
    typical = float(np.median(totals[some])) if some.any() else 0.0
    return np.asarray(some & (totals >= share * typical))


def measured_logs(measured: Measured) -> tuple[LogValues, NDArray[np.bool_]]:
    """Logs of a slide, zero where it is not deep enough, and where it is."""
    usable = deep_enough(measured.totals)
    return LogValues(measured.counts, measured.totals, usable.astype(np.float64)), usable
