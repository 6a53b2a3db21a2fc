"""Weighted means of logs over a few known locations: nearest, inverse distance, interpolation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.methods.baselines.smoothing import Values
from napari_stsr.methods.baselines.values import LogValues
from napari_stsr.methods.measured import Measured
from napari_stsr.results.expression import Floats32, LoggedExpression


@dataclass(frozen=True, eq=False)
class WeightedExpression:
    """Sums over locations with fixed weights: ``Σ_j weights[i, j] values[j, g]``.

    Parameters
    ----------
    weights : (m, n) CSR matrix
    values : Values
        (n, g).
    """

    weights: sparse.csr_matrix
    values: Values

    @property
    def shape(self) -> tuple[int, int]:
        """Places and genes."""
        return self.weights.shape[0], self.values.shape[1]

    def columns(self, genes: NDArray[np.int64]) -> Floats32:
        """Sums of the given gene columns."""
        return np.asarray(self.weights @ self.values.dense(genes), dtype=np.float32)

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> WeightedExpression:
        """Return some places."""
        return WeightedExpression(self.weights[targets], self.values)


def weighted_logs(weights: sparse.csr_matrix, measured: Measured) -> LoggedExpression:
    """Logs and depth of a slide's locations, weighted alike.

    Parameters
    ----------
    weights : (m, n) CSR matrix
        Rows sum to 1.
    measured : Measured
    """
    totals = measured.totals
    logs = LogValues(measured.counts, totals, np.ones(len(totals)))
    depth = np.maximum(weights @ totals, 0)
    return LoggedExpression(WeightedExpression(weights.astype(np.float32), logs), depth)
