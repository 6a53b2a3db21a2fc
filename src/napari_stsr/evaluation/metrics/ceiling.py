"""The noise ceiling: what a perfect prediction would score against a noisy truth.

A measured figure f(A) is its expectation given the tissue, e = E f(A), plus noise. The best
prediction is e, and it correlates with the measurement by

``corr(e, f(A)) = sd(e) / sd(f(A)) = √reliability``.

The reliability is the correlation of two measurements of the same tissue and depth whose noise is
independent. Where only one was made, its molecules are split at random into halves: Poisson counts
give independent halves, and Spearman and Brown's formula leads from the reliability r of a half to
that of the whole, ``2 r / (1 + r)`` (exact for counts, close for logs).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from napari_stsr.evaluation.metrics.agreement import pearson
from napari_stsr.evaluation.metrics.figures import Figures


def ceiling_from_repeats(
    first: ArrayLike, second: ArrayLike, scored: ArrayLike | None = None
) -> Figures:
    """Noise ceiling per gene from two independent measurements of equal depth: ``√r``.

    Parameters
    ----------
    first, second, scored : (m, g) arrays
        In the unit of the score: logs, or counts. A negative correlation gives 0.
    """
    return _root(pearson(first, second, scored), whole=False)


def ceiling_from_halves(
    first: ArrayLike, second: ArrayLike, scored: ArrayLike | None = None
) -> Figures:
    """Noise ceiling per gene of a whole measurement from its two halves: ``√(2 r / (1 + r))``."""
    return _root(pearson(first, second, scored), whole=True)


def _root(found: Figures, whole: bool) -> Figures:
    r = np.maximum(found.values, 0)
    return Figures(
        np.sqrt(2 * r / (1 + r) if whole else r), found.constant_truth, found.constant_prediction
    )
