"""Logs of counts per 10,000, measured and expected.

The log of an expectation is not the expectation of the log: a method that answers with expected
counts is compared with measured logs through the log it expects to be measured.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stsr.errors import InputError

PER = 1e4
# Step of the quadrature in log s: its error falls like exp(-π² / step).
_STEP = 0.6
# Beyond this s, exp(-s) is nothing and all nodes share one exponential.
_ALIKE = 11.0
_TILE = 1 << 16


def measured_log(counts: ArrayLike, total: ArrayLike) -> NDArray[np.float32]:
    """Log of measured counts: ``log1p(10,000 · y / T)``, 0 where T is 0.

    Parameters
    ----------
    counts : (m, g) array
    total : (m,) array
        Measured total T of every location.
    """
    values = np.asarray(counts, dtype=np.float32)
    scaled = values * _per_total(values, total).astype(np.float32)[:, None]
    return np.asarray(np.log1p(scaled, out=scaled))


def expected_log(expected: ArrayLike, total: ArrayLike) -> NDArray[np.float32]:
    """Expectation of the log to be measured: ``E log1p(10,000 · Y / T)``, Y ~ Poisson(p).

    With c = 10,000 / T, Frullani's integral turns the sum over all counts into a smooth integral,

    ``E log(1 + cY) = ∫₀^∞ exp(-s/c) · (1 − exp(−p (1 − exp(−s)))) ds / s``,

    which the trapezoidal rule in log s gives with an absolute error below 1e-4 for every p and c,
    in about 20 exponentials. Y and T are taken as independent.

    Parameters
    ----------
    expected : (m, g) array
        Expected counts p ≥ 0.
    total : (m,) array
        Expected total T of every location over all genes; where it is 0 the log is 0.

    Raises
    ------
    InputError
        When an expected count is negative or no number, or the totals do not fit.
    """
    p = np.asarray(expected, dtype=np.float32)
    per_total = _per_total(p, total)
    if p.size and not (p.min() >= 0 and np.isfinite(p.max())):
        raise InputError(
            "Expected counts must be finite and not negative.",
            "Clip what a method predicts below zero.",
        )
    out = np.zeros(p.shape, dtype=np.float32)
    rows = max(1, _TILE // max(1, p.shape[1]))
    for start in range(0, len(p), rows):
        tile = slice(start, start + rows)
        there = per_total[tile] > 0
        if there.all():
            _integrate(p[tile], per_total[tile], out[tile])
        elif there.any():
            part = np.zeros((int(there.sum()), p.shape[1]), dtype=np.float32)
            _integrate(p[tile][there], per_total[tile][there], part)
            out[tile][there] = part
    return out


def _per_total(values: NDArray[np.float32], total: ArrayLike) -> NDArray[np.float64]:
    """10,000 / T, or 0 where T is 0."""
    totals = np.asarray(total, dtype=np.float64)
    if values.ndim != 2 or totals.shape != values.shape[:1]:
        raise InputError(
            f"Counts are {values.shape}, but totals are {totals.shape}.", "Give one total a row."
        )
    return np.divide(PER, totals, out=np.zeros_like(totals), where=totals > 0)


def _integrate(p: NDArray[np.float32], c: NDArray[np.float64], out: NDArray[np.float32]) -> None:
    """Add the integral for one tile (r, g) to `out`."""
    largest = float(p.max())
    if largest == 0:
        return
    # Left of the first node the integrand is p·s, up to p·s²·(1 + p + 1/c) / 2.
    first = np.sqrt(4e-8 / (largest * (1 + largest + 1 / c.min())))
    until = max(_ALIKE, 15 * c.max())
    s = first * np.exp(_STEP * np.arange(np.ceil(np.log(until / first) / _STEP) + 1))
    weight = _STEP * np.exp(-s / c[:, None])
    inner = s < _ALIKE
    out += np.float32(_STEP * first / np.expm1(_STEP)) * p
    nodes = [*zip(-np.expm1(-s[inner]), weight[:, inner].T), (1.0, weight[:, ~inner].sum(axis=1))]
    left = np.empty_like(p)
    for share, row_weight in nodes:
        np.multiply(p, np.float32(-share), out=left)
        np.exp(left, out=left)
        np.subtract(1, left, out=left)
        left *= row_weight.astype(np.float32)[:, None]
        out += left
