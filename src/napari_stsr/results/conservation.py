"""Making the parts of a location add up to what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_stsr.results.expression import ConservedExpression, Expression, SelectedExpression
from napari_stsr.slides import Counts

Floats32 = NDArray[np.float32]
Rule = Literal["expected", "multinomial", "largest remainder", "off"]


def conserved(
    rule: str,
    predicted: Expression,
    parent: NDArray[np.int64],
    measured: Counts,
    parts: int,
    seed: int = 0,
) -> Expression:
    """Apply a rule of conservation to the parts of locations.

    Parameters
    ----------
    rule : {"expected", "multinomial", "largest remainder", "off"}
    predicted : Expression
        Parts in groups of `parts`, one group a location.
    parent : (m,) int array
        Location of each part.
    measured : Counts
        Counts of all locations, on the genes of `predicted`.
    parts : int
    seed : int
        Of the multinomial draws; a gene's draw depends on nothing else.
    """
    if rule == "off":
        return predicted
    expected = ConservedExpression(predicted, parent, measured, parts)
    if rule == "expected":
        return expected
    return WholeExpression(expected, parts, rule == "multinomial", seed)


@dataclass(frozen=True, eq=False)
class WholeExpression:
    """Conserved counts as whole numbers.

    Parameters
    ----------
    expected : Expression
        Conserved expected counts, parts in groups of `parts`.
    parts : int
    drawn : bool
        Draw from the multinomial, or round by largest remainder.
    seed : int
    """

    expected: Expression
    parts: int
    drawn: bool
    seed: int

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.expected.shape

    def columns(self, genes: NDArray[np.int64]) -> Floats32:
        """Whole counts of the given gene columns."""
        return np.column_stack([self._column(int(gene)) for gene in genes]).reshape(-1, len(genes))

    def _column(self, gene: int) -> Floats32:
        expected = self.expected.columns(np.array([gene]))[:, 0].astype(np.float64)
        groups = expected.reshape(-1, self.parts)
        total = np.rint(groups.sum(axis=1)).astype(np.int64)
        if self.drawn:
            share = groups + 1e-12
            share /= share.sum(axis=1, keepdims=True)
            whole = np.random.default_rng([self.seed, gene]).multinomial(total, share)
        else:
            whole = largest_remainder(groups, total)
        return whole.astype(np.float32).ravel()

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> SelectedExpression:
        """Return some targets; whole numbers stay those of the whole location."""
        return SelectedExpression(self, np.arange(self.shape[0])[targets])


def largest_remainder(groups: NDArray[np.float64], total: NDArray[np.int64]) -> NDArray[np.int64]:
    """Round each row to whole numbers that sum to its total: floors, then largest remainders."""
    floors = np.floor(groups + 1e-6).astype(np.int64)
    missing = total - floors.sum(axis=1)
    rank = np.argsort(np.argsort(-(groups - floors), axis=1, kind="stable"), axis=1)
    return np.asarray(floors + (rank < missing[:, None]))
