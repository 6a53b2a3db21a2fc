"""Gene mean: every place holds the average location. It uses no place at all."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.methods.field import FieldFitted, FieldMethod, Floats
from napari_stsr.methods.measured import Measured
from napari_stsr.results.expression import Expression, Floats32
from napari_stsr.slides import Slide
from napari_stsr.training.progress import Progress, Run


@dataclass(frozen=True, eq=False)
class ConstantExpression:
    """The same counts at every target: ``expected[i, g] = mean[g]``.

    Parameters
    ----------
    mean : (g,) float array
    targets : int
    """

    mean: NDArray[np.floating[Any]]
    targets: int

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.targets, len(self.mean)

    def columns(self, genes: NDArray[np.int64]) -> Floats32:
        """Counts of the given gene columns."""
        return np.tile(self.mean[genes].astype(np.float32), (self.targets, 1))

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> ConstantExpression:
        """Return some targets."""
        return ConstantExpression(self.mean, len(np.arange(self.targets)[targets]))


class GeneMeanFitted(FieldFitted):
    """The average location."""

    def field(self, coordinates: Floats, run: Run) -> tuple[Expression, None]:
        """Return the mean of every gene at every place."""
        return ConstantExpression(self.learned["mean"], len(coordinates)), None


class GeneMean(FieldMethod):
    """Every place holds the average location: what can be had without looking at space."""

    name = "gene_mean"
    title = "Gene mean"
    summary = "Gives every place the average location. Whatever loses to it has learned nothing."
    fewest = 1
    fitted = GeneMeanFitted

    def learn(
        self, slide: Slide, measured: Measured, params: Any, run: Run
    ) -> Generator[Progress, None, dict[str, NDArray[Any]]]:
        """Average every gene over the locations."""
        yield Progress("averaging", 1, 1, 1.0)
        return {"mean": measured.counts.gene_totals / len(measured)}
