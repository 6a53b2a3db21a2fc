"""How far the truth lies from a prediction, learned from locations that were left out.

A count y whose expectation is predicted as p and known up to a standard deviation d is taken as
negative binomial with variance p + d². What p leaves open has a part the method can name itself
(`named`, as a share of p squared) and a rest, the relative variance φ of each gene::

    d² = c² · (φ_gene + named) · p²

φ comes from the likelihood of left-out counts, each gene drawn towards what is usual for all genes;
c from their coverage: it is set so that a 90 % interval holds 90 % of the left-out counts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree
from scipy.special import gammaln

from napari_stsr.methods.empirical_bayes import posterior
from napari_stsr.slides import Counts
from napari_stsr.training.progress import Progress, Run

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]
Told = Callable[[Ints], tuple[Floats32, Floats32]]

RELATIVE_VARIANCES = np.geomspace(1e-3, 10.0, 17)
_VOTES_FOR_ONE = 100
# Of rare genes randomised intervals hold nearly the same share whatever the factor.
_TELLING = 0.03
_LEAST, _MOST = 0.25, 4.0
_BLOCK_GENES = 512
_TELLING_GENES = 100
_FEWEST_COUNTS = 10


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
    """Relative variance of every gene, given how usual each value is among all; see `posterior`.

    Parameters
    ----------
    likelihood : (v, g) float array
        From `dispersion_likelihood`.

    Returns
    -------
    (g,) float array
        Geometric posterior mean.
    """
    return np.asarray(np.exp(np.log(RELATIVE_VARIANCES) @ posterior(likelihood)))


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


def left_out_variances(
    truth: sparse.csr_matrix, told: Told, run: Run
) -> Generator[Progress, None, Floats]:
    """Relative variance of every gene beyond counting noise and what is named, (g,).

    Parameters
    ----------
    truth : CSR matrix (r, g)
        Counts of left-out locations.
    told : callable
        Gives expected counts and the relative variance named of some genes.
    run : Run
    """
    totals = Counts(truth).gene_totals
    common = np.flatnonzero(totals >= _FEWEST_COUNTS)
    # Of genes with next to no counts all values are as likely: they take what is usual.
    likelihood = np.zeros((len(RELATIVE_VARIANCES), truth.shape[1]))
    for start in range(0, len(common), _BLOCK_GENES):
        run.cancel.check()
        yield Progress("measuring uncertainty", start, len(common), 0.99)
        block = common[start : start + _BLOCK_GENES]
        likelihood[:, block] = dispersion_likelihood(truth[:, block], *told(block))
    return relative_variances(likelihood)


def around_mean(truth: sparse.csr_matrix) -> Told:
    """What is told of genes of which only the mean is known."""
    mean = (Counts(truth).gene_totals / max(1, truth.shape[0])).astype(np.float32)

    def told(genes: Ints) -> tuple[Floats32, Floats32]:
        even = np.tile(mean[genes], (truth.shape[0], 1))
        return even, np.zeros_like(even)

    return told


def left_out_factor(
    truth: sparse.csr_matrix, told: Told, relative: Floats, run: Run, units: int | None = None
) -> float:
    """`conformal_factor` from the genes that tell most; see `left_out_variances`."""
    counts = Counts(truth)
    genes = np.sort(np.argsort(-counts.gene_totals, kind="stable")[:_TELLING_GENES])
    expected, named = told(genes)
    deviation = expected * np.sqrt(named + relative[genes].astype(np.float32))
    return conformal_factor(counts.dense(genes), expected, deviation, run.seed, units)


def faded(known: Floats, places: Floats, pitch_um: float, reach_um: float) -> Floats32:
    """How much of what measurements tell has faded at places (x, y) in µm: 0 … 1, (m,).

    It fades beyond one pitch from the nearest of the known places, as the weights of a normal
    kernel of width `reach_um` do.
    """
    away, _ = cKDTree(known).query(places)
    beyond = np.maximum(away - 1.01 * pitch_um, 0) / reach_um
    return np.asarray(1 - np.exp(-0.5 * beyond**2), dtype=np.float32)
