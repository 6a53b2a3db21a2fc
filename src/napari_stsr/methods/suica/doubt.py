"""How sure SUICA is: where members differ, and what held-out locations teach.

With expected counts p, of which SUICA says s and the pair of kernels f in the shares w and 1 − w::

    sd² = c² p² (φ + e + d)
    e   = (w s / p)² Var_m s_m / s²
    d   = w (1 − w) (s − f)² / p²

e is the spread of the ensemble's members, d the disagreement with the companion; φ is the relative
variance counts show beyond these and beyond counting noise, one a gene, and c the factor at which
intervals hold their share. φ and c come from all locations, each told by the one member that has
not seen it. Farther than a pitch from any measurement φ grows to the variance of a gene of which
only the mean is known.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from napari_stsr.methods.conformal import around_mean, left_out_factor, left_out_variances
from napari_stsr.methods.doubt import Doubt, beyond_reach
from napari_stsr.methods.own_counts import learn_trust
from napari_stsr.results.expression import Composed, Floats32
from napari_stsr.training.progress import Progress, Run

if TYPE_CHECKING:
    from napari_stsr.methods.suica.fitted import SuicaFitted
    from napari_stsr.methods.suica.lesson import Lesson

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_MOST_PLACES = 500


@dataclass(frozen=True, eq=False)
class DoubtExpression:
    """Standard deviation of expected counts, computed for the genes asked.

    Parameters
    ----------
    doubt : Doubt
    relative, unknown : (g,) float arrays
        Relative variance near measurements, and where only a gene's mean is known.
    factor : float
        Conformal factor.
    far : (m,) float32 array
        0 within a pitch of a measurement, 1 where nothing is known but the mean.
    """

    doubt: Doubt
    relative: Floats
    unknown: Floats
    factor: float
    far: Floats32

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.doubt.expected.shape

    def columns(self, genes: Ints) -> Floats32:
        """Standard deviations of the given gene columns."""
        expected, relative = self.doubt.columns(genes)
        relative += beyond_reach(self.relative[genes], self.unknown[genes], self.far)
        return np.asarray(np.float32(self.factor) * np.sqrt(relative) * expected, np.float32)

    def take(self, targets: Ints | NDArray[np.bool_]) -> DoubtExpression:
        """Return some targets."""
        return DoubtExpression(
            self.doubt.take(targets), self.relative, self.unknown, self.factor, self.far[targets]
        )


def learn_doubt(
    fitted: SuicaFitted, lesson: Lesson, run: Run
) -> Generator[Progress, None, dict[str, NDArray[np.float64]]]:
    """Measure how far the truth lies at locations, each told by a member blind to it.

    Returns
    -------
    dict of arrays
        What `SuicaFitted` makes its uncertainty of; empty without held-out locations.
    """
    held = np.flatnonzero(lesson.fold >= 0)
    if not len(held):
        return {}
    chosen = np.random.default_rng([run.seed, 31]).permutation(held)[:_MOST_PLACES]
    doubt = fitted.blind_doubt(lesson.rows[chosen], lesson.fold[chosen], run)
    truth = fitted.measured.counts.rows[lesson.rows[chosen]]
    own = yield from left_out_variances(truth, doubt.columns, run)
    unknown = yield from left_out_variances(truth, around_mean(truth), run)
    factor = left_out_factor(truth, doubt.columns, own, run)
    learned = {"doubt/relative": own, "doubt/unknown": unknown, "doubt/factor": np.array(factor)}
    if not fitted.params.own_counts:
        return learned
    expected, totals = cast(Composed, doubt.expected), lesson.totals[chosen]
    trust = yield from learn_trust(expected, truth, totals, run)
    if trust is not None:
        learned |= {"own/depth": np.array(trust.depth), "own/genes": trust.genes}
    return learned
