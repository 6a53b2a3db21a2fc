"""How sure SUICA is: where members differ, and what held-out locations teach.

With expected counts p, of which SUICA says s and the factor kernel f in the shares w and 1 − w::

    sd² = c² p² (φ + e + d)
    e   = (w s / p)² Var_m log s_m
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
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from napari_stsr.methods.companion import MixedExpression
from napari_stsr.methods.conformal import (
    RELATIVE_VARIANCES,
    conformal_factor,
    dispersion_likelihood,
    relative_variances,
)
from napari_stsr.results.expression import Expression, Floats32
from napari_stsr.slides import Counts
from napari_stsr.training.progress import Progress, Run

if TYPE_CHECKING:
    from napari_stsr.methods.suica.fitted import SuicaFitted
    from napari_stsr.methods.suica.lesson import Lesson

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_MOST_PLACES = 500
_BLOCK_GENES = 512
_TELLING_GENES = 100
_FEWEST_COUNTS = 10
_TINY = np.float32(1e-9)


@dataclass(frozen=True, eq=False)
class Doubt:
    """Expected counts with the relative variance SUICA knows itself.

    Parameters
    ----------
    expected : Expression
    hidden : (members, m, h) float32 array or None
        What every member says; None where there is one, or where they would not fit.
    weight : (g, h) float32 array
    """

    expected: Expression
    hidden: Floats32 | None
    weight: Floats32

    def columns(self, genes: Ints) -> tuple[Floats32, Floats32]:
        """Expected counts and their relative variance (e + d), both (m, len(genes))."""
        mixed = self.expected
        if isinstance(mixed, MixedExpression):
            share = np.float32(mixed.share)
            own, other = mixed.first.columns(genes), mixed.second.columns(genes)
            expected = share * own + (1 - share) * other
            per = 1 / np.maximum(expected, _TINY)
            relative = share * (1 - share) * ((own - other) * per) ** 2
            weight = (share * own * per) ** 2
        else:
            expected = mixed.columns(genes)
            relative, weight = np.zeros_like(expected), np.ones_like(expected)
        if self.hidden is not None:
            logs = self.hidden @ self.weight[genes].T
            relative += weight * logs.var(axis=0, ddof=1)
        return expected, np.asarray(relative, dtype=np.float32)

    def take(self, targets: Ints | NDArray[np.bool_]) -> Doubt:
        """Return some targets."""
        hidden = None if self.hidden is None else self.hidden[:, targets]
        return Doubt(self.expected.take(targets), hidden, self.weight)


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
        near = self.relative[genes].astype(np.float32)
        more = np.maximum(self.unknown[genes].astype(np.float32) - near, 0)
        relative += near + self.far[:, None] * more
        return np.asarray(np.float32(self.factor) * np.sqrt(relative) * expected, np.float32)

    def take(self, targets: Ints | NDArray[np.bool_]) -> DoubtExpression:
        """Return some targets."""
        return DoubtExpression(
            self.doubt.take(targets), self.relative, self.unknown, self.factor, self.far[targets]
        )


def fading(known: Floats, places: Floats, pitch_um: float, reach_um: float) -> Floats32:
    """How much of what measurements tell has faded at places (x, y) in µm: 0 … 1, (m,)."""
    away, _ = cKDTree(known).query(places)
    beyond = np.maximum(away - 1.01 * pitch_um, 0) / reach_um
    return np.asarray(1 - np.exp(-0.5 * beyond**2), dtype=np.float32)


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
    doubt = fitted.blind_doubt(lesson.places[chosen], lesson.rows[chosen], lesson.fold[chosen], run)
    truth = fitted.measured.counts.rows[lesson.rows[chosen]]
    mean = (Counts(truth).gene_totals / len(chosen)).astype(np.float32)
    relative = np.zeros((len(RELATIVE_VARIANCES), truth.shape[1]))
    unknown = np.zeros_like(relative)
    common = np.flatnonzero(Counts(truth).gene_totals >= _FEWEST_COUNTS)
    for start in range(0, len(common), _BLOCK_GENES):
        run.cancel.check()
        yield Progress("measuring uncertainty", start, len(common), 0.99)
        block = common[start : start + _BLOCK_GENES]
        relative[:, block] = dispersion_likelihood(truth[:, block], *doubt.columns(block))
        even = np.tile(mean[block], (len(chosen), 1))
        unknown[:, block] = dispersion_likelihood(truth[:, block], even)
    own = relative_variances(relative)
    return {
        "doubt/relative": own,
        "doubt/unknown": relative_variances(unknown),
        "doubt/factor": np.array(_factor(doubt, truth, own, run)),
    }


def _factor(doubt: Doubt, truth: sparse.csr_matrix, relative: Floats, run: Run) -> float:
    counts = Counts(truth)
    genes = np.sort(np.argsort(-counts.gene_totals, kind="stable")[:_TELLING_GENES])
    expected, named = doubt.columns(genes)
    deviation = expected * np.sqrt(named + relative[genes].astype(np.float32))
    return conformal_factor(counts.dense(genes), expected, deviation, run.seed)
