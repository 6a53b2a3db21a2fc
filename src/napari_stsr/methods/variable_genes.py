"""Which genes a method learns from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.slides import Counts


def overdispersion(counts: Counts) -> NDArray[np.float64]:
    """How far each gene varies beyond Poisson noise, in units of that noise, shape (g,).

    Counts are scaled to the median depth. With mean m and variance v over n locations, Poisson
    noise alone gives v ≈ m·c with c = mean(median depth / depth), and scatters by √(2/n) of that:
    the score is (v / (m·c) − 1)·√(n/2). It favours genes whose pattern can be told from noise.
    """
    n, g = counts.shape
    depth = counts.totals
    used = depth > 0
    typical = float(np.median(depth[used])) if used.any() else 1.0
    factor = np.divide(typical, depth, out=np.zeros_like(depth), where=used)
    mean, square = np.zeros(g), np.zeros(g)
    for part, data, indices, indptr in counts.chunks():
        scaled = data * np.repeat(factor[part], np.diff(indptr))
        mean += np.bincount(indices, scaled, minlength=g) / n
        square += np.bincount(indices, scaled * scaled, minlength=g) / n
    expected = mean * factor[used].mean() if used.any() else mean
    ratio = np.divide(square - mean**2, expected, out=np.zeros(g), where=expected > 0)
    return np.asarray((ratio - 1) * np.sqrt(n / 2))


def variable_genes(
    counts: Counts, most: int, wanted: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Columns of the most variable genes, and of the wanted ones that were ever seen, in order.

    Raises
    ------
    InputError
        When no gene was seen at all.
    """
    seen = np.flatnonzero(counts.gene_totals > 0)
    if not len(seen):
        raise InputError("All counts are zero.", "Open the filtered matrix of this slide.")
    if len(seen) <= most:
        return seen
    score = overdispersion(counts)[seen]
    chosen = seen[np.argsort(-score, kind="stable")[:most]]
    if wanted is not None and len(wanted) <= most:
        chosen = np.union1d(chosen, np.intersect1d(wanted, seen))
    return np.sort(chosen)
