"""Poisson factors of counts: ``y_ig ~ Poisson(T_i Σ_k a_ik b_kg)``, rows of a and b summing to 1.

Maximum likelihood by EM; the same as non-negative factorisation with the Kullback–Leibler loss
(Lee and Seung 2001) and as probabilistic latent semantics (Hofmann 1999)::

    r_ig = y_ig / Σ_k a_ik b_kg
    a_ik ← a_ik (Σ_g r_ig b_kg)^ω        b_kg ← b_kg (Σ_i r_ig a_ik / Σ_i a_ik)^ω

then rows to sum 1. ω = 1 is EM; ω below 2 converges to the same and in half the steps.

Counts are made dense a tile at a time: a product of dense tiles beats walking along the non-zeros
down to about one non-zero in fifty.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.results.expression import Floats32

Floats = NDArray[np.float64]
_TILE = 1024
# Values that stay in the cache from step to step.
_CACHED = 500_000
_TINY = np.float32(1e-12)
# Steps of plain EM before the relaxed ones, and their exponent.
_PLAIN_STEPS, _OMEGA = 10, 1.8
# EM stops when a step raises the log-likelihood by less than this share of it.
_ENOUGH = 2e-7


def fit_factors(
    counts: sparse.csr_matrix, factors: int, steps: int, seed: int
) -> Generator[int, None, tuple[Floats32, Floats32]]:
    """Factorise counts; yields the number of steps done, returns loadings and profiles.

    Parameters
    ----------
    counts : (n, v) float32 CSR matrix
        Few enough for a dense copy.
    factors : int
        Number of factors K.
    steps : int
        Steps of EM at most.
    seed : int
        Of the random start.

    Returns
    -------
    loadings : (n, K) float32 array
        a; rows sum to 1.
    profiles : (K, v) float32 array
        b; rows sum to 1.
    """
    rng = np.random.default_rng(seed)
    n, v = counts.shape
    tiles = [counts[start : start + _TILE].toarray() for start in range(0, n, _TILE)]
    loadings = _rows_to_one(rng.gamma(1.0, size=(n, factors)).astype(np.float32))
    mean = np.asarray(counts.sum(axis=0)).ravel() / max(float(counts.sum()), 1.0)
    profiles = _rows_to_one((mean * rng.gamma(5.0, size=(factors, v))).astype(np.float32))
    before = -np.inf
    for step in range(steps):
        power = np.float32(1.0 if step < _PLAIN_STEPS else _OMEGA)
        update, likelihood = np.zeros_like(profiles), 0.0
        whole = np.maximum(loadings.sum(axis=0), _TINY)[:, None]
        for number, tile in enumerate(tiles):
            own = loadings[number * _TILE : number * _TILE + len(tile)]
            share = own @ profiles
            np.maximum(share, _TINY, out=share)
            if step % 10 == 0:
                likelihood += float(np.einsum("ig,ig->", tile, np.log(share)))
            np.divide(tile, share, out=share)
            update += own.T @ share
            own *= (share @ profiles.T) ** power
        _rows_to_one(loadings)
        profiles = _rows_to_one(profiles * (update / whole) ** power)
        yield step + 1
        if step % 10 == 0:
            if likelihood - before < 10 * _ENOUGH * abs(likelihood):
                break
            before = likelihood
    return loadings, profiles


def fit_loadings(
    counts: sparse.csr_matrix, profiles: Floats32, start: Floats32, steps: int
) -> Generator[int, None, Floats32]:
    """Loadings (n, K) of any number of rows with known profiles; yields the rows done."""
    loadings = start.copy()
    for first in range(0, len(loadings), _TILE):
        own = loadings[first : first + _TILE]
        tile = counts[first : first + _TILE].toarray()
        for _ in range(steps):
            share = own @ profiles
            np.maximum(share, _TINY, out=share)
            np.divide(tile, share, out=share)
            own *= share @ profiles.T
            _rows_to_one(own)
        yield first + len(own)
    return loadings


def fit_profiles(counts: Floats32, amounts: Floats32, start: Floats32, steps: int) -> Floats32:
    """Profiles (K, b) of genes with known amounts of every factor.

    ``y_ig ~ Poisson(Σ_k amounts_ik b_kg)``

    Parameters
    ----------
    counts : (n, b) float32 array
    amounts : (n, K) float32 array
        Expected molecules of every factor at every location.
    start : (K, b) float32 array
        Positive where the gene may be.
    steps : int
    """
    profiles = start.copy()
    whole = np.maximum(amounts.sum(axis=0), _TINY)[:, None]
    width = max(1, _CACHED // max(1, len(counts)))
    for first in range(0, counts.shape[1], width):
        part = slice(first, first + width)
        measured, own = np.ascontiguousarray(counts[:, part]), profiles[:, part]
        for _ in range(steps):
            expected = amounts @ own
            np.maximum(expected, _TINY, out=expected)
            np.divide(measured, expected, out=expected)
            own *= (amounts.T @ expected) / whole
    return profiles


def _rows_to_one(values: NDArray[Any]) -> NDArray[Any]:
    """Scale rows in place to sum 1; rows of zeros become even."""
    sums = values.sum(axis=1, keepdims=True)
    empty = sums[:, 0] <= 0
    values[empty], sums[empty] = 1.0, values.shape[1]
    values /= sums
    return values
