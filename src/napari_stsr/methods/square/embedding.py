"""Stage 1: an embedding of counts that does not depend on resolution.

A variational autoencoder, q(z|x) = N(m(x), s(x)), prior N(0, I), decoder mean = L·softmax(...),
trained on locations and on blocks of locations alike.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from napari_stsr.methods.layers.likelihood import SparseBatch, log_likelihood
from napari_stsr.methods.square.nodes import Nodes

_SCALE = 1e4


def normalised(counts: Tensor) -> Tensor:
    """Logs of counts per 10,000, shape as given."""
    total = counts.sum(-1, keepdim=True).clamp_min(1.0)
    return torch.log1p(counts * (_SCALE / total))


class Vae(nn.Module):
    """Variational autoencoder of counts.

    Parameters
    ----------
    frequency : (g,) array
        Mean composition, where the decoder starts.
    latent, hidden : int
    likelihood : {"nb", "zinb", "poisson"}
    """

    log_size: nn.Parameter | None
    zero_logit: nn.Parameter | None

    def __init__(
        self, frequency: NDArray[np.float64], latent: int, hidden: int, likelihood: str
    ) -> None:
        super().__init__()
        genes = len(frequency)
        self.latent = latent
        self.encoder = nn.Sequential(
            nn.Linear(genes + 1, hidden), nn.LayerNorm(hidden), nn.SiLU(),
            nn.Linear(hidden, hidden), nn.SiLU(),
        )  # fmt: skip
        self.mean = nn.Linear(hidden, latent)
        self.log_variance = nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.SiLU())
        self.output = nn.Linear(hidden, genes)
        start = np.log(np.maximum(frequency, 1e-9)).astype(np.float32)
        with torch.no_grad():
            self.output.bias.copy_(torch.from_numpy(start))
            self.output.weight.mul_(0.3)
        for name, used in (
            ("log_size", likelihood != "poisson"),
            ("zero_logit", likelihood == "zinb"),
        ):
            start_at = 1.0 if name == "log_size" else -3.0
            value = nn.Parameter(torch.full((genes,), start_at)) if used else None
            self.register_parameter(name, value)

    def posterior(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x)."""
        depth = torch.log10(counts.sum(-1, keepdim=True).clamp_min(1.0)) - 3.0
        state = self.encoder(torch.cat([normalised(counts), depth], dim=-1))
        return self.mean(state), self.log_variance(state).clamp(-10.0, 4.0)

    def encode(self, counts: Tensor) -> Tensor:
        """Posterior mean (b, latent) of dense counts (b, g)."""
        return self.posterior(counts)[0]

    def hidden(self, z: Tensor) -> Tensor:
        """Last hidden state of the decoder."""
        return torch.as_tensor(self.decoder(z))


class LogCodec(nn.Module):
    """The ablation without a VAE: the embedding is the vector of log counts itself."""

    def __init__(self, genes: int) -> None:
        super().__init__()
        self.latent = genes
        self.output = nn.Linear(genes, genes)
        with torch.no_grad():
            self.output.weight.copy_(torch.eye(genes))
            self.output.bias.zero_()
        self.log_size = nn.Parameter(torch.full((genes,), 1.0), requires_grad=False)
        self.zero_logit = None
        self.requires_grad_(False)

    def encode(self, counts: Tensor) -> Tensor:
        """Logs of counts per 10,000."""
        return normalised(counts)

    def hidden(self, z: Tensor) -> Tensor:
        """Log composition, up to a constant."""
        return torch.log(torch.expm1(z.clamp(0.0, 12.0)) + 0.05)


# Maps counts to embeddings, and embeddings to the hidden states of a linear decoder.
Codec = Vae | LogCodec


