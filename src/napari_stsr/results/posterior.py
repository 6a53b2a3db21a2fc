"""What measured locations are expected to hold once their own counts are taken into account.

A method expects p counts of a gene at a location, with a relative variance φ beyond counting noise.
After y were counted there, the gamma posterior has

    mean  p (1 + φ y) / (1 + φ p)        relative variance  φ / (1 + φ y)

φ → 0 keeps p, φ → ∞ gives y: between a model and conservation it trusts a count as far as it goes.
The total of a location comes first, by the same formula: thousands of molecules tell it nearly
exactly. All parts of a location are multiplied alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_stsr.results.expression import (
    Expression,
    Floats32,
    ScaledExpression,
    SelectedExpression,
)
from napari_stsr.slides import Counts

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_LEAST = 1e-9
# A location less likely to be empty than this has failed: its zeros say nothing.
_FAILED = 1e-3


@dataclass(frozen=True, eq=False)
class Trust:
    """How far counts differ from what is told of them, beyond counting noise.

    Parameters
    ----------
    depth : float
        Relative variance of the totals of locations, around what their neighbours tell.
    genes : (g,) float array
        Relative variance of a gene's counts, around what neighbours tell and the own total.
    """

    depth: float
    genes: Floats

    def of_totals(self, expected: Floats, totals: Floats) -> Floats:
        """Posterior mean of totals over their expectation, both (n,)."""
        return np.asarray((1 + self.depth * totals) / (1 + self.depth * expected))

    def chance_of_nothing(self, expected: Floats) -> Floats:
        """Chance that a location of such an expected total holds no molecule, (n,)."""
        if self.depth < _LEAST:
            return np.asarray(np.exp(-expected))
        return np.asarray((1 + self.depth * expected) ** (-1 / self.depth))


@dataclass(frozen=True, eq=False)
class OwnCounts:
    """What was counted at the locations that targets are, or are parts of.

    Parameters
    ----------
    measured : Counts
        Of all locations (n, g).
    parent : (m,) int array
        Location of each target, -1 where it is none that was measured.
    parts : int
        Targets per location, in groups where more than one.
    gain : (m,) float32 array
        Posterior mean of the location's total over its expectation.
    trust : Trust
    """

    measured: Counts
    parent: Ints
    parts: int
    gain: Floats32
    trust: Trust

    @classmethod
    def of(
        cls,
        measured: Counts,
        totals: Floats,
        parent: Ints,
        parts: int,
        depth: Floats32,
        trust: Trust,
    ) -> OwnCounts:
        """Find the own totals of targets.

        Parameters
        ----------
        measured : Counts
            (n, g).
        totals : (n,) float array
            Totals of all locations in the genes that `depth` is counted in.
        parent : (m,) int array
        parts : int
        depth : (m,) float32 array
            Expected totals of the targets.
        trust : Trust
        """
        whole = _summed(depth[:, None], parts)[:, 0].astype(np.float64)
        failed = (totals[parent] <= 0) & (trust.chance_of_nothing(whole) < _FAILED)
        parent = np.where(failed, -1, parent)
        gain = np.where(parent >= 0, trust.of_totals(whole, totals[parent]), 1.0)
        return cls(measured, parent, parts, gain.astype(np.float32), trust)

    def take(self, rows: Ints | NDArray[np.bool_]) -> OwnCounts:
        """Return some targets; whole groups where a location has several."""
        return replace(self, parent=self.parent[rows], gain=self.gain[rows])

    def given(self, genes: Ints) -> tuple[Floats32, Floats32]:
        """Counts y of the targets' locations and relative variances φ, both (m, len(genes)).

        φ is 0 where a target is no measured location.
        """
        counts = self.measured.dense(genes)[self.parent]
        variance = self.trust.genes[genes].astype(np.float32)
        return counts, (self.parent >= 0)[:, None] * variance


@dataclass(frozen=True, eq=False)
class PosteriorExpression:
    """Expected counts once the own counts are known, (m, g)."""

    expected: Expression
    own: OwnCounts

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.expected.shape

    def columns(self, genes: Ints) -> Floats32:
        """Expected counts of the given gene columns."""
        return self.joined(self.expected.columns(genes), *self.own.given(genes))

    def joined(self, expected: Floats32, counts: Floats32, variance: Floats32) -> Floats32:
        """Join expected counts before with `OwnCounts.given`, all (m, k)."""
        told = expected * self.own.gain[:, None]
        whole = _summed(told, self.own.parts)
        told *= (1 + variance * counts) / (1 + variance * whole)
        return told

    def take(self, targets: Ints | NDArray[np.bool_]) -> Expression:
        """Return some targets; a part is told with all parts of its location."""
        cut, _, rows = self.with_groups(targets)
        return cut if rows is None else SelectedExpression(cut, rows)

    def with_groups(
        self, targets: Ints | NDArray[np.bool_]
    ) -> tuple[PosteriorExpression, Ints, Ints | None]:
        """Some targets with all others of their locations.

        Returns
        -------
        cut : PosteriorExpression
        groups : int array
            The targets it holds.
        rows : int array, optional
            Where among these those asked for are; None where they are all.
        """
        asked, parts = np.arange(self.shape[0])[targets], self.own.parts
        groups, rows = asked, None
        if parts > 1:
            first, inverse = np.unique(asked // parts, return_inverse=True)
            groups = (first[:, None] * parts + np.arange(parts)).ravel()
            rows = inverse * parts + asked % parts
        cut = PosteriorExpression(self.expected.take(groups), self.own.take(groups))
        return cut, groups, rows


@dataclass(frozen=True, eq=False)
class PosteriorSpread:
    """Standard deviation once the own counts are known, (m, g).

    Counting takes ``φ² y / (1 + φ y)`` from the relative variance that was there before; what
    the parts of a location differ by stays.

    Parameters
    ----------
    spread : Expression
        Standard deviation before.
    posterior : PosteriorExpression
    """

    spread: Expression
    posterior: PosteriorExpression

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.spread.shape

    def columns(self, genes: Ints) -> Floats32:
        """Standard deviations of the given gene columns."""
        before = self.posterior.expected.columns(genes)
        counts, variance = self.posterior.own.given(genes)
        told = self.posterior.joined(before, counts, variance)
        relative = (self.spread.columns(genes) / np.maximum(before, np.float32(_LEAST))) ** 2
        known = np.minimum(variance, relative)
        relative -= known**2 * counts / (1 + known * counts)
        told *= np.sqrt(relative)
        return told

    def take(self, targets: Ints | NDArray[np.bool_]) -> Expression:
        """Return some targets; a part is told with all parts of its location."""
        posterior, groups, rows = self.posterior.with_groups(targets)
        cut = PosteriorSpread(self.spread.take(groups), posterior)
        return cut if rows is None else SelectedExpression(cut, rows)


@dataclass(frozen=True, eq=False)
class Unseen:
    """What is expected at measured locations of genes that are missing there: by the total alone.

    Parameters
    ----------
    expected : Expression
    spread : Expression, optional
        Its standard deviation.
    """

    expected: Expression
    spread: Expression | None

    def each(self, change: Callable[[Expression], Expression]) -> Unseen:
        """Return both changed alike."""
        return Unseen(change(self.expected), None if self.spread is None else change(self.spread))


def with_own_counts(
    expected: Expression, spread: Expression | None, own: OwnCounts | None
) -> tuple[Expression, Expression | None, Unseen | None]:
    """Expected counts and their standard deviation once the own counts are known.

    Returns
    -------
    expected, spread : Expression
    unseen : Unseen or None
        None where no target has counts of its own.
    """
    if own is None or not (own.parent >= 0).any():
        return expected, spread, None
    posterior = PosteriorExpression(expected, own)
    unseen = Unseen(expected, spread).each(lambda before: ScaledExpression(before, own.gain))
    if spread is not None:
        spread = PosteriorSpread(spread, posterior)
    return posterior, spread, unseen


def _summed(values: Floats32, parts: int) -> Floats32:
    """Sum of each target's group of parts, (m, g)."""
    if parts == 1:
        return values
    groups = values.reshape(-1, parts, values.shape[1]).sum(axis=1)
    return np.repeat(groups, parts, axis=0)
