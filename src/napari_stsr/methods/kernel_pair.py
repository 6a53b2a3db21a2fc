"""Factor kernel and Poisson kernel, mixed gene by gene.

The factor kernel lends every gene the strength of twenty programmes, the Poisson kernel knows no
other gene: the first is better for genes with few molecules, the second for those with a pattern of
their own. With what both say of whole locations::

    expected = (1 − u_g) · factor + u_g · Poisson

u_g is the share at which left-out locations are likeliest to be made of what they are (Poisson
counts at a location's own total), a posterior mean under the prior that makes all genes likeliest,
and drawn to zero as if further locations had voted for the factor kernel. Genes beyond the most
abundant keep the factor kernel.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_stsr.methods.baselines.bandwidth import left_out_seconds
from napari_stsr.methods.baselines.factor_kernel import (
    FactorExpression,
    FactorKernel,
    FactorKernelFitted,
)
from napari_stsr.methods.baselines.poisson_kernel import PoissonKernel, PoissonKernelFitted
from napari_stsr.methods.baselines.smoothing import Smoother
from napari_stsr.methods.empirical_bayes import posterior
from napari_stsr.methods.field import FieldFitted, FieldMethod, Floats
from napari_stsr.methods.measured import Measured
from napari_stsr.results.expression import Floats32, ScaledExpression
from napari_stsr.slides import Slide
from napari_stsr.training.progress import Progress, Run, spanned

Ints = NDArray[np.int64]
SHARES = np.linspace(0.0, 1.0, 11)
# Genes that are judged: those of which there is most.
_MOST_JUDGED = 2000
# Left-out locations that judge, and those that vote for the factor kernel beforehand.
_MOST_JUDGES, _VOTES_FOR_FACTORS = 1000, 100
_BLOCK_GENES = 100
_TINY = 1e-9


@dataclass(frozen=True, eq=False)
class PairExpression:
    """Weighted mean of what two kernels expect, each gene with its own share.

    Parameters
    ----------
    factor : FactorExpression
        (m, g).
    poisson : ScaledExpression
        (m, g); only asked for genes in which it has a share.
    share : (g,) float32 array
        Of the Poisson kernel.
    """

    factor: FactorExpression
    poisson: ScaledExpression
    share: Floats32

    @property
    def shape(self) -> tuple[int, int]:
        """Places and genes."""
        return self.factor.shape

    def columns(self, genes: Ints) -> Floats32:
        """Expected counts of the given gene columns."""
        out = self.factor.columns(genes)
        both = np.flatnonzero(self.share[genes] > 0)
        if len(both):
            share = self.share[genes[both]]
            out[:, both] = (1 - share) * out[:, both] + share * self.poisson.columns(genes[both])
        return out

    def take(self, targets: Ints | NDArray[np.bool_]) -> PairExpression:
        """Return some places."""
        return PairExpression(self.factor.take(targets), self.poisson.take(targets), self.share)


class KernelPairFitted(FieldFitted):
    """What both kernels learned, and the share of the Poisson kernel in every gene."""

    per_gene: ClassVar[Mapping[str, int]] = {
        "factor/profiles": 1,
        "poisson/bandwidth": 0,
        "share": 0,
    }

    @property
    def reach_um(self) -> float:
        """How far what it says of a place draws on."""
        return self.factor.reach_um

    @cached_property
    def factor(self) -> FactorKernelFitted:
        """The factor kernel."""
        return FactorKernelFitted(*self._half(FactorKernel(), "factor/"))

    @cached_property
    def poisson(self) -> PoissonKernelFitted:
        """The Poisson kernel; of genes it has no share in it knows the mean only."""
        return PoissonKernelFitted(*self._half(PoissonKernel(), "poisson/"))

    def _half(self, method: FieldMethod, prefix: str) -> tuple[Any, ...]:
        held = self.learned.items()
        learned = {name.removeprefix(prefix): a for name, a in held if name.startswith(prefix)}
        return method, self.measured, method.parameters("auto"), self.seed, learned

    def field(self, coordinates: Floats, run: Run) -> tuple[PairExpression, None]:
        """Ask both kernels."""
        return self._smoothed(Smoother.of(self.measured, coordinates), run), None

    def left_out(self, locations: Ints, run: Run) -> PairExpression:
        """Expected counts of measured locations, each told by all others."""
        return self._smoothed(Smoother.left_out(self.measured, locations), run)

    def _smoothed(self, smoother: Smoother, run: Run) -> PairExpression:
        factor, poisson = self.factor.smoothed(smoother, run), self.poisson.smoothed(smoother)
        return PairExpression(factor, poisson, self.learned["share"])


class KernelPair(FieldMethod):
    """The companion of the networks; whatever genes are asked, the slide's most abundant decide."""

    name = "kernel_pair"
    title = "Kernel pair"
    summary = "Factor kernel and Poisson kernel, mixed gene by gene."
    fitted = KernelPairFitted

    def learn(
        self, slide: Slide, measured: Measured, params: Any, run: Run
    ) -> Generator[Progress, None, dict[str, NDArray[Any]]]:
        """Learn both kernels, and compare them at left-out locations."""
        judged = _most_abundant(slide, _MOST_JUDGED)
        every = np.union1d(measured.gene_columns, judged)
        factors = FactorKernel()
        fitting = factors.fit(slide, factors.parameters("auto"), run, every)
        factor = yield from spanned(fitting, (0.0, 0.6))
        counting = PoissonKernel()
        fitting = counting.fit(slide, counting.parameters("auto"), run, judged)
        poisson = yield from spanned(fitting, (0.6, 0.95))
        comparing = _shares(factor.of_genes(slide, judged), poisson, run)
        share = yield from spanned(comparing, (0.95, 1.0))
        held = {f"poisson/{name}": array for name, array in poisson.learned.items()}
        asked = measured.gene_columns
        held |= {
            "poisson/bandwidth": _placed(poisson.learned["bandwidth"], judged, asked, np.inf),
            "share": _placed(share, judged, asked, 0.0).astype(np.float32),
        }
        learned = factor.of_genes(slide, asked).learned
        return held | {f"factor/{name}": array for name, array in learned.items()}

    def seconds(self, slide: Slide, params: Any) -> float:
        """Time of both kernels on one processor core."""
        factors, judged = FactorKernel(), min(_MOST_JUDGED, len(slide.genes))
        # The most abundant genes hold most of the molecules, and less of the non-zeros.
        stored = slide.counts.nnz * min(1.0, 2 * judged / len(slide.genes))
        bandwidths = left_out_seconds(len(slide), judged, int(stored))
        return factors.seconds(slide, factors.parameters("auto")) + bandwidths


