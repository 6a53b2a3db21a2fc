"""The conditional autoregressive (CAR) model of CARD, for a few values per location.

```text
y = v + ε,   v ~ N(b 1, λ (D − φW)⁻¹),   ε ~ N(0, ρλ I)          W: Gaussian weights, D: their sums
E[v | y]      = b + (I + ρQ)⁻¹ (y − b),   Q = D − φW
E[v_new | v]  = b + φ Σ_j w_j (v_j − b) / Σ_j w_j                 j: the measured ones around
```

A new place is joined to the measured ones alone, so its mean depends on no other target. φ is
shared by all columns of y; b, λ and ρ belong to each. All are found by marginal likelihood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

PHI = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
RHO = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
# Larger slides choose φ and ρ on so many locations in their middle.
_MOST = 5000
_LEAST_WEIGHT = 1e-6


def weights(
    places: Floats, sources: Floats, neighbours: int, bandwidth: float
) -> sparse.csr_matrix:
    """Gaussian weights of the nearest sources of each place, (m, n)."""
    most = min(neighbours, len(sources))
    away, near = cKDTree(sources).query(places, k=np.arange(1, most + 1))
    values = np.maximum(np.exp(-0.5 * (away / bandwidth) ** 2), _LEAST_WEIGHT)
    ends = np.arange(0, near.size + 1, most)
    shape = (len(places), len(sources))
    return sparse.csr_matrix((values.ravel(), near.ravel(), ends), shape=shape)


def graph(coordinates: Floats, neighbours: int, bandwidth: float) -> sparse.csr_matrix:
    """Symmetric weights between locations, none to itself; sums of 1 on average, (n, n)."""
    joined = weights(coordinates, coordinates, neighbours + 1, bandwidth)
    joined = joined.maximum(joined.T).tocsr()
    joined.setdiag(0)
    joined.eliminate_zeros()
    return (joined * (joined.shape[0] / joined.sum())).tocsr()


@dataclass(frozen=True, eq=False)
class Car:
    """A fitted model: φ, and mean b, noise ratio ρ and log-likelihood of every column."""

    phi: float
    mean: Floats
    rho: Floats
    likelihood: float

    @classmethod
    def fitted(
        cls, joined: sparse.csr_matrix, values: Floats, checked: Callable[[], None] = lambda: None
    ) -> Car:
        """Choose all parameters by marginal likelihood over the grids.

        Parameters
        ----------
        joined : CSR matrix (n, n)
            See `graph`.
        values : (n, c) float array
        checked : callable
            Called for every pair of φ and ρ; may raise to stop.
        """
        best: Car | None = None
        for phi in PHI:
            prior = precision(joined, phi)
            log_prior = _Solver(prior).log_determinant
            columns: list[tuple[Floats, Floats]] = []
            for rho in RHO:
                checked()
                columns.append(_profiled(prior, log_prior, values, rho))
            likelihood = np.array([column[1] for column in columns])
            chosen = np.argmax(likelihood, axis=0)
            each = np.arange(values.shape[1])
            total = float(likelihood[chosen, each].sum())
            if best is None or total > best.likelihood:
                mean = np.array([column[0] for column in columns])[chosen, each]
                best = cls(phi, mean, np.array(RHO)[chosen], total)
        assert best is not None
        return best

    def denoised(self, joined: sparse.csr_matrix, values: Floats) -> Floats:
        """Conditional means E[v | y] at the measured locations, (n, c)."""
        from scipy.sparse.linalg import cg

        prior, out = precision(joined, self.phi), np.empty_like(values)
        for column, (mean, rho) in enumerate(zip(self.mean, self.rho, strict=True)):
            system = sparse.identity(len(values)) + rho * prior
            solved, _ = cg(system, values[:, column] - mean, rtol=1e-9, maxiter=2000)
            out[:, column] = mean + solved
        return out

    def continued(self, near: sparse.csr_matrix, values: Floats) -> Floats:
        """Conditional means at new places, (m, c), given their `weights` to measured values."""
        sums = np.asarray(near.sum(axis=1))
        return np.asarray(self.mean + self.phi * (near @ (values - self.mean)) / sums)


def precision(joined: sparse.csr_matrix, phi: float) -> sparse.csc_matrix:
    """``D − φW``."""
    return (sparse.diags(np.asarray(joined.sum(axis=1)).ravel()) - phi * joined).tocsc()


def middle(coordinates: Floats) -> NDArray[np.int64]:
    """Locations to choose φ and ρ on: all, or those around the middle of a large slide."""
    if len(coordinates) <= _MOST:
        return np.arange(len(coordinates))
    away = np.linalg.norm(coordinates - np.median(coordinates, axis=0), axis=1)
    return np.sort(np.argpartition(away, _MOST)[:_MOST])


class _Solver:
    """Factorisation of a sparse positive definite matrix."""

    def __init__(self, matrix: sparse.csc_matrix) -> None:
        from scipy.sparse.linalg import splu

        options = {"SymmetricMode": True, "DiagPivotThresh": 0.0}
        self.factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", options=options)
        self.log_determinant = float(np.log(self.factors.U.diagonal()).sum())

    def __call__(self, right: Floats) -> Floats:
        return np.asarray(self.factors.solve(right))


def _profiled(
    prior: sparse.csc_matrix, log_prior: float, values: Floats, rho: float
) -> tuple[Floats, Floats]:
    """Best mean of every column and its log-likelihood, b and λ profiled out.

    The covariance of y is ``λ (Q⁻¹ + ρI)``; its inverse, times λ, is ``(I − (I + ρQ)⁻¹) / ρ``.
    """
    n = len(values)
    both = np.column_stack([np.ones(n), values])
    if rho > 0:
        noisy = _Solver((sparse.identity(n) + rho * prior).tocsc())
        inverse, log_noisy = (both - noisy(both)) / rho, noisy.log_determinant
    else:
        inverse, log_noisy = prior @ both, 0.0
    ones = inverse[:, 0].sum()
    mean = (inverse[:, 0] @ values) / ones
    quadratic = (values * inverse[:, 1:]).sum(axis=0) - ones * mean**2
    scale = np.maximum(quadratic / n, 1e-300)
    return mean, -0.5 * n * np.log(scale) + 0.5 * (log_prior - log_noisy)
