"""Gene imputation: counts as measured, and predictions where zero was measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stsr.results.expression import Expression, Floats32
from napari_stsr.slides import Counts

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ImputedExpression:
    """Measured counts where they are above zero, expected counts where they are zero.

    Parameters
    ----------
    expected : Expression
        Expected counts at measured locations (m, g).
    measured : Counts
        Of a slide.
    locations : (m,) int array
        Rows of `measured`, one a target.
    genes : (g,) int array
        Columns of `measured`.
    """

    expected: Expression
    measured: Counts
    locations: Ints
    genes: Ints

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.expected.shape

    def columns(self, genes: Ints) -> Floats32:
        """Measured or expected counts of the given gene columns."""
        measured = self.measured.dense(self.genes[genes])[self.locations]
        return np.where(measured > 0, measured, self.expected.columns(genes))

    def take(self, targets: Ints | NDArray[np.bool_]) -> ImputedExpression:
        """Return some targets."""
        locations = self.locations[targets]
        return ImputedExpression(self.expected.take(targets), self.measured, locations, self.genes)
