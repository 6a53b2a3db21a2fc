"""How sure Square is: what it knows itself, and what left-out locations teach.

With expected counts p, of which Square says s and the pair of kernels f, at one depth and in the
shares w and 1 − w::

    sd² = c² p² (φ + e + m)
    e   = (w s / p)² Σ_l J_l² Var z_l      Var z_l = Σ_j ᾱ_j² s_jl²,   J = ∂ log s / ∂z
    m   = w (1 − w) (s − f)² / p²

e carries the posterior of the autoencoder through attention and decoder, to first order; m is the
disagreement of the two. φ is the relative variance that counts show beyond these and beyond
counting noise, one a gene, and c the factor at which intervals hold their share of them. φ differs
between measured locations and such as are told by their neighbours alone; a part of either adds
what the parts of pooled blocks differ by. Farther than a pitch from any measurement φ grows to the
variance of a gene of which only the mean is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_stsr.methods.conformal import faded
from napari_stsr.methods.doubt import Doubt, beyond_reach
from napari_stsr.methods.square.embedding import Vae
from napari_stsr.results.expression import Floats32
from napari_stsr.results.posterior import OwnCounts

if TYPE_CHECKING:
    from napari_stsr.methods.square.learned import Learned

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
# Above this many targets or locations the doubt of the embedding, a matrix product a gene, is
# left out.
MOST_AT_ONCE = 200_000


@dataclass(frozen=True, eq=False)
class Spread:
    """What was learned about the distance between truth and prediction.

    Attributes
    ----------
    hidden, seen, within, unknown : (g,) float arrays
        Relative variance of a location told by its neighbours, of one that was measured, of the
        parts of a location beyond its own, and of a gene of which only the mean is known.
    factors : (2,) float array
        Conformal factors of hidden locations and of parts of measured ones.
    """

    hidden: Floats
    seen: Floats
    within: Floats
    unknown: Floats
    factors: Floats


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
    def of(cls, learned: Learned, z: Tensor, variance: Tensor) -> EmbeddingNoise | None:
        """Noise at targets with embeddings `z`; None where it is not known or would cost much."""
        codec = learned.codec
        if not isinstance(codec, Vae) or not len(variance) or len(z) > MOST_AT_ONCE:
            return None
        linear = codec.decoder[0]
        assert isinstance(linear, nn.Linear)
        with torch.no_grad():
            entry = linear.weight.detach().cpu()
            state = z @ entry.T + linear.bias.detach().cpu()
            gate = torch.sigmoid(state)
            slope = gate * (1 + state * (1 - gate))
            output = codec.output.weight.detach().cpu().numpy()
            share = torch.softmax(codec.output.bias.detach().cpu(), dim=0).numpy()
        centred = learned.weight - share @ output
        return cls(variance.numpy(), slope.numpy(), entry.numpy(), centred)

    def relative_variance(self, genes: Ints) -> Floats32:
        """Relative variance of the given genes, (m, len(genes))."""
        out = np.empty((len(self.slope), len(genes)), dtype=np.float32)
        for column, gene in enumerate(genes):
            turned = self.slope @ (self.weight[gene][:, None] * self.entry)
            out[:, column] = np.einsum("il,il,il->i", turned, turned, self.variance)
        return out

    def take(self, targets: Ints | NDArray[np.bool_]) -> EmbeddingNoise:
        """Return some targets."""
        return EmbeddingNoise(self.variance[targets], self.slope[targets], self.entry, self.weight)


@dataclass(frozen=True, eq=False)
class SpreadExpression:
    """Standard deviation of expected counts, computed for the genes asked.

    Parameters
    ----------
    doubt : Doubt
    spread : Spread
    seen : (m,) bool array
        Targets that see the measured location they are a part of.
    part : (m,) float32 array
        0 for whole locations, 1 for what is no larger than a subspot.
    far : (m,) float32 array
        0 within a pitch of a measurement, 1 where nothing is known but the mean.
    own : OwnCounts, optional
        Counts weighed afterwards: until then their targets are told by the others.
    """

    doubt: Doubt
    spread: Spread
    seen: NDArray[np.bool_]
    part: Floats32
    far: Floats32
    own: OwnCounts | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.doubt.expected.shape

    def columns(self, genes: Ints) -> Floats32:
        """Standard deviations of the given gene columns."""
        expected, relative = self.doubt.columns(genes)
        spread, seen = self.spread, self.seen[:, None]
        beyond = beyond_reach(spread.hidden[genes], spread.unknown[genes], self.far)
        known = spread.seen[genes].astype(np.float32)
        if self.own is not None:
            weighed = (self.own.parent >= 0)[:, None]
            known = np.where(weighed, self.own.trust.genes[genes].astype(np.float32), known)
        relative += np.where(seen, known, beyond)
        relative += self.part[:, None] * spread.within[genes].astype(np.float32)
        of_hidden, of_parts = spread.factors.astype(np.float32)
        factor = np.where(seen, of_parts, of_hidden)
        return np.asarray(factor * np.sqrt(relative) * expected, dtype=np.float32)

    def take(self, targets: Ints | NDArray[np.bool_]) -> SpreadExpression:
        """Return some targets."""
        return SpreadExpression(
            self.doubt.take(targets),
            self.spread,
            self.seen[targets],
            self.part[targets],
            self.far[targets],
            None if self.own is None else self.own.take(targets),
        )


def out_of_sight(learned: Learned, places: Floats) -> Floats32:
    """How far places (x, y) in µm lie beyond the context of the graph: 0 … 1, (m,)."""
    return _faded(learned, places, learned.params.rings * learned.lattice.pitch_um)


def distance_share(learned: Learned, places: Floats) -> Floats32:
    """How much of what neighbours tell has faded at places (x, y) in µm: 0 … 1, (m,)."""
    reach = learned.params.rings * learned.lattice.pitch_um
    if learned.companion is not None:
        reach = max(reach, learned.companion.kernel.reach_um)
    return _faded(learned, places, reach)


def _faded(learned: Learned, places: Floats, reach: float) -> Floats32:
    usable = learned.observed.usable[: len(learned.coordinates)].numpy()
    return faded(learned.coordinates[usable], places, learned.lattice.pitch_um, reach)
