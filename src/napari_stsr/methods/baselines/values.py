"""What the baselines smooth: counts, logs of counts, or a few numbers a location."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.results.expression import Floats32
from napari_stsr.slides import Counts

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
# A location with far fewer molecules than the typical one says little about its composition.
_SHALLOW = 0.1


@dataclass(frozen=True, eq=False)
class CountValues:
    """The counts themselves."""

    counts: Counts

    @property
    def shape(self) -> tuple[int, int]:
        """Locations and genes."""
        return self.counts.shape

    def dense(self, genes: Ints) -> Floats32:
        """Counts of the given gene columns."""
        return np.asarray(_columns(self.counts, genes).toarray(order="C"))

    def some(self, locations: Ints) -> sparse.csr_matrix:
        """Counts of some locations."""
        return self.counts.rows[locations].astype(np.float32)


@dataclass(frozen=True, eq=False)
class LogValues:
    """``mass[j] · log1p(10,000 · y[j, g] / total[j])``.

    Parameters
    ----------
    counts : Counts
    totals : (n,) float array
    mass : (n,) float array
    """

    counts: Counts
    totals: Floats
    mass: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Locations and genes."""
        return self.counts.shape

    def dense(self, genes: Ints) -> Floats32:
        """Logs of the given gene columns."""
        values = _columns(self.counts, genes)
        values.data *= (1e4 / np.maximum(self.totals, 1)).astype(np.float32)[values.indices]
        np.log1p(values.data, out=values.data)
        values.data *= self.mass.astype(np.float32)[values.indices]
        return np.asarray(values.toarray(order="C"))

    def some(self, locations: Ints) -> sparse.csr_matrix:
        """Logs of some locations."""
        part = self.counts.rows[locations].astype(np.float32)
        own = np.repeat(locations, np.diff(part.indptr))
        part.data = np.log1p(part.data * (1e4 / np.maximum(self.totals, 1))[own]) * self.mass[own]
        return part.astype(np.float32)

    def mean(self) -> Floats:
        """Mean log of every gene, weighted by mass, (g,)."""
        sums = np.zeros(self.shape[1])
        for start in range(0, self.shape[0], 16_384):
            part = self.some(np.arange(start, min(start + 16_384, self.shape[0])))
            sums += np.bincount(part.indices, part.data, minlength=self.shape[1])
        return sums / max(float(self.mass.sum()), 1e-12)


def _columns(counts: Counts, genes: Ints) -> sparse.csc_matrix:
    """Float32 copy of some columns, of which only these are read where they lie on disk."""
    held = counts.columns
    starts, stops = held.indptr[genes], held.indptr[np.asarray(genes) + 1]
    runs = [slice(start, stop) for start, stop in zip(starts, stops, strict=True)]
    data = np.concatenate([held.data[run] for run in runs] or [held.data[:0]]).astype(np.float32)
    indices = np.concatenate([held.indices[run] for run in runs] or [held.indices[:0]])
    ends = np.concatenate([[0], np.cumsum(stops - starts)])
    return sparse.csc_matrix((data, indices, ends), shape=(counts.shape[0], len(runs)))


def log_mass(totals: Floats) -> Floats:
    """How much a location's logs count, 0 … 1: ``T² / (T² + t²)``, (n,).

    t is a tenth of the median total.
    A spot with one molecule has a log of 9.2 for one gene; it must not pull its neighbours along.
    """
    full = totals > 0
    typical = float(np.median(totals[full])) if full.any() else 1.0
    return np.asarray(totals**2 / (totals**2 + (_SHALLOW * typical) ** 2))


@dataclass(frozen=True, eq=False)
class ArrayValues:
    """A few numbers a location, held dense (n, k)."""

    values: Floats32

    @property
    def shape(self) -> tuple[int, int]:
        """Locations and numbers."""
        n, k = self.values.shape
        return n, k

    def dense(self, genes: Ints) -> Floats32:
        """Return the given columns."""
        return np.asarray(self.values[:, genes])

    def some(self, locations: Ints) -> sparse.csr_matrix:
        """Return some locations."""
        return sparse.csr_matrix(self.values[locations])
