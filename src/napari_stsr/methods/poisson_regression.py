"""Output weights for genes the embedding was not trained on: Poisson regression, all genes at once.

``log mean[i, g] = offset[i] + hidden[i] · weight[g] + bias[g]``, with a normal prior on the weights
of the standardised hidden states. At a constant rate r_g the Hessian of gene g is r_g·H with one
H = Σ e_i h_i h_iᵀ, e = exp(offset), for all genes; in its eigenbasis a Newton step is a division.
That step preconditions the exact gradient, and each gene halves its own step until its objective
grows. The prior's precision is chosen on locations left out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats32 = NDArray[np.float32]
Floats = NDArray[np.float64]
_BLOCK = 512


def poisson_weights(
    hidden: Floats32,
    offset: Floats32,
    counts: sparse.csr_matrix,
    *,
    ridge: float,
    steps: int = 12,
    checked: Callable[[float], None] = lambda done: None,
) -> tuple[Floats32, Floats32]:
    """Weights (g, h) and biases (g,) of all genes.

    Parameters
    ----------
    hidden : (n, h) array
    offset : (n,) array
        Log depth minus log softmax denominator.
    counts : CSR matrix (n, g)
    ridge : float
        Precision of the prior on weights of standardised states.
    steps : int
        Newton-like steps.
    checked : callable
        Called with the share done after every block of genes; may raise to stop.

    Notes
    -----
    A gene never seen gets the rate of a thousandth of a molecule on the whole slide.
    """
    exposure = np.exp(offset.astype(np.float64))
    mean = np.average(hidden, axis=0, weights=exposure)
    spread = np.sqrt(np.average((hidden - mean) ** 2, axis=0, weights=exposure)) + 1e-6
    standard = (hidden - mean) / spread
    curvature, basis = np.linalg.eigh((standard * exposure[:, None]).T @ standard)
    states = (standard @ basis).astype(np.float32)
    genes = counts.shape[1]
    columns = counts.tocsc()
    weight, bias = np.zeros((genes, hidden.shape[1])), np.zeros(genes)
    for start in range(0, genes, _BLOCK):
        block = slice(start, start + _BLOCK)
        turned, bias[block] = _newton(
            states, offset, curvature, columns[:, block], float(exposure.sum()), ridge, steps
        )
        weight[block] = (basis @ turned).T / spread
        bias[block] -= weight[block] @ mean
        checked(min(1.0, (start + _BLOCK) / genes))
    return weight.astype(np.float32), bias.astype(np.float32)


def chosen_ridge(
    hidden: Floats32,
    offset: Floats32,
    counts: sparse.csr_matrix,
    seed: int,
    checked: Callable[[float], None] = lambda done: None,
    among: tuple[float, ...] = (10.0, 100.0, 1000.0, 10_000.0),
    most_genes: int = 1000,
) -> float:
    """Precision of the prior with the best Poisson likelihood on a fifth of locations left out.

    Parameters
    ----------
    hidden, offset, counts
        As for `poisson_weights`.
    seed : int
        Draws the locations left out and, of many genes, those tried.
    checked : callable
        As for `poisson_weights`.
    """
    rng = np.random.default_rng([seed, 11])
    held = rng.random(len(hidden)) < 0.2
    if held.all() or not held.any():
        return among[-1]
    genes = rng.permutation(counts.shape[1])[:most_genes]
    counts = counts[:, genes]
    truth = counts[held]
    scores = []
    for ridge in among:
        weight, bias = poisson_weights(
            hidden[~held], offset[~held], counts[~held], ridge=ridge, checked=checked
        )
        log_mean = hidden[held] @ weight.T + bias + offset[held, None]
        seen = float(truth.multiply(log_mean).sum())
        scores.append(seen - float(np.exp(np.minimum(log_mean, 25.0)).sum(dtype=np.float64)))
    return among[int(np.argmax(scores))]


def _newton(
    states: Floats32,
    offset: Floats32,
    curvature: Floats,
    counts: sparse.csc_matrix,
    exposure: float,
    ridge: float,
    steps: int,
) -> tuple[Floats, Floats]:
    """Weights (h, g) in the eigenbasis and biases (g,) of one block of genes."""
    totals = np.maximum(np.asarray(counts.sum(axis=0), dtype=np.float64).ravel(), 1e-3)
    pulled = np.asarray((counts.T @ states).T, dtype=np.float64)
    rate = totals / exposure
    scale = rate * np.maximum(curvature, 0)[:, None] + ridge
    weight, bias = np.zeros(pulled.shape), np.log(rate)
    best, size = np.full(len(totals), -np.inf), np.ones(len(totals))
    turn, lift = np.zeros_like(weight), np.zeros_like(bias)
    for _ in range(steps):
        tried, tried_bias = weight + size * turn, bias + size * lift
        log_mean = states @ tried.astype(np.float32) + tried_bias.astype(np.float32)
        expected = np.exp(np.minimum(log_mean + offset[:, None], 25.0))
        sums = expected.sum(axis=0, dtype=np.float64)
        value = (tried * pulled).sum(axis=0) + tried_bias * totals - sums
        value -= 0.5 * ridge * (tried**2).sum(axis=0)
        better = value >= best
        weight[:, better], bias[better] = tried[:, better], tried_bias[better]
        best[better] = value[better]
        size = np.where(better, np.minimum(1.0, 2 * size), 0.3 * size)
        gradient = pulled - (states.T @ expected) - ridge * tried
        turn[:, better] = (gradient / scale)[:, better]
        lift[better] = ((totals - sums) / totals)[better]
    return weight, bias
