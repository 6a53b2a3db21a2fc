"""A method and a kernel, mixed: what each says of locations left out decides the shares.

Two estimates whose errors differ have a mean that is better than either. The kernel is steady where
little was measured, the network sharper where much was. They are mixed in what a place is made of
and in how much it holds: with compositions ``s``, ``f`` and depths ``S``, ``F`` of the two,

``expected = (v · S + (1 − v) · F) · (w · s + (1 − w) · f)``.

v is the share at which the own roots of held-out totals are met best, w that at which their
counts are likeliest under Poisson noise. Both are drawn to one half as if further locations had
voted for it: a small section holds too few to decide alone.

The kernel is the factor kernel, or the Poisson kernel where that is clearly likelier: single cells
of mixed types are more than twenty programmes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize_scalar

from napari_stsr.methods.baselines.factor_kernel import (
    FactorExpression,
    FactorKernel,
    FactorKernelFitted,
)
from napari_stsr.methods.baselines.poisson_kernel import PoissonKernel, PoissonKernelFitted
from napari_stsr.methods.field import FieldFitted, FieldMethod
from napari_stsr.methods.measured import Measured
from napari_stsr.results.expression import (
    Composed,
    Expression,
    Floats32,
    ScaledExpression,
    StoredExpression,
)
from napari_stsr.slides import Slide
from napari_stsr.training import Progress, Run
from napari_stsr.training.progress import spanned

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_KERNELS: dict[str, type[FieldMethod]] = {
    "factor_kernel": FactorKernel,
    "poisson_kernel": PoissonKernel,
}
_VOTES_FOR_HALF = 30
# Standard errors: on forty pooled spots two or three are nothing unusual.
_CLEARLY = 4.0
_TINY = 1e-9
# Values at all locations that are smoothed at once.
_MOST_VALUES = 40_000_000
# Genes on which the kernels are compared.
_MOST_JUDGED = 500


KernelFitted = FactorKernelFitted | PoissonKernelFitted
KernelExpression = FactorExpression | ScaledExpression


@dataclass(frozen=True, eq=False)
class Companion:
    """A kernel of the same slide, and the method's shares beside it.

    Parameters
    ----------
    kernel : FactorKernelFitted or PoissonKernelFitted
    basis : (K,) float32 array
        Counts a factor brings in the genes the method's depth is counted in; of the Poisson kernel
        the share (1,) that these genes have in all counts.
    share, depth_share : float
        Of the method, in what places are made of and in how much they hold, 0 … 1.
    """

    kernel: KernelFitted
    basis: Floats32
    share: float = 0.5
    depth_share: float = 0.5

    def mixed(
        self,
        own: Composed,
        field: KernelExpression,
        area: Floats | float = 1.0,
        near: Floats32 | float = 1.0,
    ) -> MixedExpression:
        """Mix both answers at the same places.

        Parameters
        ----------
        own : Composed
        field : FactorExpression or ScaledExpression
            What the kernel says of whole locations.
        area : (m,) float array or float
            Share of a location's area each place has.
        near : (m,) float array or float
            What the method's share in the depth is worth at each place, 0 … 1: less where it
            cannot see.
        """
        whole = np.maximum(self.depth(field), 1e-12)
        of_depth = self.depth_share * near
        depth = of_depth * own.depth + (1 - of_depth) * whole * area
        first = replace(own, depth=depth.astype(np.float32))
        share = np.full(len(whole), self.share, dtype=np.float32)
        return MixedExpression(first, ScaledExpression(field, depth / whole), share)

    def depth(self, field: KernelExpression) -> Floats32:
        """Totals the kernel expects in the genes the method's depth is counted in, (m,)."""
        if isinstance(field, FactorExpression):
            return np.asarray(field.loadings @ self.basis)
        return np.asarray(field.factor * self.basis[0], dtype=np.float32)

    def kept(self) -> dict[str, NDArray[Any]]:
        """All it is made of but the slide, as arrays; see `again`."""
        shares = {"share": np.array(self.share), "depth_share": np.array(self.depth_share)}
        name = np.array(self.kernel.method.name)
        return {**self.kernel.learned, **shares, "basis": self.basis, "kernel": name}

    @classmethod
    def again(cls, held: Mapping[str, NDArray[Any]], measured: Measured, seed: int) -> Companion:
        """Make a companion of what another kept.

        Parameters
        ----------
        held : mapping of str to array
        measured : Measured
            The slide, with the genes the other predicted.
        seed : int
        """
        learned = dict(held)
        method = _KERNELS[str(learned.pop("kernel"))]()
        shares = [float(learned.pop(name)) for name in ("share", "depth_share")]
        basis, params = learned.pop("basis"), cast(Any, method.parameters("auto"))
        kernel = method.fitted(method, measured, params, seed, learned)
        return cls(cast(KernelFitted, kernel), basis, *shares)


