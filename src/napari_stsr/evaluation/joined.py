"""One gene over the targets of a task, measured and predicted, its folds put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stsr.evaluation.outcome import Map

# A gene seen in few places must not be drawn on the scale of its zeros.
_LOW, _HIGH, _HIGH_SEEN = 0.05, 0.99, 0.95
_LEAST = 1e-3


@dataclass(frozen=True, eq=False)
class JoinedMap:
    """Truth and prediction of one gene, as log1p(counts per 10,000).

    Attributes
    ----------
    coordinates : (m, 2) float array
        Centres (x, y) in µm.
    cell : (v, 2) float array
        Corners in µm of one target relative to its centre.
    truth, predicted : (m,) float32 array
    """

    coordinates: NDArray[np.float64]
    cell: NDArray[np.float64]
    truth: NDArray[np.float32]
    predicted: NDArray[np.float32]

    @classmethod
    def of(cls, maps: Sequence[Map], gene: str) -> JoinedMap | None:
        """Put the folds together where they are parts of one map; None where the gene is on none.

        Folds that ask the same places again are not mixed: the first that holds the gene counts.

        Parameters
        ----------
        maps : sequence of Map
            Of one task and method, one a fold.
        gene : str
            Id.
        """
        held = [one for one in maps if gene in one.genes]
        if not held:
            return None
        used = held if held[0].hidden else held[:1]
        columns = [one.genes.index(gene) for one in used]
        truth = [one.truth[:, at] for one, at in zip(used, columns, strict=True)]
        predicted = [one.predicted[:, at] for one, at in zip(used, columns, strict=True)]
        return cls(
            np.concatenate([one.coordinates for one in used]),
            used[0].cell,
            np.concatenate(truth).astype(np.float32),
            np.concatenate(predicted).astype(np.float32),
        )

    @property
    def error(self) -> NDArray[np.float32]:
        """Predicted minus measured."""
        return self.predicted - self.truth

    def limits(self) -> tuple[float, float]:
        """Values between which both maps are coloured: percentiles that they share.

        A gene that is everywhere uses all colours, instead of the upper few above zero.
        """
        both = np.concatenate([self.truth, self.predicted])
        seen = self.truth[self.truth > 0]
        often = float(np.quantile(seen, _HIGH_SEEN)) if len(seen) else _LEAST
        high = max(float(np.quantile(self.predicted, _HIGH)), often, _LEAST)
        low = max(0.0, float(np.quantile(both, _LOW)))
        return (low, high) if low < high else (0.0, high)

    def error_limits(self) -> tuple[float, float]:
        """Limits around zero as wide as the maps' range: an error of it is as large as the gene."""
        low, high = self.limits()
        return low - high, high - low
