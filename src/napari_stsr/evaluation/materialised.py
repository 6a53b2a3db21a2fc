"""Predicted expression computed once, where it fits into memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stsr.results import Expression
from napari_stsr.results.expression import (
    Floats32,
    LoggedExpression,
    Logs,
    ScaledExpression,
    StoredExpression,
)
from napari_stsr.training.progress import CancelToken

_MOST_VALUES = 50_000_000
_BLOCK_VALUES = 2_000_000


@dataclass(frozen=True, eq=False)
class StoredLogs(StoredExpression):
    """Stored counts of a method that predicts logs, and those logs.

    Parameters
    ----------
    values, log_values : (m, g) float32 array
    """

    log_values: Floats32

    @property
    def logs(self) -> Logs:
        """Predicted logs of given gene columns."""
        return lambda genes: np.asarray(self.log_values[:, genes])

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> StoredLogs:
        """Return some targets."""
        return StoredLogs(self.values[targets], self.log_values[targets])


def materialised(source: Expression, cancel: CancelToken) -> Expression:
    """Compute all values, if they are no more than 50 million; else return the lazy source.

    Where counts follow from logs, the logs are computed, and counts again when they are asked.
    """
    n, g = source.shape
    if n * g > _MOST_VALUES:
        return source
    if isinstance(source, LoggedExpression):
        return LoggedExpression(materialised(source.source, cancel), source.depth)
    if isinstance(source, ScaledExpression) and getattr(source, "logs", None) is not None:
        return ScaledExpression(materialised(source.whole, cancel), source.factor)
    width = max(1, _BLOCK_VALUES // max(1, n))
    predicts_logs = getattr(source, "logs", None) is not None
    counts = np.empty((n, g), dtype=np.float32)
    logs = np.empty((n, g) if predicts_logs else (0, 0), dtype=np.float32)
    for start in range(0, g, width):
        cancel.check()
        part = np.arange(start, min(start + width, g))
        counts[:, part] = source.columns(part)
        if predicts_logs:
            logs[:, part] = source.logs(part)  # type: ignore[attr-defined]
    return StoredLogs(counts, logs) if predicts_logs else StoredExpression(counts)