@dataclass(frozen=True, eq=False)
class MixedExpression:
    """Weighted mean of two expectations: ``share · first + (1 − share) · second``.

    Parameters
    ----------
    first, second : Expression
        The method's and the companion's, at one depth.
    share : (m,) float32 array
    """

    first: Composed
    second: Expression
    share: Floats32

    @property
    def depth(self) -> Floats32:
        """Expected total of every target in the genes the method's depth is counted in, (m,)."""
        return self.first.depth

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.first.shape

    def columns(self, genes: Ints) -> Floats32:
        """Mixed counts of the given gene columns."""
        share = self.share[:, None]
        mixed = share * self.first.columns(genes)
        mixed += (1 - share) * self.second.columns(genes)
        return np.asarray(mixed, dtype=np.float32)

    def disagreement(self, genes: Ints) -> tuple[Floats32, Floats32, Floats32]:
        """Expected counts p, and how far the two answers s and f differ, all (m, len(genes)).

        Returns
        -------
        expected, relative, weight
            p, ``w (1 − w) (s − f)² / p²``, and ``(w s / p)²``: what a relative variance of the
            first answer counts for in that of the mean.
        """
        share, floor = self.share[:, None], np.float32(_TINY)
        own, other = self.first.columns(genes), self.second.columns(genes)
        expected = share * own + (1 - share) * other
        per = 1 / np.maximum(expected, floor)
        relative = share * (1 - share) * ((own - other) * per) ** 2
        weight = (share * own * per) ** 2
        return np.asarray(expected), np.asarray(relative), np.asarray(weight)

    def take(self, targets: Ints | NDArray[np.bool_]) -> MixedExpression:
        """Return some targets."""
        first, second = self.first.take(targets), self.second.take(targets)
        return MixedExpression(first, second, self.share[targets])


def fit_companion(
    slide: Slide, wanted: Ints, trained: Ints, own: Composed, held: Ints, run: Run
) -> Generator[Progress, None, Companion]:
    """Fit the kernels, choose one, and find the method's shares at held-out locations.

    Whatever genes are wanted, those trained on decide, as the method's depth is counted in them.

    Parameters
    ----------
    slide : Slide
        With all genes.
    wanted, trained : (g,) and (t,) int arrays
        Columns of the genes to predict, and of those the networks were trained on, ascending.
    own : Composed
        The networks' answer (r, t) at the held-out locations, each told by all others.
    held : (r,) int array
    run : Run
    """
    every = np.union1d(wanted, trained)
    fitting = _fit(FactorKernel(), slide, every, run)
    kernel = cast(KernelFitted, (yield from spanned(fitting, (0.0, 0.8))))
    profiles = kernel.learned["profiles"][:, np.searchsorted(every, trained)]
    basis = profiles.sum(axis=1)
    if not len(held):
        return Companion(kernel.of_genes(slide, wanted), basis)
    truth = slide.counts.rows[held][:, trained]
    loadings = cast(FactorExpression, kernel.left_out(held, run)).loadings
    factors = FactorExpression(loadings, profiles)
    field: KernelExpression = factors
    judging = _poisson_is_likelier(slide, trained, factors, truth, held, run)
    if (yield from spanned(judging, (0.8, 0.9))):
        fitting = _fit(PoissonKernel(), slide, every, run)
        kernel = cast(KernelFitted, (yield from spanned(fitting, (0.9, 1.0))))
        basis = slide.counts.gene_totals[trained].sum(keepdims=True) / slide.counts.totals.sum()
        field = _read(kernel.of_genes(slide, trained), held, run)
    companion = Companion(kernel.of_genes(slide, wanted), basis.astype(np.float32))
    totals = np.asarray(truth.sum(axis=1), dtype=np.float64).ravel()
    v = best_depth_share(own.depth, companion.depth(field), totals)
    both, genes = replace(companion, depth_share=v).mixed(own, field), np.arange(len(trained))
    w = best_share(both.first.columns(genes), both.second.columns(genes), truth)
    return replace(companion, share=w, depth_share=v)


