"""How many molecules a location would hold: totals, smoothed with a bandwidth of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from napari_stsr.methods.baselines.bandwidth import LeftOut, best_bandwidths
from napari_stsr.methods.baselines.smoothing import SmoothedExpression, Smoother
from napari_stsr.methods.baselines.values import ArrayValues, Floats
from napari_stsr.results.expression import Floats32

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
# Mass of the prior, in locations.
_PRIOR = 0.01


def depth_bandwidth(
    left_out: LeftOut, totals: Floats, checked: Callable[[], None] = lambda: None
) -> float:
    """Bandwidth in µm at which left-out totals are predicted best, infinite for their mean.

    The error is that of square roots: totals scatter in proportion to their size, and a few
    very deep locations would decide otherwise.
    """

    def loss(locations: Ints, own: Floats32, rate: Floats32) -> Floats:
        return np.asarray(((np.sqrt(own) - np.sqrt(rate)) ** 2).sum(axis=0), dtype=np.float64)

    values = ArrayValues(totals[:, None].astype(np.float32))
    mass = np.ones(len(totals), dtype=np.float32)
    mean = np.array([totals.mean()])
    choosing = best_bandwidths(left_out, values, mass, mean, _PRIOR, loss)
    while True:
        checked()
        try:
            next(choosing)
        except StopIteration as end:
            return float(end.value[0])


def smooth_depth(smoother: Smoother, totals: Floats, bandwidth: float) -> Floats32:
    """Expected total of a whole location at every place, (m,)."""
    values = ArrayValues(totals[:, None].astype(np.float32))
    mean = np.array([totals.mean()])
    depth = SmoothedExpression(
        smoother, values, np.ones(len(totals)), np.array([bandwidth]), mean, _PRIOR
    )
    return np.asarray(depth.columns(np.zeros(1, dtype=np.int64))[:, 0])
