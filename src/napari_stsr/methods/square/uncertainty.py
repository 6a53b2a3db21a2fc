"""How sure Square is: what it knows itself, and what left-out locations teach.

With expected counts p, of which Square says s and the factor kernel f in the shares w and 1 − w::

    sd² = c² p² (φ + e + m)
    e   = (w s / p)² Σ_l J_l² Var z_l      Var z_l = Σ_j ᾱ_j² s_jl²,   J = ∂ log s / ∂z
    m   = w (1 − w) (s − f)² / p²

e carries the posterior of the autoencoder through attention and decoder, to first order; m is the
disagreement of the two. φ is the relative variance that left-out counts show beyond these and
beyond counting noise, one a gene, and c the factor at which intervals hold their share of them.
There is a φ for places nobody measured and one for the parts of measured locations, which are as
uncertain as the parts of pooled blocks. Farther than a pitch from any measurement φ grows to the
variance of a gene of which only the mean is known.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from napari_stsr.methods.conformal import (
    conformal_factor,
    dispersion_likelihood,
    relative_variances,
)
from napari_stsr.methods.layers.likelihood import SparseBatch
from napari_stsr.methods.square.embedding import Codec, Vae
from napari_stsr.methods.square.mixing import MixedExpression
from napari_stsr.methods.square.nodes import Nodes
from napari_stsr.results.expression import Expression, Floats32
from napari_stsr.slides import Counts
from napari_stsr.training import Progress, Run

if TYPE_CHECKING:
    from napari_stsr.methods.square.learned import Learned

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
# Left-out locations that are looked at, and those of them no network was trained on.
MOST_LEFT_OUT = 600
_BLOCK_GENES = 512
_TELLING_GENES = 100
# Above this many targets the doubt of the embedding, a matrix product a gene, is left out.
_MOST_TARGETS = 200_000
_TINY = np.float32(1e-9)


@dataclass(frozen=True, eq=False)
class Spread:
    """What was learned about the distance between truth and prediction.

    Attributes
    ----------
    hidden, inside, unknown : (g,) float arrays
        Relative variance at places nobody measured, of parts of measured locations, and of a gene
        of which only the mean is known.
    factors : (2,) float array
        Conformal factors of hidden places and of parts.
    noise : (n, latent) float32 array, optional
        Posterior variance of the embeddings of all locations.
    """

    hidden: Floats
    inside: Floats
    unknown: Floats
    factors: Floats
    noise: Floats32 | None


@dataclass(frozen=True, eq=False)
class EmbeddingNoise:
    """Variance of the embedding, carried through the decoder to first order.

    Parameters
    ----------
    variance : (m, latent) float32 array
        Of the targets' embeddings.
    slope : (m, h) float32 array
        Derivative of the decoder's hidden states by their input.
    entry : (h, latent) float32 array
        First layer of the decoder.
    weight : (g, h) float32 array
        Last layer, around its mean: raising all genes alike changes no composition.
    """

    variance: Floats32
    slope: Floats32
    entry: Floats32
    weight: Floats32

    @classmethod
    def of(cls, learned: Learned, z: torch.Tensor, variance: Floats32) -> EmbeddingNoise | None:
        """Noise at targets with embeddings `z`; None where it is not known or would cost much."""
        codec = learned.codec
        if not isinstance(codec, Vae) or not variance.size or len(z) > _MOST_TARGETS:
            return None
        linear = codec.decoder[0]
        with torch.no_grad():
            entry = linear.weight.detach().cpu()
            state = z @ entry.T + linear.bias.detach().cpu()
            gate = torch.sigmoid(state)
            slope = gate * (1 + state * (1 - gate))
            output = codec.output.weight.detach().cpu().numpy()
            share = torch.softmax(codec.output.bias.detach().cpu(), dim=0).numpy()
        return cls(variance, slope.numpy(), entry.numpy(), learned.weight - share @ output)

    def columns(self, genes: Ints) -> Floats32:
        """Relative variance of the given genes, (m, len(genes))."""
        out = np.empty((len(self.slope), len(genes)), dtype=np.float32)
        for column, gene in enumerate(genes):
            turned = self.slope @ (self.weight[gene][:, None] * self.entry)
            out[:, column] = np.einsum("il,il,il->i", turned, turned, self.variance)
        return out

    def take(self, targets: Ints | NDArray[np.bool_]) -> EmbeddingNoise:
        """Return some targets."""
        return EmbeddingNoise(
            self.variance[targets], self.slope[targets], self.entry, self.weight
        )


@dataclass(frozen=True, eq=False)
class OwnDoubt:
    """Expected counts with the relative variance that Square knows itself."""

    expected: Expression
    noise: EmbeddingNoise | None

    def columns(self, genes: Ints) -> tuple[Floats32, Floats32]:
        """Expected counts and their relative variance (e + m), both (m, len(genes))."""
        mixed = self.expected
        if isinstance(mixed, MixedExpression):
            share = np.float32(mixed.share)
            own, other = mixed.first.columns(genes), mixed.second.columns(genes)
            expected = share * own + (1 - share) * other
            per = 1 / np.maximum(expected, _TINY)
            relative = share * (1 - share) * ((own - other) * per) ** 2
            weight = (share * own * per) ** 2
        else:
            expected = mixed.columns(genes)
            relative, weight = np.zeros_like(expected), np.ones_like(expected)
        if self.noise is not None:
            relative += weight * self.noise.columns(genes)
        return expected, relative

    def take(self, targets: Ints | NDArray[np.bool_]) -> OwnDoubt:
        """Return some targets."""
        noise = None if self.noise is None else self.noise.take(targets)
        return OwnDoubt(self.expected.take(targets), noise)


@dataclass(frozen=True, eq=False)
class SpreadExpression:
    """Standard deviation of expected counts, computed for the genes asked.

    Parameters
    ----------
    doubt : OwnDoubt
    spread : Spread
    inside : (m,) bool array
        Targets that see the location they are a part of.
    far : (m,) float32 array
        0 within a pitch of a measurement, 1 where nothing is known but the mean.
    """

    doubt: OwnDoubt
    spread: Spread
    inside: NDArray[np.bool_]
    far: Floats32

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.doubt.expected.shape

    def columns(self, genes: Ints) -> Floats32:
        """Standard deviations of the given gene columns."""
        expected, relative = self.doubt.columns(genes)
        spread, inside = self.spread, self.inside[:, None]
        hidden = spread.hidden[genes].astype(np.float32)
        more = np.maximum(spread.unknown[genes].astype(np.float32) - hidden, 0)
        beyond = hidden + self.far[:, None] * more
        relative += np.where(inside, spread.inside[genes].astype(np.float32), beyond)
        factor = np.where(inside, *spread.factors[::-1]).astype(np.float32)
        return np.asarray(factor * np.sqrt(relative) * expected, dtype=np.float32)

    def take(self, targets: Ints | NDArray[np.bool_]) -> SpreadExpression:
        """Return some targets."""
        return SpreadExpression(
            self.doubt.take(targets), self.spread, self.inside[targets], self.far[targets]
        )


def distance_share(learned: Learned, places: Floats) -> Floats32:
    """How much of what neighbours tell has faded at places (x, y) in µm: 0 … 1, (m,).

    It fades beyond one pitch from the nearest measured location, as the weights of the kernel do.
    """
    pitch = learned.lattice.pitch_um
    companion = learned.companion
    reach = learned.params.rings * pitch
    if companion is not None:
        reach = max(reach, float(companion.kernel.learned["bandwidth"]))
    usable = learned.observed.usable[: len(learned.coordinates)].numpy()
    away, _ = cKDTree(learned.coordinates[usable]).query(places)
    beyond = np.maximum(away - 1.01 * pitch, 0) / reach
    return np.asarray(1 - np.exp(-0.5 * beyond**2), dtype=np.float32)


def posterior_variance(codec: Codec, nodes: Nodes, chunk: int = 2048) -> Floats32 | None:
    """Posterior variance of the embeddings of all locations; None without an autoencoder."""
    if not isinstance(codec, Vae):
        return None
    device = codec.output.weight.device
    out = np.empty((nodes.locations, codec.latent), dtype=np.float32)
    for start in range(0, nodes.locations, chunk):
        rows = nodes.counts[start : start + chunk]
        with torch.no_grad():
            _, log_variance = codec.posterior(SparseBatch.of(rows, device).dense())
        out[start : start + chunk] = log_variance.exp().float().cpu().numpy()
    return out


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Predictions of places whose counts were left out, with these counts.

    Attributes
    ----------
    doubt : OwnDoubt
        (r, g).
    truth : CSR matrix (r, g)
    fresh : (r,) bool array
        No network was trained on them.
    each : int
        Rows that were left out together.
    """

    doubt: OwnDoubt
    truth: sparse.csr_matrix
    fresh: NDArray[np.bool_]
    each: int = 1


