"""How far a method may trust a location's own counts, learned from locations left out."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.methods.conformal import left_out_variances
from napari_stsr.results.expression import Composed, Floats32
from napari_stsr.results.posterior import Trust
from napari_stsr.training.progress import Progress, Run

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Fewer locations tell nothing reliable.
_FEWEST = 20


def learn_trust(
    expected: Composed, truth: sparse.csr_matrix, totals: Floats, run: Run
) -> Generator[Progress, None, Trust | None]:
    """Compare what neighbours tell of left-out locations with what was counted there.

    Parameters
    ----------
    expected : Composed
        Expected counts of left-out locations (r, g), each told by all others.
    truth : CSR matrix (r, g)
        Their counts.
    totals : (r,) float array
        Their totals in the genes the depth of `expected` is counted in.
    run : Run

    Returns
    -------
    Trust or None
        None where too few were left out.
    """
    if len(totals) < _FEWEST:
        return None
    told = np.maximum(expected.depth.astype(np.float64), 1e-9)
    # E (T − d)² = d + φ d² for totals T with counting noise around an expectation d.
    beyond = float(((totals - told) ** 2 - told).sum() / (told**2).sum())
    trust = Trust(max(beyond, 0.0), np.zeros(truth.shape[1]))
    gain = trust.of_totals(told, totals)[:, None].astype(np.float32)

    def at_own_depth(genes: Ints) -> tuple[Floats32, Floats32]:
        values = expected.columns(genes) * gain
        return values, np.zeros_like(values)

    genes = yield from left_out_variances(truth, at_own_depth, run)
    return Trust(trust.depth, genes)
