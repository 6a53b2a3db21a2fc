"""What the peers learn from: logs of counts per 10,000, of locations deep enough to teach."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.methods.baselines.measured_logs import deep_enough

_SHALLOW = 0.02
_BLOCK = 32_768


def deep(totals: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Locations to learn from: a fiftieth of the typical depth or more.

    The published codes leave none out; a single molecule, scaled to 10,000, would outshout the
    whole slide.
    """
    return deep_enough(totals, _SHALLOW)


def log_normalised(
    counts: sparse.csr_matrix, totals: NDArray[np.float64], per: float = 1e4
) -> sparse.csr_matrix:
    """Logs of counts per 10,000 (or `per`), sparse float32 (n, g); empty rows stay empty."""
    factor = np.divide(per, totals, out=np.zeros(len(totals)), where=totals > 0)
    scaled = counts.data * np.repeat(factor, np.diff(counts.indptr))
    logs = np.log1p(scaled).astype(np.float32)
    return sparse.csr_matrix((logs, counts.indices, counts.indptr), shape=counts.shape)


def regressed_logs(
    counts: sparse.csr_matrix,
    totals: NDArray[np.float64],
    hidden: NDArray[np.floating[Any]],
    ridge: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Least-squares weights (d, g) and bias (g,) of the logs of all genes on hidden values.

    Parameters
    ----------
    counts : CSR matrix (n, g)
    totals : (n,) float array
    hidden : (n, d) array
    ridge : float
        Shrinks the weights, in units of the mean variance of the hidden values.
    """
    centre = hidden.mean(axis=0, dtype=np.float64)
    design = hidden - centre
    products, sums = np.zeros((counts.shape[1], design.shape[1])), np.zeros(counts.shape[1])
    for start in range(0, len(totals), _BLOCK):
        part = slice(start, start + _BLOCK)
        logs = log_normalised(counts[part], totals[part])
        products += logs.T @ design[part]
        sums += np.asarray(logs.sum(axis=0, dtype=np.float64)).ravel()
    gram = design.T @ design
    gram += (ridge * np.trace(gram) / len(gram) + 1e-9) * np.eye(len(gram))
    weight = np.linalg.solve(gram, products.T)
    bias = sums / len(totals) - centre @ weight
    return weight.astype(np.float32), bias.astype(np.float32)