def _poisson_is_likelier(
    slide: Slide,
    trained: Ints,
    factors: FactorExpression,
    truth: sparse.csr_matrix,
    held: Ints,
    run: Run,
) -> Generator[Progress, None, bool]:
    """Judge both kernels at held-out locations, on the genes of which there is most."""
    most = np.argsort(-slide.counts.gene_totals[trained], kind="stable")[:_MOST_JUDGED]
    most.sort()
    poisson = yield from _fit(PoissonKernel(), slide, trained[most], run)
    own = replace(factors, profiles=factors.profiles[:, most])
    return clearly_likelier(_read(poisson, held, run), own, truth[:, most])


def _fit(
    method: FieldMethod, slide: Slide, genes: Ints, run: Run
) -> Generator[Progress, None, FieldFitted]:
    return (yield from method.fit(slide, method.parameters("auto"), run, genes))


def _read(kernel: FieldFitted, held: Ints, run: Run) -> ScaledExpression:
    """What a Poisson kernel says of held-out locations; in blocks, as it smooths whole genes."""
    field = cast(PoissonKernelFitted, kernel).left_out(held, run)
    r, t = field.shape
    values, block = np.empty((r, t), dtype=np.float32), max(1, _MOST_VALUES // len(kernel.measured))
    for start in range(0, t, block):
        run.cancel.check()
        genes = np.arange(start, min(start + block, t))
        values[:, genes] = field.whole.columns(genes)
    return replace(field, whole=StoredExpression(values))


def clearly_likelier(one: Expression, other: Expression, truth: sparse.csr_matrix) -> bool:
    """Whether one tells better than the other what locations are made of, beyond chance.

    Parameters
    ----------
    one, other : Expression
        Expected counts (r, t), each location told by all others.
    truth : CSR matrix (r, t)

    Returns
    -------
    bool
        The mean gain in multinomial log-likelihood is more than four times its standard error.
    """
    entry, genes = truth.tocoo(), np.arange(truth.shape[1])

    def of(expected: Expression) -> Floats:
        values = np.maximum(expected.columns(genes), np.float32(_TINY))
        shares = values / values.sum(axis=1, keepdims=True)
        logs = entry.data * np.log(shares[entry.row, entry.col])
        return np.asarray(np.bincount(entry.row, logs, minlength=truth.shape[0]))

    gain = of(one) - of(other)
    return bool(gain.mean() > _CLEARLY * gain.std() / np.sqrt(len(gain)))


def best_depth_share(own: Floats32, kernel: Floats32, totals: Floats) -> float:
    """The method's share in the mean of two predictions of the same totals, all (r,)."""
    root = np.sqrt(totals)

    def loss(share: float) -> float:
        return float(((root - np.sqrt(share * own + (1 - share) * kernel)) ** 2).sum())

    return _drawn_to_half(loss, len(totals), _VOTES_FOR_HALF)


def best_share(
    own: Floats32, kernel: Floats32, truth: sparse.csr_matrix, votes: int = _VOTES_FOR_HALF
) -> float:
    """The method's share in the mean of two predictions of the same locations.

    Parameters
    ----------
    own, kernel : (r, g) float32 arrays
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
    if not len(own):
        return 0.5
    entry = truth.tocoo()
    s, f = (p[entry.row, entry.col].astype(np.float64) + 1e-9 for p in (own, kernel))
    more = float(own.sum(dtype=np.float64) - kernel.sum(dtype=np.float64))

    def loss(share: float) -> float:
        return share * more - float(entry.data @ np.log(share * s + (1 - share) * f))

    return _drawn_to_half(loss, len(own), votes)


def _drawn_to_half(loss: Callable[[float], float], voters: int, votes: int) -> float:
    found = minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-3})
    return float((voters * found.x + votes * 0.5) / (voters + votes))
