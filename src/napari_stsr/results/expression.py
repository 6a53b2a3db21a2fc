"""Where predicted expression comes from: computed gene by gene, never all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.slides import Counts

Floats32 = NDArray[np.float32]
Logs = Callable[[NDArray[np.int64]], Floats32]


class Expression(Protocol):
    """Expected counts, targets × genes, computed for the genes asked."""

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        ...

    def columns(self, genes: NDArray[np.int64]) -> Floats32:
        """Expected counts of the given gene columns, shape (targets, len(genes))."""
        ...

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> Expression:
        """Return the same for some targets."""
        ...


class Composed(Expression, Protocol):
    """Expected counts that are a composition times a depth: a dataclass whose depth is a field."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def depth(self) -> Floats32:
        """Expected total of every target, (m,)."""

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> Composed:
        """Return some targets."""


@dataclass(frozen=True, eq=False)
class StoredExpression:
    """Values held as an array or a CSC matrix (targets × genes), for instance read from a file."""

    values: Floats32 | sparse.csc_matrix

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        n, g = self.values.shape
        return n, g

    def columns(self, genes: NDArray[np.int64]) -> Floats32:
        """Values of the given gene columns, dense."""
        part = self.values[:, genes]
        dense = part if isinstance(part, np.ndarray) else part.toarray()
        return np.asarray(dense, dtype=np.float32)

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> StoredExpression:
        """Return some targets."""
        return StoredExpression(self.values[targets])


@dataclass(frozen=True, eq=False)
class DecodedExpression:
    """Hidden states and the last layer of a decoder: one gene is one matrix–vector product.

    ``expected[i, g] = depth[i] · exp(hidden[i] · weight[g] + bias[g] − log_norm[i])``

    Parameters
    ----------
    hidden : (m, d) float32 array
    weight : (g, d) float32 array
    bias : (g,) float32 array
    log_norm : (m,) float32 array
        Log of the softmax denominator of every target.
    depth : (m,) float32 array
        Expected total of every target over the genes of the softmax.
    """

    hidden: Floats32
    weight: Floats32
    bias: Floats32
    log_norm: Floats32
    depth: Floats32

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return len(self.hidden), len(self.weight)

    def columns(self, genes: NDArray[np.int64]) -> Floats32:
        """Expected counts of the given gene columns."""
        logits = self.hidden @ self.weight[genes].T
        logits += self.bias[genes]
        logits -= self.log_norm[:, None]
        np.exp(logits, out=logits)
        logits *= self.depth[:, None]
        return logits

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> DecodedExpression:
        """Return some targets."""
        return DecodedExpression(
            self.hidden[targets],
            self.weight,
            self.bias,
            self.log_norm[targets],
            self.depth[targets],
        )


@dataclass(frozen=True, eq=False)
class ConservedExpression:
    """Parts that sum to what was measured: ``measured × prediction / Σ prediction``.

    Holds for the parts of locations whose parts are all among the targets. Parts of a location
    whose prediction is zero everywhere share its counts evenly.

    Parameters
    ----------
    predicted : Expression
    parent : (m,) int array
        Measured location each target divides, -1 for targets that divide none; those keep their
        prediction.
    measured : Counts
        All measured locations, on the genes of `predicted`.
    parts : int
        Parts per location (k).
    """

    predicted: Expression
    parent: NDArray[np.int64]
    measured: Counts
    parts: int

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.predicted.shape

    def columns(self, genes: NDArray[np.int64]) -> Floats32:
        """Conserved counts of the given gene columns."""
        return np.column_stack([self._column(int(gene)) for gene in genes]).reshape(-1, len(genes))

    def _column(self, gene: int) -> Floats32:
        predicted = self.predicted.columns(np.array([gene]))[:, 0].astype(np.float64)
        owned = self.parent >= 0
        parent = self.parent[owned]
        sums = np.bincount(parent, predicted[owned], minlength=self.measured.shape[0])[parent]
        share = np.full(len(parent), 1.0 / self.parts)
        np.divide(predicted[owned], sums, out=share, where=sums > 0)
        predicted[owned] = share * self.measured.column(gene)[parent]
        return predicted.astype(np.float32)

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> Expression:
        """Return some targets; shares stay those of the whole location."""
        return SelectedExpression(self, np.arange(len(self.parent))[targets])


