"""How well a prediction agrees with the truth, gene by gene over locations.

All functions take (m, g) arrays of locations × genes and an optional (m, g) bool array of the
entries that count, and work in any unit: logs of counts per 10,000, or counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.stats import rankdata

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics.figures import ROUNDING, Figures, Floats, compared, constant

Mask = NDArray[np.bool_] | None
# Columns at least so long are ranked one by one, which is three times faster.
_LONG = 4096


def pearson(truth: ArrayLike, predicted: ArrayLike, scored: ArrayLike | None = None) -> Figures:
    """Pearson correlation per gene."""
    t, p, mask = compared(truth, predicted, scored)
    return _correlation(t, p, mask)


def spearman(truth: ArrayLike, predicted: ArrayLike, scored: ArrayLike | None = None) -> Figures:
    """Spearman correlation per gene: Pearson of the ranks, ties at their mean rank."""
    t, p, mask = compared(truth, predicted, scored)
    return Ranked.of(t, mask).correlation(Ranked.of(p, mask), mask)


@dataclass(frozen=True, eq=False)
class Ranked:
    """Ranks per gene, and which genes do not vary: a truth that is compared often is ranked once.

    Parameters
    ----------
    ranks : (m, g) float array
    flat : (g,) bool array
    """

    ranks: Floats
    flat: NDArray[np.bool_]

    @classmethod
    def of(cls, values: Floats, mask: Mask = None) -> Ranked:
        """Rank finite values (m, g)."""
        return cls(_ranks(values, mask), constant(values, mask))

    def correlation(self, predicted: Ranked, mask: Mask = None) -> Figures:
        """Correlate the ranks of a truth with those of a prediction."""
        found = _correlation(self.ranks, predicted.ranks, mask)
        values = np.where(self.flat | predicted.flat, np.nan, found.values)
        return Figures(values, self.flat, ~self.flat & predicted.flat)


def cosine(truth: ArrayLike, predicted: ArrayLike, scored: ArrayLike | None = None) -> Figures:
    """Cosine of the angle between truth and prediction per gene, over all entries."""
    t, p, mask = compared(truth, predicted, scored)
    if mask is not None:
        t, p = np.where(mask, t, 0), np.where(mask, p, 0)
    length_t, length_p = np.linalg.norm(t, axis=0), np.linalg.norm(p, axis=0)
    values = _ratio(np.einsum("ij,ij->j", t, p), length_t * length_p)
    return Figures(values, length_t == 0, (length_t > 0) & (length_p == 0))


def mean_absolute_error(
    truth: ArrayLike, predicted: ArrayLike, scored: ArrayLike | None = None
) -> Figures:
    """Mean absolute error per gene."""
    t, p, mask = compared(truth, predicted, scored)
    return _mean_error(np.abs(p - t), mask)


def mean_squared_error(
    truth: ArrayLike, predicted: ArrayLike, scored: ArrayLike | None = None
) -> Figures:
    """Mean squared error per gene."""
    t, p, mask = compared(truth, predicted, scored)
    return _mean_error((p - t) ** 2, mask)


def relative_error(
    truth: ArrayLike, predicted: ArrayLike, scored: ArrayLike | None = None
) -> Figures:
    """Root mean squared error per gene in standard deviations of the truth.

    A prediction of the truth's own mean scores 1.
    """
    t, p, mask = compared(truth, predicted, scored)
    flat = constant(t, mask)
    centred = _centred(t, mask)
    spread = np.sqrt(_mean_error(centred**2, mask).values)
    error = np.sqrt(_mean_error((p - t) ** 2, mask).values)
    values = np.where(flat, np.nan, _ratio(error, spread))
    return Figures(values, flat, np.zeros_like(flat))


def variance_ratio(
    truth: ArrayLike, predicted: ArrayLike, scored: ArrayLike | None = None
) -> Figures:
    """Variance of the prediction over variance of the truth per gene."""
    t, p, mask = compared(truth, predicted, scored)
    flat = constant(t, mask)
    of_truth = _mean_error(_centred(t, mask) ** 2, mask).values
    of_prediction = _mean_error(_centred(p, mask) ** 2, mask).values
    values = np.where(flat, np.nan, _ratio(of_prediction, of_truth))
    return Figures(values, flat, np.zeros_like(flat))


def within_parents(
    truth: ArrayLike,
    predicted: ArrayLike,
    parent: NDArray[np.int64],
    scored: ArrayLike | None = None,
) -> Figures:
    """Pearson correlation per gene within parents: their own means are subtracted first.

    A uniform split of every parent is constant within it and scores nothing.

    Parameters
    ----------
    truth, predicted, scored : (m, g) arrays
    parent : (m,) int array
        Location that holds each target, -1 where none does. Targets that are alone in theirs are
        left out.

    Raises
    ------
    InputError
        When no parent holds two targets.
    """
    t, p, mask = compared(truth, predicted, scored)
    _, group, size = np.unique(parent, return_inverse=True, return_counts=True)
    used = (np.asarray(parent) >= 0) & (size[group] >= 2)
    if not used.any():
        raise InputError(
            "No location holds two targets, so nothing can be compared within locations.",
            "Use targets that divide the measured locations.",
        )
    _, group = np.unique(group[used], return_inverse=True)
    members = sparse.csr_matrix(
        (np.ones(len(group)), (group, np.arange(len(group)))), shape=(group.max() + 1, len(group))
    )
    t, p = t[used], p[used]
    mask = None if mask is None else mask[used]
    flat_t, inner_t = _within(t, members, group, mask)
    flat_p, inner_p = _within(p, members, group, mask)
    found = _correlation(inner_t, inner_p, mask)
    values = np.where(flat_t | flat_p, np.nan, found.values)
    return Figures(values, flat_t, ~flat_t & flat_p)


@dataclass(frozen=True, eq=False)
class Pooled:
    """Errors pooled over all entries, as SUICA reports them; add blocks up with ``+``.

    Attributes
    ----------
    entries : float
    absolute, squared : float
        Sums of absolute and squared differences.
    product, truth, predicted : float
        Sums of t·p, t² and p².
    """

    entries: float = 0.0
    absolute: float = 0.0
    squared: float = 0.0
    product: float = 0.0
    truth: float = 0.0
    predicted: float = 0.0

    def __add__(self, other: Pooled) -> Pooled:
        return Pooled(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return self.absolute / self.entries if self.entries else np.nan

    @property
    def mse(self) -> float:
        """Mean squared error."""
        return self.squared / self.entries if self.entries else np.nan

    @property
    def cosine(self) -> float:
        """One cosine for the whole matrix."""
        length = np.sqrt(self.truth * self.predicted)
        return float(self.product / length) if length > 0 else np.nan


def pooled(
    truth: ArrayLike,
    predicted: ArrayLike,
    scored: ArrayLike | None = None,
    nonzero: bool = True,
) -> Pooled:
    """Errors pooled over the entries whose truth is not zero (or over all)."""
    t, p, mask = compared(truth, predicted, scored)
    chosen = t != 0 if nonzero else np.ones(t.shape, dtype=np.bool_)
    if mask is not None:
        chosen &= mask
    t, p = t[chosen], p[chosen]
    return Pooled(
        float(len(t)),
        float(np.abs(p - t).sum()),
        float(((p - t) ** 2).sum()),
        float(t @ p),
        float(t @ t),
        float(p @ p),
    )


def share_won(mine: ArrayLike, other: ArrayLike) -> float:
    """Share of genes on which one method's figure is higher than another's; a tie counts half.

    Parameters
    ----------
    mine, other : (g,) arrays
        Figures of the same genes, such as `Figures.counted`; higher is better.

    Raises
    ------
    InputError
        When they differ in length, are empty or hold nan.
    """
    a, b = np.asarray(mine, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if a.shape != b.shape or not a.size:
        raise InputError(f"{a.size} and {b.size} genes cannot be compared one by one.")
    if np.isnan(a).any() or np.isnan(b).any():
        raise InputError("A figure is undefined for some genes.", "Compare `Figures.counted`.")
    return float(np.mean((a > b) + 0.5 * (a == b)))


def _correlation(t: Floats, p: Floats, mask: Mask) -> Figures:
    flat_t, flat_p = constant(t, mask), constant(p, mask)
    t, p = _centred(t, mask), _centred(p, mask)
    size = np.sqrt(np.einsum("ij,ij->j", t, t) * np.einsum("ij,ij->j", p, p))
    values = np.clip(_ratio(np.einsum("ij,ij->j", t, p), size), -1, 1)
    values[flat_t | flat_p] = np.nan
    return Figures(values, flat_t, ~flat_t & flat_p)


def _centred(values: Floats, mask: Mask) -> Floats:
    """Values minus their mean per gene, 0 where an entry does not count."""
    if mask is None:
        return np.asarray(values - values.mean(axis=0))
    inside = np.where(mask, values, 0)
    mean = inside.sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
    return np.where(mask, values - mean, 0)


def _within(
    values: Floats, members: sparse.csr_matrix, group: NDArray[np.int64], mask: Mask
) -> tuple[NDArray[np.bool_], Floats]:
    """Whether values vary within no group, and the values minus their group's mean."""
    if mask is None:
        mean = (members @ values) / np.asarray(members.sum(axis=1))
        inner = values - mean[group]
    else:
        values = np.where(mask, values, 0)
        mean = (members @ values) / np.maximum(members @ mask.astype(np.float64), 1)
        inner = np.where(mask, values - mean[group], 0)
    # What is left of equal values is rounding, small beside the values themselves.
    largest = [np.maximum(v.max(axis=0), -v.min(axis=0)) for v in (inner, values)]
    return largest[0] <= ROUNDING * largest[1], inner


