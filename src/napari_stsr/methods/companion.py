"""A method and a pair of kernels, mixed: what each says of locations left out decides the shares.

Two estimates whose errors differ have a mean that is better than either. Kernels are steady where
little was measured, the network sharper where much was. They are mixed in what a place is made of
and in how much it holds: with compositions ``s``, ``f`` and depths ``S``, ``F`` of the two,

``expected = (v · S + (1 − v) · F) · (w · s + (1 − w) · f)``.

v is the share at which the own roots of held-out totals are met best, w that at which their
counts are likeliest under Poisson noise. Both are drawn to one half as if further locations had
voted for it: a small section holds too few to decide alone.

The kernels are the factor kernel and the Poisson kernel, in shares of their own; see `kernel_pair`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize_scalar

from napari_stsr.methods.field import FieldParams
from napari_stsr.methods.kernel_pair import KernelPair, KernelPairFitted, PairExpression
from napari_stsr.methods.measured import Measured
from napari_stsr.results.expression import Composed, Expression, Floats32, ScaledExpression
from napari_stsr.slides import Slide
from napari_stsr.training import Progress, Run

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_VOTES_FOR_HALF = 30
_TINY = 1e-9


@dataclass(frozen=True, eq=False)
class Companion:
    """Kernels of the same slide, and the method's shares beside them.

    Parameters
    ----------
    kernel : KernelPairFitted
    basis : (K,) float32 array
        Counts a factor brings in the genes the method's depth is counted in.
    share, depth_share : float
        Of the method, in what places are made of and in how much they hold, 0 … 1.
    """

    kernel: KernelPairFitted
    basis: Floats32
    share: float = 0.5
    depth_share: float = 0.5

    def mixed(
        self,
        own: Composed,
        field: PairExpression,
        area: Floats | float = 1.0,
        near: Floats32 | float = 1.0,
    ) -> MixedExpression:
        """Mix both answers at the same places.

        Parameters
        ----------
        own : Composed
        field : PairExpression
            What the kernels say of whole locations.
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

    def depth(self, field: PairExpression) -> Floats32:
        """Totals the kernels expect in the genes the method's depth is counted in, (m,)."""
        return np.asarray(field.factor.loadings @ self.basis)

    def kept(self) -> dict[str, NDArray[Any]]:
        """All it is made of but the slide, as arrays; see `again`."""
        shares = {"mix": np.array(self.share), "mix_depth": np.array(self.depth_share)}
        return {**self.kernel.learned, **shares, "basis": self.basis}

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
        learned, method = dict(held), KernelPair()
        shares = [float(learned.pop(name)) for name in ("mix", "mix_depth")]
        basis, params = learned.pop("basis"), cast(FieldParams, method.parameters("auto"))
        return cls(KernelPairFitted(method, measured, params, seed, learned), basis, *shares)


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
    """Fit the kernels, and find the method's shares at held-out locations.

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
    every, pair = np.union1d(wanted, trained), KernelPair()
    kernel = yield from pair.fit(slide, pair.parameters("auto"), run, every)
    assert isinstance(kernel, KernelPairFitted)
    taught = kernel.of_genes(slide, trained)
    basis = taught.factor.learned["profiles"].sum(axis=1).astype(np.float32)
    companion = Companion(kernel.of_genes(slide, wanted), basis)
    if not len(held):
        return companion
    truth, field = slide.counts.rows[held][:, trained], taught.left_out(held, run)
    totals = np.asarray(truth.sum(axis=1), dtype=np.float64).ravel()
    v = best_depth_share(own.depth, companion.depth(field), totals)
    both, genes = replace(companion, depth_share=v).mixed(own, field), np.arange(len(trained))
    w = best_share(both.first.columns(genes), both.second.columns(genes), truth)
    return replace(companion, share=w, depth_share=v)


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