@dataclass(frozen=True, eq=False)
class SelectedExpression:
    """Some targets of another expression, whose values depend on targets left out."""

    whole: Expression
    rows: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return len(self.rows), self.whole.shape[1]

    def columns(self, genes: NDArray[np.int64]) -> Floats32:
        """Values of the given gene columns at the selected targets."""
        return np.asarray(self.whole.columns(genes)[self.rows])

    @property
    def logs(self) -> Logs:
        """Predicted logs of given gene columns; there only where `whole` predicts logs."""
        whole = _logs(self.whole)
        return lambda genes: np.asarray(whole(genes)[self.rows])

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> SelectedExpression:
        """Return some of the selected targets."""
        return SelectedExpression(self.whole, self.rows[targets])


@dataclass(frozen=True, eq=False)
class GenesExpression:
    """Some genes of another expression, in any order.

    Parameters
    ----------
    whole : Expression
    genes : (g,) int array
        Columns of `whole`.
    """

    whole: Expression
    genes: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.whole.shape[0], len(self.genes)

    def columns(self, genes: NDArray[np.int64]) -> Floats32:
        """Values of the given gene columns."""
        return self.whole.columns(self.genes[genes])

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> GenesExpression:
        """Return some targets."""
        return GenesExpression(self.whole.take(targets), self.genes)


@dataclass(frozen=True, eq=False)
class ScaledExpression:
    """Another expression times a factor per target, for instance the share of an area.

    Parameters
    ----------
    whole : Expression
    factor : (m,) float array
    """

    whole: Expression
    factor: NDArray[np.floating[Any]]

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.whole.shape

    def columns(self, genes: NDArray[np.int64]) -> Floats32:
        """Scaled counts of the given gene columns."""
        return np.asarray(self.whole.columns(genes) * self.factor[:, None], dtype=np.float32)

    @property
    def logs(self) -> Logs:
        """Predicted logs of given gene columns, which a factor per target leaves as they are.

        There only where `whole` predicts logs.
        """
        return _logs(self.whole)

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> ScaledExpression:
        """Return some targets."""
        return ScaledExpression(self.whole.take(targets), self.factor[targets])


_LOG_OF_ALL = float(np.log1p(1e4))


@dataclass(frozen=True, eq=False)
class LoggedExpression:
    """Counts of a method that predicts ``log1p(counts per 10,000)``.

    ``expected[i, g] = depth[i] / 10,000 · expm1(min(max(log[i, g], 0), log1p(10,000)))``: no gene
    is more than all there is, however far a method is asked beyond what it knows.

    Parameters
    ----------
    source : Expression
        Its columns are the logs.
    depth : (m,) float array
        Expected total of every target.
    """

    source: Expression
    depth: NDArray[np.floating[Any]]

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.source.shape

    def columns(self, genes: NDArray[np.int64]) -> Floats32:
        """Counts of the given gene columns."""
        share = np.expm1(np.clip(self.source.columns(genes), 0, _LOG_OF_ALL))
        return np.asarray(share * (self.depth[:, None] / 1e4), dtype=np.float32)

    @property
    def logs(self) -> Logs:
        """Predicted logs of given gene columns, as the method made them."""
        return self.source.columns

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> LoggedExpression:
        """Return some targets."""
        return LoggedExpression(self.source.take(targets), self.depth[targets])


def _logs(expression: Expression) -> Logs:
    """Return `expression.logs`; an AttributeError where it predicts no logs."""
    logs: Logs = expression.logs  # type: ignore[attr-defined]
    return logs


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