def learn_spread(
    hidden: LeftOut, parts: LeftOut | None, noise: Floats32 | None, run: Run
) -> Generator[Progress, None, Spread]:
    """Learn from left-out locations, and from the parts of blocks, how far the truth lies."""
    yield Progress("measuring uncertainty", 0, 1, 0.99)
    outside = yield from _relative(hidden, run)
    far = relative_variances(_around_mean(hidden.truth, run))
    factor = _factor(hidden, outside, run)
    inside, inside_factor = outside, factor
    if parts is not None:
        # A location that was measured cannot tell less about its parts than its neighbours do.
        inside = np.minimum((yield from _relative(parts, run)), outside)
        inside_factor = _factor(parts, inside, run)
    return Spread(outside, inside, far, np.array([factor, inside_factor]), noise)


def _relative(left_out: LeftOut, run: Run) -> Generator[Progress, None, Floats]:
    """Relative variance of every gene beyond counting noise and the method's own doubt."""
    found, genes = [], left_out.truth.shape[1]
    for start in range(0, genes, _BLOCK_GENES):
        run.cancel.check()
        block = np.arange(start, min(start + _BLOCK_GENES, genes))
        expected, named = left_out.doubt.columns(block)
        found.append(dispersion_likelihood(left_out.truth[:, block], expected, named))
        yield Progress("measuring uncertainty", start, genes, 0.99)
    return relative_variances(np.hstack(found))


def _around_mean(truth: sparse.csr_matrix, run: Run) -> Floats:
    """Likelihood of the relative variances of genes of which only the mean is known."""
    counts, found = Counts(truth), []
    mean = counts.gene_totals / max(1, truth.shape[0])
    for start in range(0, truth.shape[1], _BLOCK_GENES):
        run.cancel.check()
        block = np.arange(start, min(start + _BLOCK_GENES, truth.shape[1]))
        even = np.broadcast_to(mean[block].astype(np.float32), (truth.shape[0], len(block)))
        found.append(dispersion_likelihood(truth[:, block], even))
    return np.hstack(found)


def _factor(left_out: LeftOut, relative: Floats, run: Run) -> float:
    """Conformal factor, from what no network was trained on."""
    rows = np.flatnonzero(left_out.fresh)
    truth = Counts(left_out.truth[rows])
    genes = np.sort(np.argsort(-truth.gene_totals, kind="stable")[:_TELLING_GENES])
    expected, named = left_out.doubt.take(rows).columns(genes)
    deviation = expected * np.sqrt(named + relative[genes].astype(np.float32))
    units = len(rows) // left_out.each
    return conformal_factor(truth.dense(genes), expected, deviation, run.seed, units)
