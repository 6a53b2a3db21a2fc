"""What Square has learned from a slide: networks, embeddings, measured counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stsr.methods.companion import Companion
from napari_stsr.methods.square.diffusion import Diffusion
from napari_stsr.methods.square.embedding import Codec
from napari_stsr.methods.square.graph_training import Observed
from napari_stsr.methods.square.params import SquareParams
from napari_stsr.methods.square.uncertainty import Spread
from napari_stsr.results.posterior import OwnCounts, Trust
from napari_stsr.slides import Counts, Genes, Lattice, PixelScale, Slide
from napari_stsr.training.device import placed

Ints = NDArray[np.int64]
Floats32 = NDArray[np.float32]


@dataclass(eq=False)
class Learned:
    """All that prediction needs: networks, embeddings of the slide, and its measured counts.

    Attributes
    ----------
    gene_columns : (g,) int array
        Column of the slide of every gene predicted.
    weight, bias : (g, h) and (g,) float32 arrays
        Output layer for the genes predicted; filled by `extend` for those not trained on.
    trained_columns : (t,) int array
        Columns of the slide the networks were trained on; the softmax runs over these.
    companion : Companion, optional
        What the networks' answer is mixed with.
    spread : Spread, optional
        How far the truth lies from the answer.
    trust : Trust, optional
        How far a location's own counts differ from what others tell.
    """

    name: str
    genes: Genes
    gene_columns: Ints
    measured: Counts
    lattice: Lattice
    coordinates: NDArray[np.float64]
    barcodes: NDArray[np.str_]
    diameter_um: float
    scale: PixelScale
    params: SquareParams
    codec: Codec
    diffusion: Diffusion
    observed: Observed
    weight: Floats32
    bias: Floats32
    trained_columns: Ints
    companion: Companion | None = None
    spread: Spread | None = None
    trust: Trust | None = None

    @classmethod
    def of(
        cls,
        slide: Slide,
        wanted: Ints,
        codec: Codec,
        diffusion: Diffusion,
        observed: Observed,
        params: SquareParams,
        learned_genes: Ints,
    ) -> Learned:
        """Collect what a fit on `slide` leaves behind."""
        every = len(wanted) == len(slide.genes) and (np.diff(wanted) == 1).all()
        measured = slide.counts if every else Counts(slide.counts.genes(wanted))
        full = codec.output.weight.detach().cpu().numpy()
        full_bias = codec.output.bias.detach().cpu().numpy()
        place = np.full(len(slide.genes), -1, dtype=np.int64)
        place[learned_genes] = np.arange(len(learned_genes))
        known = place[wanted] >= 0
        weight = np.zeros((len(wanted), full.shape[1]), dtype=np.float32)
        bias = np.full(len(wanted), -30.0, dtype=np.float32)
        weight[known], bias[known] = full[place[wanted][known]], full_bias[place[wanted][known]]
        return cls(
            slide.name,
            slide.genes.take(wanted),
            wanted,
            measured,
            slide.lattice,
            slide.coordinates,
            slide.barcodes,
            slide.diameter_um,
            slide.scale,
            params,
            codec,
            diffusion,
            observed,
            weight,
            bias,
            learned_genes,
        )

    def extend(self, columns: Ints, weight: Floats32, bias: Floats32) -> None:
        """Set the output layer of genes of the slide that no network was trained on."""
        order = np.argsort(self.gene_columns)
        at = order[np.searchsorted(self.gene_columns, columns, sorter=order)]
        self.weight[at], self.bias[at] = weight, bias

    @property
    def totals(self) -> NDArray[np.float64]:
        """Counts of every location in the genes that were trained on, (n,)."""
        log_depth = self.observed.log_depth[0, : len(self.coordinates)]
        totals = np.exp(log_depth.numpy().astype(np.float64))
        usable = self.observed.usable[: len(totals)].numpy()
        return np.asarray(np.where(usable, totals, 0.0))

    def own_counts(self, parent: Ints, parts: int, depth: Floats32) -> OwnCounts | None:
        """What was counted at targets' locations; see `OwnCounts.of`."""
        if self.trust is None:
            return None
        return OwnCounts.of(self.measured, self.totals, parent, parts, depth, self.trust)

    def on(self, device: str) -> Learned:
        """Return the same with its networks on a device."""
        diffusion, codec = placed(self.diffusion, device), placed(self.codec, device)
        if diffusion is self.diffusion and codec is self.codec:
            return self
        return replace(self, diffusion=diffusion, codec=codec)

    def states(self, z: Tensor) -> tuple[Floats32, Floats32]:
        """Hidden decoder states (m, h) and log softmax denominators (m,) of embeddings."""
        with torch.no_grad():
            state = self.codec.hidden(z.to(self.codec.output.weight.device))
            norm = torch.logsumexp(self.codec.output(state), dim=-1)
        return state.cpu().numpy(), norm.cpu().numpy()
