"""Whether stated uncertainty is right: coverage of intervals, and risk against coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stsr.errors import InputError

Floats = NDArray[np.float64]
LEVELS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Coverage:
    """Share of true values inside intervals, and the intervals' mean width."""

    share: float
    width: float


def interval_coverage(truth: ArrayLike, low: ArrayLike, high: ArrayLike) -> Coverage:
    """Share of true values with low ≤ truth ≤ high, and the mean of high − low.

    Raises
    ------
    InputError
        When shapes differ, a value is no number, or an interval ends before it starts.
    """
    t, a, b = _numbers(truth, low, high)
    if (b < a).any():
        raise InputError(f"{int((b < a).sum())} intervals end before they start.")
    return Coverage(float(((t >= a) & (t <= b)).mean()), float((b - a).mean()))


def probability_transform(
    truth: ArrayLike, expected: ArrayLike, deviation: ArrayLike, seed: int = 0
) -> Floats:
    """Where each count falls in its predicted distribution, uniform on (0, 1) if that is right.

    A count with expectation p, known up to a standard deviation d, is negative binomial with
    variance p + d² (Poisson where d = 0). As counts jump, u is drawn between F(y − 1) and F(y)
    (randomised transform, Czado et al. 2009), so that coverage can be read off at any level:
    `transformed_coverage`.
    """
    from scipy.stats import nbinom, poisson

    y, p, d = _numbers(truth, expected, deviation)
    if (p < 0).any() or (d < 0).any():
        raise InputError("Expected counts and deviations must not be negative.")
    size = np.divide(p**2, d**2, out=np.full(p.shape, np.inf), where=d > 0)
    # Nothing expected is nothing, however uncertain; and a huge size is a Poisson.
    plain = ~((size < 1e6) & (p > 0))
    below, at = np.empty(y.shape), np.empty(y.shape)
    below[plain] = poisson.cdf(y[plain] - 1, p[plain])
    at[plain] = poisson.pmf(y[plain], p[plain])
    r, chance = size[~plain], size[~plain] / (size[~plain] + p[~plain])
    below[~plain] = nbinom.cdf(y[~plain] - 1, r, chance)
    at[~plain] = nbinom.pmf(y[~plain], r, chance)
    u = np.random.default_rng(seed).random(y.shape)
    return np.asarray(np.clip(below + u * at, 0, 1))


def transformed_coverage(
    transformed: ArrayLike, levels: tuple[float, ...] = LEVELS
) -> dict[float, float]:
    """Coverage of central intervals at nominal levels, from `probability_transform`."""
    u = np.asarray(transformed, dtype=np.float64)
    if not u.size:
        raise InputError("There is no value to judge intervals by.")
    return {level: float((np.abs(u - 0.5) <= level / 2).mean()) for level in levels}


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Mean error of what is kept when the most uncertain is left out.

    Attributes
    ----------
    coverage : (n,) float array
        Share kept, most certain first.
    risk : (n,) float array
        Mean error among the kept.
    area : float
        Mean of `risk` over coverage.
    best_area, random_area : float
        The same for a perfect order by error, and without any order (the mean error).
    """

    coverage: Floats
    risk: Floats
    area: float
    best_area: float
    random_area: float


def risk_coverage(error: ArrayLike, uncertainty: ArrayLike) -> RiskCoverage:
    """Risk–coverage curve; items of equal uncertainty share their mean error.

    Parameters
    ----------
    error, uncertainty : (n,) arrays
    """
    e, u = (values.ravel() for values in _numbers(error, uncertainty))
    order = np.argsort(u, kind="stable")
    _, group, size = np.unique(u[order], return_inverse=True, return_counts=True)
    tied = (np.bincount(group, e[order]) / size)[group]
    many = np.arange(1, len(e) + 1)
    risk = np.cumsum(tied) / many
    best = np.cumsum(np.sort(e)) / many
    return RiskCoverage(
        many / len(e), risk, float(risk.mean()), float(best.mean()), float(e.mean())
    )


def _numbers(*given: ArrayLike) -> list[Floats]:
    arrays = [np.asarray(values, dtype=np.float64) for values in given]
    if len({values.shape for values in arrays}) != 1 or not arrays[0].size:
        shapes = ", ".join(str(values.shape) for values in arrays)
        raise InputError(f"Values of shapes {shapes} cannot be compared.", "Give one of each.")
    if not all(np.isfinite(values).all() for values in arrays):
        raise InputError("Some of the values are no numbers.", "Leave them out.")
    return arrays
