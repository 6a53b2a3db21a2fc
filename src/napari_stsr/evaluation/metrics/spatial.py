"""Spatial structure: Moran's I of all genes at once, and what compares two maps' structure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics.figures import Figures, Floats, constant
from napari_stsr.evaluation.metrics.logs import measured_log

if TYPE_CHECKING:
    from napari_stsr.slides import Counts, Slide

# What stays in the cache, where that is more than a few genes.
_BLOCK_BYTES, _FEWEST_GENES = 4e6, 16


def nearest(coordinates: ArrayLike, k: int = 6) -> NDArray[np.int64]:
    """Nearest other locations of every location, (n, k + 1) with one -1 a row.

    Raises
    ------
    InputError
        When there are fewer than two locations.
    """
    places = np.asarray(coordinates, dtype=np.float64)
    n = len(places)
    if n < 2:
        raise InputError(f"{n} locations have no neighbours.", "Use more targets.")
    k = min(k, n - 1)
    _, near = cKDTree(places).query(places, k=k + 1)
    # Where locations coincide, a location need not be its own nearest.
    own = near == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True
    return np.where(own, -1, near).astype(np.int64)


def slide_weights(slide: Slide) -> sparse.csr_matrix:
    """Row-normalised weights of a slide: lattice neighbours, or the 6 nearest without lattice."""
    free = slide.lattice.kind == "none"
    return neighbour_weights(nearest(slide.coordinates) if free else slide.lattice.neighbours())


def neighbour_weights(neighbours: NDArray[np.int64]) -> sparse.csr_matrix:
    """Row-normalised weights (n, n) from a table of neighbours (n, s), -1 where there is none."""
    n = len(neighbours)
    there = neighbours >= 0
    many = there.sum(axis=1)
    indptr = np.concatenate([[0], np.cumsum(many)])
    values = np.repeat(1 / np.maximum(many, 1), many)
    return sparse.csr_matrix((values, neighbours[there], indptr), shape=(n, n))


def morans_i(values: ArrayLike, weights: sparse.csr_matrix) -> Figures:
    """Moran's I per gene: ``n / Σw · Σ_ij w_ij z_i z_j / Σ z²``, z the values minus their mean.

    Parameters
    ----------
    values : (n, g) array
    weights : (n, n) sparse matrix

    Raises
    ------
    InputError
        When the shapes do not fit or no location has a neighbour.
    """
    x = np.asarray(values)
    if weights.shape != (len(x), len(x)):
        raise InputError(f"Weights are {weights.shape}, but there are {len(x)} locations.")
    total = float(weights.sum())
    if total == 0:
        raise InputError("No location has a neighbour.", "Use more targets, or a larger radius.")
    flat = constant(x)
    z = np.ascontiguousarray(x - x.mean(axis=0, dtype=np.float64), dtype=x.dtype)
    square = np.einsum("ij,ij->j", z, z, dtype=np.float64)
    cross = np.einsum("ij,ij->j", z, weights.astype(x.dtype, copy=False) @ z, dtype=np.float64)
    found = np.full(x.shape[1], np.nan)
    np.divide(len(x) / total * cross, square, out=found, where=~flat)
    return Figures(found, flat, np.zeros_like(flat))


def morans_i_of_counts(counts: Counts, weights: sparse.csr_matrix) -> Figures:
    """Moran's I per gene of log1p(counts per 10,000), in blocks of genes of bounded memory."""
    n, g = counts.shape
    width = max(_FEWEST_GENES, int(_BLOCK_BYTES / (4 * max(1, n))))
    weights = weights.astype(np.float32)
    totals = counts.totals
    blocks = [
        morans_i(measured_log(counts.dense(np.arange(at, min(at + width, g))), totals), weights)
        for at in range(0, g, width)
    ]
    return Figures.joined(blocks)


def top(scores: ArrayLike, many: int) -> NDArray[np.int64]:
    """Positions of the highest scores, best first, nan left out; earlier ones win ties."""
    values = np.asarray(scores, dtype=np.float64)
    order = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")
    return order[: min(many, int((~np.isnan(values)).sum()))].astype(np.int64)


def jaccard_of_top(truth: ArrayLike, predicted: ArrayLike, many: int = 50) -> float:
    """Jaccard index of the genes with the highest scores (such as Moran's I) in two maps.

    Raises
    ------
    InputError
        When the numbers of genes differ or every score is undefined.
    """
    t, p = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if t.shape != p.shape:
        raise InputError(f"Scores of {t.size} and {p.size} genes cannot be compared.")
    first, second = top(t, many), top(p, many)
    if not len(first):
        raise InputError("No gene of the truth has a score.", "Choose genes that were seen.")
    common = len(np.intersect1d(first, second))
    return common / (len(first) + len(second) - common)


def ratio(predicted: Figures, truth: Figures) -> Floats:
    """Figure of the prediction over that of the truth per gene; nan where either is undefined."""
    out = np.full(len(truth), np.nan)
    known = np.abs(truth.values) > 1e-12
    return np.asarray(np.divide(predicted.values, truth.values, out=out, where=known))