class VaeTraining(nn.Module):
    """Negative evidence lower bound of nodes, in nats per gene.

    Parameters
    ----------
    vae : Vae
    nodes : Nodes
    items : (b,) int array
        Nodes to train on.
    kl_weight : float
    warm_up : int
        Steps until the prior has its full weight.
    """

    steps: Tensor

    def __init__(
        self, vae: Vae, nodes: Nodes, items: NDArray[np.int64], kl_weight: float, warm_up: int
    ) -> None:
        super().__init__()
        self.vae, self.nodes, self.items = vae, nodes, items
        self.kl_weight, self.warm_up = kl_weight, max(1, warm_up)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
        """Loss of one batch, with one sample of z per node."""
        weight = self.kl_weight * min(1.0, float(self.steps + 1) / self.warm_up)
        self.steps += 1
        return self._loss(self.items[items.numpy()], weight, generator)

    def validation(self, nodes: NDArray[np.int64]) -> float:
        """Loss of held-out nodes at the posterior mean, with the full weight of the prior."""
        return float(self._loss(nodes, self.kl_weight, None))

    def _loss(
        self, nodes: NDArray[np.int64], weight: float, generator: np.random.Generator | None
    ) -> Tensor:
        batch = SparseBatch.of(self.nodes.rows(nodes), self.vae.output.weight.device)
        counts = batch.dense()
        mean, log_variance = self.vae.posterior(counts)
        z = mean
        if generator is not None:
            noise = torch.from_numpy(generator.standard_normal(tuple(mean.shape), dtype=np.float32))
            z = mean + torch.exp(0.5 * log_variance) * noise.to(mean.device)
        fit = decoded_log_likelihood(self.vae, z, batch, torch.log(batch.totals().clamp_min(1.0)))
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return (weight * divergence - fit).mean() / batch.columns


def decoded_log_likelihood(
    codec: Codec, z: Tensor, batch: SparseBatch, log_depth: Tensor
) -> Tensor:
    """Log-likelihood of counts given embeddings (rows, latent) and log depths (rows,)."""
    logits = codec.output(codec.hidden(z))
    log_mean = functional.log_softmax(logits.float(), dim=-1) + log_depth.float()[:, None]
    return log_likelihood(batch, log_mean, codec.log_size, codec.zero_logit)


def embed(
    codec: Codec,
    nodes: Nodes,
    wanted: NDArray[np.bool_],
    replicates: int,
    seed: int = 0,
    chunk: int = 2048,
) -> Generator[float, None, tuple[Tensor, Tensor]]:
    """Embeddings and log depths of the wanted nodes, zeros elsewhere.

    Yields the percentage that is done, after every chunk.

    Parameters
    ----------
    codec : Codec
    nodes : Nodes
    wanted : (2n,) bool array
    replicates : int
        0 embeds blocks as they are; otherwise so many thinned copies of every block are embedded.
    seed : int
        Of the thinning.

    Returns
    -------
    z : (max(1, replicates), 2n, latent) tensor
    log_depth : (max(1, replicates), 2n) tensor
        Locations are the same in every replicate.
    """
    device = codec.output.weight.device
    z = torch.zeros(max(1, replicates), len(wanted), codec.latent)
    log_depth = torch.zeros(z.shape[:2])
    numbers = np.flatnonzero(wanted)
    pooled = numbers[numbers >= nodes.locations]
    whole, done = len(numbers) + (len(z) - 1) * len(pooled), 0
    for replicate in range(len(z)):
        # Locations are never thinned: embedded once, then copied.
        some = numbers if replicate == 0 else pooled
        for start in range(0, len(some), chunk):
            part = some[start : start + chunk]
            rows = nodes.thinned(part, [seed, replicate]) if replicates else nodes.rows(part)
            counts = SparseBatch.of(rows, device).dense()
            at = torch.from_numpy(part)
            with torch.no_grad():
                z[replicate, at] = codec.encode(counts).float().cpu()
            log_depth[replicate, at] = torch.log(counts.sum(1).clamp_min(1.0)).cpu()
            done += len(part)
            yield 100 * done / whole
    z[1:, : nodes.locations] = z[0, : nodes.locations]
    log_depth[1:, : nodes.locations] = log_depth[0, : nodes.locations]
    return z, log_depth
