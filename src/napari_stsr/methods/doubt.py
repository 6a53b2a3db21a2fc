"""Expected counts with what a method knows itself of their variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_stsr.methods.companion import MixedExpression
from napari_stsr.results.expression import Expression, Floats32

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class OwnVariance(Protocol):
    """How far a method's own expectation may be off, as the method itself can tell."""

    def relative_variance(self, genes: Ints) -> Floats32:
        """Variance over the square of the expectation, (m, len(genes))."""
        ...

    def take(self, targets: Ints | NDArray[np.bool_]) -> OwnVariance:
        """Return some targets."""
        ...


@dataclass(frozen=True, eq=False)
class Doubt:
    """Expected counts with the relative variance known beforehand.

    Parameters
    ----------
    expected : Expression
        Mixed with a companion, the disagreement of the two counts too.
    own : OwnVariance, optional
        Of the method alone.
    """

    expected: Expression
    own: OwnVariance | None = None

    def columns(self, genes: Ints) -> tuple[Floats32, Floats32]:
        """Expected counts and their relative variance, both (m, len(genes))."""
        if isinstance(self.expected, MixedExpression):
            expected, relative, weight = self.expected.disagreement(genes)
        else:
            expected = self.expected.columns(genes)
            relative, weight = np.zeros_like(expected), np.ones_like(expected)
        if self.own is not None:
            relative += weight * self.own.relative_variance(genes)
        return expected, np.asarray(relative, dtype=np.float32)

    def take(self, targets: Ints | NDArray[np.bool_]) -> Doubt:
        """Return some targets."""
        own = None if self.own is None else self.own.take(targets)
        return Doubt(self.expected.take(targets), own)


def beyond_reach(near: Floats, unknown: Floats, far: Floats32) -> Floats32:
    """Relative variance that grows to that of a gene of which only the mean is known.

    Parameters
    ----------
    near, unknown : (g,) float arrays
        Near measurements, and where only the mean is known.
    far : (m,) float32 array
        0 near a measurement, 1 out of reach.

    Returns
    -------
    (m, g) float32 array
    """
    start = near.astype(np.float32)
    more = np.maximum(unknown.astype(np.float32) - start, 0)
    return np.asarray(start + far[:, None] * more, dtype=np.float32)
