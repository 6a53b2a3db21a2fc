"""How far the truth lies from a prediction, learned from locations that were left out.

A count y whose expectation is predicted as p and known up to a standard deviation d is taken as
negative binomial with variance p + d². What p leaves open has a part the method can name itself
(`named`, as a share of p squared) and a rest, the relative variance φ of each gene::

    d² = c² · (φ_gene + named) · p²

φ comes from the likelihood of left-out counts, each gene drawn towards what is usual for all genes;
c from their coverage: it is set so that a 90 % interval holds 90 % of the left-out counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import gammaln

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]

RELATIVE_VARIANCES = np.geomspace(1e-3, 10.0, 17)
_ROUNDS = 60
_VOTES_FOR_ONE = 100
# Of rare genes randomised intervals hold nearly the same share whatever the factor.
_TELLING = 0.03
_LEAST, _MOST = 0.25, 4.0


def dispersion_likelihood(
    counts: sparse.csr_matrix, expected: Floats32, named: Floats32 | None = None
) -> Floats:
    """Log-likelihood of every gene at every one of `RELATIVE_VARIANCES`, up to a constant.

    Parameters
    ----------
    counts : CSR matrix (r, g)
        Counts of left-out locations.
    expected : (r, g) float32 array
        Their prediction.
    named : (r, g) float32 array, optional
        Relative variance the method states itself.

    Returns
    -------
    (v, g) float array
    """
    p = np.maximum(expected, 1e-9).astype(np.float32)
    entry = counts.tocoo()
    row, column, y = entry.row, entry.col, entry.data.astype(np.float64)
    p_seen = p[row, column].astype(np.float64)
    found = np.empty((len(RELATIVE_VARIANCES), p.shape[1]))
    for number, phi in enumerate(RELATIVE_VARIANCES):
        relative = np.full_like(p, phi) if named is None else named + np.float32(phi)
        nothing = -(np.log1p(p * relative) / relative).sum(axis=0, dtype=np.float64)
        size = 1 / relative[row, column].astype(np.float64)
        own = gammaln(y + size) - gammaln(size) + y * np.log(p_seen / (p_seen + size))
        found[number] = nothing + np.bincount(column, own, minlength=p.shape[1])
    return found


def relative_variances(likelihood: Floats) -> Floats:
    """Relative variance of every gene, given how usual each value is among all genes.

    The prior of `RELATIVE_VARIANCES` is the one under which the counts of all genes are likeliest
    (empirical Bayes): a gene with few molecules takes what is usual, one with many its own.

    Parameters
    ----------
    likelihood : (v, g) float array
        From `dispersion_likelihood`.

    Returns
    -------
    (g,) float array
        Geometric posterior mean.
    """
    weight = np.exp(likelihood - likelihood.max(axis=0))
    prior = np.full(len(weight), 1 / len(weight))
    for _ in range(_ROUNDS):
        posterior = prior[:, None] * weight
        posterior /= posterior.sum(axis=0)
        prior = posterior.mean(axis=1)
    return np.asarray(np.exp(np.log(RELATIVE_VARIANCES) @ posterior))


def interval_share(
    counts: Floats, expected: Floats, deviation: Floats, drawn: Floats, level: float = 0.9
) -> float:
    """Share of counts inside their central interval, randomised where counts jump.

    Parameters
    ----------
    counts, expected, deviation, drawn : arrays of one shape
        `drawn` holds uniform random numbers.
    level : float
    """
    from scipy.stats import nbinom

    p = np.maximum(expected, 1e-9)
    size = np.minimum(p**2 / np.maximum(deviation, 1e-9) ** 2, 1e6)
    chance = size / (size + p)
    at = nbinom.cdf(counts - 1, size, chance) + drawn * nbinom.pmf(counts, size, chance)
    return float((np.abs(at - 0.5) <= level / 2).mean())


def conformal_factor(
    counts: Floats32,
    expected: Floats32,
    deviation: Floats32,
    seed: int = 0,
    units: int | None = None,
    level: float = 0.9,
    votes: int = _VOTES_FOR_ONE,
) -> float:
    """Factor on the deviation at which intervals hold their share of left-out counts.

    Parameters
    ----------
    counts, expected, deviation : (r, g) float arrays
        Of genes with enough counts to tell; of others any factor holds as many.
    seed : int
        Of the random numbers that make intervals of counts exact.
    units : int, optional
        How many locations or blocks were left out, if not one a row.
    level : float
    votes : int
        Locations that stand for a factor of one: a small section holds too few to decide alone.

    Returns
    -------
    float
        One where the counts cannot tell, because they are too rare or there are none.
    """
    if not counts.size:
        return 1.0
    given = (counts, expected, deviation)
    y, p, d = (np.asarray(values, dtype=np.float64).ravel() for values in given)
    drawn = np.random.default_rng([seed, 23]).random(len(y))

    def share(factor: float) -> float:
        return interval_share(y, p, factor * d, drawn, level)

    low, high = np.log(_LEAST), np.log(_MOST)
    if share(_MOST) - share(_LEAST) < _TELLING:
        return 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if share(float(np.exp(middle))) < level else (low, middle)
    n = len(counts) if units is None else units
    return float(np.exp((low + high) / 2 * n / (n + votes)))
