"""Training of stage 2: give pooled blocks, and hidden locations, back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_stsr.methods.layers.likelihood import SparseBatch
from napari_stsr.methods.square.diffusion import Diffusion, Surroundings
from napari_stsr.methods.square.embedding import Codec, decoded_log_likelihood
from napari_stsr.methods.square.nodes import Nodes
from napari_stsr.methods.square.params import SquareParams
from napari_stsr.methods.square.template import (
    Tasks,
    block_tasks,
    location_tasks,
    log_adjacency,
    symmetries,
)
from napari_stsr.slides import Division, Lattice

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Observed:
    """Embeddings and depths of all nodes; which of them may be seen.

    Attributes
    ----------
    z : (r, 2n, latent) tensor
        Replicates differ in how blocks were thinned.
    log_depth : (r, 2n) tensor
    usable : (2n,) bool tensor
    log_gain : float
        Log of a block's depth over that of its embedding: log k when thinned, else 0.
    variance : (n, latent) tensor, optional
        Posterior variance of the embeddings of locations.
    """

    z: Tensor
    log_depth: Tensor
    usable: Tensor
    log_gain: float
    variance: Tensor | None = None

    def around(
        self,
        tasks: Tasks,
        centre_prior: float,
        device: torch.device,
        dropped: Tensor | None = None,
        replicate: int = 0,
    ) -> Surroundings:
        """Build the network's view of some tasks; `dropped` hides the centres of some."""
        nodes = torch.from_numpy(np.column_stack([tasks.centre, tasks.context]))
        present = (nodes >= 0) & self.usable[nodes]
        if dropped is not None:
            present[:, 0] &= ~dropped
        positions = np.concatenate([np.zeros((1, 2)), tasks.positions])
        among, virtual = log_adjacency(tasks.positions, tasks.virtual, centre_prior)
        away = np.linalg.norm(tasks.virtual[:, :, None] - positions, axis=-1)
        # A missing node's state is never read; its row of the table just has to exist.
        return Surroundings(
            self.z[replicate, nodes].to(device),
            self.log_depth[replicate, nodes].to(device),
            present.to(device),
            torch.from_numpy(positions.astype(np.float32)).to(device),
            torch.from_numpy(tasks.virtual.astype(np.float32)).to(device),
            tasks.log_size,
            torch.from_numpy(among).to(device),
            torch.from_numpy(virtual).to(device),
            torch.from_numpy(away.astype(np.float32)).to(device),
        )

    def spread_by(self, tasks: Tasks, mixing: Tensor) -> Tensor:
        """Variance (b·v, latent) of means of embeddings with the weights (b, v, 1 + s).

        A block thinned to one location's depth is as uncertain as a location. Empty where the
        variance of locations is not known.
        """
        if self.variance is None:
            return torch.empty(0, self.z.shape[-1])
        nodes = torch.from_numpy(np.column_stack([tasks.centre, tasks.context]))
        of_node = self.variance[nodes % len(self.variance)]
        return (mixing.float().cpu() ** 2 @ of_node).flatten(0, 1)


class GraphTraining(nn.Module):
    """Negative log-likelihood of true locations, in nats per gene; the codec is frozen.

    Items 0 … len(anchors)-1 are blocks, the rest hidden locations.

    Parameters
    ----------
    diffusion : Diffusion
    codec : Codec
        Not trained and not part of the checkpoint.
    nodes : Nodes
    observed : Observed
    lattice : Lattice
    division : Division
    params : SquareParams
    anchors, centres : int arrays
        Locations whose blocks, and locations that themselves, are given back.
    """

    def __init__(
        self,
        diffusion: Diffusion,
        codec: Codec,
        nodes: Nodes,
        observed: Observed,
        lattice: Lattice,
        division: Division,
        params: SquareParams,
        anchors: Ints,
        centres: Ints,
    ) -> None:
        super().__init__()
        self.diffusion = diffusion
        self._frozen = (codec,)
        self.nodes, self.observed, self.lattice = nodes, observed, lattice
        self.division, self.params = division, params
        self.anchors, self.centres = anchors, centres
        self.group = symmetries(lattice.kind, cast(Literal["all", "mirror"], params.symmetries))

    def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
        """Loss of one batch, seen through one random symmetry, some centres dropped."""
        symmetry = self.group[generator.integers(len(self.group))]
        chosen = items.numpy()
        of_blocks = chosen[chosen < len(self.anchors)]
        of_locations = chosen[chosen >= len(self.anchors)] - len(self.anchors)
        drop = torch.from_numpy(generator.random(len(of_blocks)) < self.params.drop_centre)
        replicate = int(generator.integers(len(self.observed.z)))
        return self._loss(
            self.anchors[of_blocks], self.centres[of_locations], symmetry, drop, replicate
        )

    def validation(self, anchors: Ints, centres: Ints, chunk: int = 128) -> float:
        """Loss of held-out blocks and locations, unturned, centres in place."""
        losses, counts = [], []
        for start in range(0, max(len(anchors), len(centres)), chunk):
            part = slice(start, start + chunk)
            losses.append(float(self._loss(anchors[part], centres[part], self.group[0], None)))
            counts.append(len(anchors[part]) + len(centres[part]))
        return float(np.average(losses, weights=counts))

    def _loss(
        self,
        anchors: Ints,
        centres: Ints,
        symmetry: Ints,
        dropped: Tensor | None,
        replicate: int = 0,
    ) -> Tensor:
        lattice, rings = self.lattice, self.params.rings
        parts = []
        if len(anchors):
            context = cast(Literal["superspots", "ring"], self.params.context)
            tasks = block_tasks(lattice, self.division, anchors, symmetry, rings, context)
            parts.append(self._nll(tasks, dropped, replicate, self.observed.log_gain))
        if len(centres):
            parts.append(self._nll(location_tasks(lattice, centres, symmetry, rings)))
        # Each item counts once, a block by the mean over its parts.
        return torch.cat([part.mean(dim=1) for part in parts]).mean()

    def _nll(
        self,
        tasks: Tasks,
        dropped: Tensor | None = None,
        replicate: int = 0,
        log_gain: float = 0.0,
    ) -> Tensor:
        (codec,) = self._frozen
        device = self.diffusion.correction.weight.device
        prior = self.params.centre_prior
        around = self.observed.around(tasks, prior, device, dropped, replicate)
        z, log_depth, _ = self.diffusion(around)
        log_depth = log_depth + log_gain
        batch = SparseBatch.of(self.nodes.rows(tasks.truth.ravel()), device)
        fit = decoded_log_likelihood(codec, z.flatten(0, 1), batch, log_depth.flatten())
        return -fit.view(tasks.truth.shape) / batch.columns
