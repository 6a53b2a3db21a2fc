"""Square and a factor kernel, mixed: what each says of locations left out decides the shares.

Two estimates whose errors differ have a mean that is better than either. The kernel is steady where
little was measured, the network sharper where much was. With expected counts ``s`` of Square and
``f`` of the kernel, ``expected = w · s + (1 − w) · f``, where w is the share at which the counts of
held-out locations are likeliest under Poisson noise, drawn to one half as if further locations had
voted for it: a small section holds too few to decide alone.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize_scalar

from napari_stsr.methods.baselines.factor_kernel import FactorKernel, FactorKernelFitted
from napari_stsr.results.expression import Expression, Floats32
from napari_stsr.slides import Slide
from napari_stsr.training import Progress, Run

Ints = NDArray[np.int64]
_VOTES_FOR_HALF = 30


@dataclass(frozen=True, eq=False)
class Companion:
    """A factor kernel of the same slide, and Square's share in their mean.

    Parameters
    ----------
    kernel : FactorKernelFitted
    share : float
        Of Square, 0 … 1.
    """

    kernel: FactorKernelFitted
    share: float


@dataclass(frozen=True, eq=False)
class MixedExpression:
    """Weighted mean of two expectations: ``share · first + (1 − share) · second``."""

    first: Expression
    second: Expression
    share: float

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.first.shape

    def columns(self, genes: Ints) -> Floats32:
        """Mixed counts of the given gene columns."""
        mixed = self.share * self.first.columns(genes)
        mixed += (1 - self.share) * self.second.columns(genes)
        return np.asarray(mixed, dtype=np.float32)

    def take(self, targets: Ints | NDArray[np.bool_]) -> MixedExpression:
        """Return some targets."""
        return MixedExpression(self.first.take(targets), self.second.take(targets), self.share)


def fit_kernel(
    slide: Slide, genes: Ints, run: Run
) -> Generator[Progress, None, FactorKernelFitted]:
    """Fit the factor kernel to the genes Square predicts."""
    method = FactorKernel()
    fitted = yield from method.fit(slide, method.parameters("auto"), run, genes)
    assert isinstance(fitted, FactorKernelFitted)
    return fitted


def best_share(
    square: Floats32, kernel: Floats32, truth: sparse.csr_matrix, votes: int = _VOTES_FOR_HALF
) -> float:
    """Square's share in the mean of two predictions of the same locations.

    Parameters
    ----------
    square, kernel : (r, g) float32 arrays
        Expected counts of held-out locations.
    truth : CSR matrix (r, g)
        Their counts.
    votes : int
        Locations that stand for one half.

    Returns
    -------
    float
        0 … 1; the Poisson likelihood of a mean of expectations has one maximum in it.
    """
    if not len(square):
        return 0.5
    entry = truth.tocoo()
    s, f = (p[entry.row, entry.col].astype(np.float64) + 1e-9 for p in (square, kernel))
    more = float(square.sum(dtype=np.float64) - kernel.sum(dtype=np.float64))

    def loss(share: float) -> float:
        return share * more - float(entry.data @ np.log(share * s + (1 - share) * f))

    found = minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-3})
    n = len(square)
    return float((n * found.x + votes * 0.5) / (n + votes))