def best_shares(one: Floats32, other: Floats32, truth: NDArray[np.floating[Any]]) -> Floats:
    """Share of the other prediction in the mean of two, gene by gene.

    Parameters
    ----------
    one, other : (r, g) float arrays
        Expected counts of left-out locations.
    truth : (r, g) float array
        Their counts. A location's total is taken as known: what it is made of decides.

    Returns
    -------
    (g,) float array
        0 … 1, drawn to 0.
    """
    totals = truth.sum(axis=1, keepdims=True)
    likelihood = np.empty((len(SHARES), truth.shape[1]))
    for number, share in enumerate(SHARES.astype(np.float32)):
        rate = np.maximum((1 - share) * one + share * other, np.float32(_TINY))
        rate *= totals / rate.sum(axis=1, keepdims=True)
        np.maximum(rate, np.float32(_TINY), out=rate)
        whole = rate.sum(axis=0, dtype=np.float64)
        likelihood[number] = np.einsum("ig,ig->g", truth, np.log(rate), dtype=np.float64) - whole
    r = len(truth)
    return np.asarray(SHARES @ posterior(likelihood) * (r / (r + _VOTES_FOR_FACTORS)))


def _shares(
    factor: FieldFitted, poisson: FieldFitted, run: Run
) -> Generator[Progress, None, Floats]:
    """Shares of the Poisson kernel, both fitted to the same genes."""
    assert isinstance(factor, FactorKernelFitted)
    assert isinstance(poisson, PoissonKernelFitted)
    measured, many = poisson.measured, len(poisson.measured.genes)
    able = np.flatnonzero(measured.totals > 0)
    rng = np.random.default_rng([run.seed, 47])
    judges = np.sort(rng.permutation(able)[:_MOST_JUDGES])
    truth = measured.counts.rows[judges].toarray().astype(np.float32)
    one = factor.left_out(judges, run).columns(np.arange(many))
    other, said = np.empty_like(one), poisson.left_out(judges, run)
    # On a large slide every gene takes a look at all locations.
    for start in range(0, many, _BLOCK_GENES):
        run.cancel.check()
        yield Progress("comparing kernels", start, many, start / many)
        genes = np.arange(start, min(start + _BLOCK_GENES, many))
        other[:, genes] = said.columns(genes)
    return best_shares(one, other, truth)


def _most_abundant(slide: Slide, most: int) -> Ints:
    """Columns of the genes with most counts, ascending."""
    return np.sort(np.argsort(-slide.counts.gene_totals, kind="stable")[:most])


def _placed(values: NDArray[Any], genes: Ints, wanted: Ints, otherwise: float) -> NDArray[Any]:
    """Values of some genes (ascending) in the order of those wanted."""
    at = np.searchsorted(genes, wanted).clip(max=len(genes) - 1)
    return np.where(genes[at] == wanted, values[at], otherwise)
