"""Many genes, each with little to say: what is usual among all speaks for those that cannot."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_ROUNDS = 60


def posterior(likelihood: Floats) -> Floats:
    """How likely each value is for each gene, given how usual it is among all genes.

    The prior is the one under which the counts of all genes are likeliest (empirical Bayes, found
    by expectation maximisation): a gene with few molecules takes what is usual, one with many its
    own.

    Parameters
    ----------
    likelihood : (v, g) float array
        Log-likelihood of every gene at every value, up to a constant of the gene.

    Returns
    -------
    (v, g) float array
        Columns add up to one.
    """
    weight = np.exp(likelihood - likelihood.max(axis=0))
    prior = np.full(len(weight), 1 / len(weight))
    found = weight
    for _ in range(_ROUNDS):
        found = prior[:, None] * weight
        found /= found.sum(axis=0)
        prior = found.mean(axis=1)
    return np.asarray(found)
