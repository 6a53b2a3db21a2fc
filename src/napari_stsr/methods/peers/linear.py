"""Expression that is linear in a few hidden values of every target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stsr.results.expression import Floats32


@dataclass(frozen=True, eq=False)
class LinearExpression:
    """``value[i, g] = max(hidden[i] · weight[:, g] + bias[g], 0)``, gene by gene.

    Parameters
    ----------
    hidden : (m, d) float32 array
    weight : (d, g) float32 array
    bias : (g,) float32 array
    """

    hidden: Floats32
    weight: Floats32
    bias: Floats32

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return len(self.hidden), len(self.bias)

    def columns(self, genes: NDArray[np.int64]) -> Floats32:
        """Values of the given gene columns."""
        return np.asarray(np.maximum(self.hidden @ self.weight[:, genes] + self.bias[genes], 0))

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> LinearExpression:
        """Return some targets."""
        return LinearExpression(self.hidden[targets], self.weight, self.bias)