def _ranks(values: Floats, mask: Mask) -> Floats:
    if mask is None and len(values) < _LONG:
        return np.asarray(rankdata(values, axis=0), dtype=np.float64)
    ranks = np.zeros(values.shape[::-1])
    for gene, column in enumerate(np.ascontiguousarray(values.T)):
        if mask is None:
            ranks[gene] = _column_ranks(column)
        elif mask[:, gene].any():
            ranks[gene, mask[:, gene]] = _column_ranks(column[mask[:, gene]])
    return ranks.T


def _column_ranks(values: Floats) -> Floats:
    """Mean ranks of one gene: its many zeros tie and are not sorted."""
    rest = np.flatnonzero(values > values.min())
    tied = len(values) - len(rest)
    ranks = np.full(len(values), (tied + 1) / 2)
    order = rest[np.argsort(values[rest])]
    ordered = values[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    run = np.diff(np.append(first, len(ordered)))
    ranks[order] = np.repeat(tied + first + (run + 1) / 2, run)
    return ranks


def _mean_error(error: Floats, mask: Mask) -> Figures:
    none = np.zeros(error.shape[1], dtype=np.bool_)
    if mask is None:
        return Figures(error.mean(axis=0), none, none)
    counted = mask.sum(axis=0)
    values = _ratio(np.where(mask, error, 0).sum(axis=0), counted)
    return Figures(values, counted == 0, none)


def _ratio(above: Floats, below: NDArray[np.generic]) -> Floats:
    """Quotient, nan where the denominator is 0."""
    out = np.full(above.shape, np.nan)
    return np.asarray(np.divide(above, below, out=out, where=np.asarray(below) > 0))
