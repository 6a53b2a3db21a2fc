"""Stage 2: anisotropic diffusion from observed to virtual nodes by graph attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_stsr.methods.layers.gatv2 import DenseGATv2

# A part holds at most e^0.4 times what its surroundings say, or that much less.
_MOST_LOG_SHARE = 0.4


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A batch of templates as the network reads them; node 0 is the centre.

    Attributes
    ----------
    z : (b, 1 + s, latent) tensor
    log_depth : (b, 1 + s) tensor
    present : (b, 1 + s) bool tensor
    positions : (1 + s, 2) tensor
        Canonical positions.
    virtual : (b or 1, v, 2) tensor
    log_size : float
    among_observed : (1, 1 + s, 1 + s) tensor
        Log prior weights.
    to_virtual : (b or 1, v, 1 + s + v) tensor
    distance : (b or 1, v, 1 + s) tensor
        From observed to virtual nodes, in pitches.
    """

    z: Tensor
    log_depth: Tensor
    present: Tensor
    positions: Tensor
    virtual: Tensor
    log_size: float
    among_observed: Tensor
    to_virtual: Tensor
    distance: Tensor


class Diffusion(nn.Module):
    """Embedding and depth of virtual nodes from the observed nodes around them.

    The result starts as the attention-weighted mean of the observed embeddings and is corrected by
    what the layers learn; before training it is a smoother with the prior's weights.

    Parameters
    ----------
    latent, width, heads, layers : int
    typical_log_depth : float
        Depth where nothing is observed around.
    prior : {"distance", "flat"}
        "distance" adds −d²/2σ² to the logits of observed → virtual edges, σ learned per layer and
        head, for parts and for whole locations apart; "flat" is the slides' prior alone.
    ablation : {"none", "virtual nodes", "vae", "attention"}
    """

    typical_log_depth: Tensor

    def __init__(
        self,
        latent: int,
        width: int,
        heads: int,
        layers: int,
        typical_log_depth: float,
        prior: str = "distance",
        ablation: str = "none",
    ) -> None:
        super().__init__()
        width = heads * max(1, width // heads)
        channels, attentive = width // heads, ablation != "attention"
        self.heads = heads
        self.virtual_nodes = ablation != "virtual nodes"
        self.observed_in = nn.Linear(latent + 1, width)
        self.place = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width))
        self.virtual_in = nn.Parameter(0.1 * torch.randn(width))
        self.size_in = nn.Linear(1, width)
        # Observed nodes need no update after the last layer but one: nothing reads them.
        self.observed_layers = nn.ModuleList(
            DenseGATv2(width, heads, channels, attentive) for _ in range(layers - 1)
        )
        self.virtual_layers = nn.ModuleList(
            DenseGATv2(width, heads, channels, attentive) for _ in range(layers)
        )
        self.observed_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.virtual_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.correction = nn.Linear(width, latent)
        self.share = nn.Linear(width, 1)
        # log σ for parts of a location (0) and whole ones (1).
        self.log_reach = (
            nn.Parameter(torch.zeros(layers, 2, heads)) if prior == "distance" else None
        )
        for layer in (self.correction, self.share):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.register_buffer("typical_log_depth", torch.tensor(typical_log_depth))

    def forward(self, around: Surroundings) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Embedding (b, v, latent), log depth (b, v), attention per layer (b, v, 1 + s, heads)."""
        present = around.present
        reference = _masked_mean(around.log_depth, present)
        depth = (around.log_depth - reference).masked_fill(~present, 0)
        observed = self.observed_in(torch.cat([around.z, depth.unsqueeze(-1)], dim=-1))
        observed = observed + self.place(around.positions)
        batch = len(around.z)
        size = observed.new_tensor([around.log_size])
        virtual = self.virtual_in + self.size_in(size) + self.place(around.virtual)
        virtual = virtual.expand(batch, -1, -1)
        missing = _log_mask(present)[..., None]
        weights: list[Tensor] = []
        if self.virtual_nodes:
            virtual = self._diffuse(observed, virtual, around, missing, weights)
        else:
            virtual = self._subsample(observed, around, missing, weights)
        # Parts of the weights on other virtual nodes are spread over the observed ones.
        mixing = weights[-1].mean(-1)
        z = mixing @ around.z + self.correction(virtual)
        known = mixing.sum(-1)
        base = (mixing @ around.log_depth.unsqueeze(-1)).squeeze(-1)
        base = base + (1 - known) * self.typical_log_depth
        # Bounded: at a border the network has seen little like it, and would run away.
        share = _MOST_LOG_SHARE * torch.tanh(self.share(virtual).squeeze(-1) / _MOST_LOG_SHARE)
        return z, base + around.log_size + share, weights

    def _diffuse(
        self,
        observed: Tensor,
        virtual: Tensor,
        around: Surroundings,
        missing: Tensor,
        weights: list[Tensor],
    ) -> Tensor:
        count = observed.shape[1]
        among = around.among_observed[..., None] + missing
        batch, places = virtual.shape[:2]
        unmasked = missing.new_zeros(batch, 1, places, 1)
        prior = around.to_virtual[..., None] + torch.cat([missing, unmasked], dim=2)
        for number, layer in enumerate(self.virtual_layers):
            seen, asking = (
                self.observed_norms[number](observed),
                self.virtual_norms[number](virtual),
            )
            falling = self._falling(number, around)
            both = torch.cat([seen, asking], dim=1)
            change, weight = layer(both, asking, log_prior=prior + falling)
            virtual = virtual + functional.silu(change)
            weights.append(_normalised(weight[:, :, :count]))
            if number < len(self.observed_layers):
                change, _ = self.observed_layers[number](seen, seen, log_prior=among)
                observed = observed + functional.silu(change)
        return virtual

    def _falling(self, layer: int, around: Surroundings) -> Tensor:
        """−d²/2σ² on observed → virtual edges, 0 among virtual nodes.

        Shape (b or 1, v, 1 + s + v, heads), or one that broadcasts to it.
        """
        places = around.distance.shape[1]
        if self.log_reach is None:
            return around.distance.new_zeros(1, 1, 1, 1)
        whole = int(around.log_size == 0)
        inverse = torch.exp(-2 * self.log_reach[layer, whole])
        falling = -0.5 * around.distance.unsqueeze(-1) ** 2 * inverse
        return functional.pad(falling, (0, 0, 0, places))

    def _subsample(
        self, observed: Tensor, around: Surroundings, missing: Tensor, weights: list[Tensor]
    ) -> Tensor:
        """The ablation: each part takes the mean state of the centre and its two nearest."""
        among = around.among_observed[..., None] + missing
        for number, layer in enumerate(self.observed_layers):
            seen = self.observed_norms[number](observed)
            change, _ = layer(seen, seen, log_prior=among)
            observed = observed + functional.silu(change)
        away = torch.cdist(around.virtual, around.positions[None])
        away = away.masked_fill(~around.present[:, None], torch.inf)
        nearest = away.topk(min(3, away.shape[-1]), dim=-1, largest=False).indices
        chosen = torch.zeros_like(away).scatter_(-1, nearest, 1.0) * around.present[:, None]
        mixing = chosen / chosen.sum(-1, keepdim=True).clamp_min(1)
        weights.extend(
            mixing.unsqueeze(-1).expand(-1, -1, -1, self.heads) for _ in self.virtual_layers
        )
        return mixing @ observed


def _log_mask(present: Tensor) -> Tensor:
    """0 where present, -inf where missing: (b, 1, s)."""
    mask = torch.zeros(present.shape, device=present.device)
    return mask.masked_fill_(~present, -torch.inf)[:, None]


def _masked_mean(values: Tensor, present: Tensor) -> Tensor:
    count = present.sum(-1, keepdim=True).clamp_min(1)
    return values.masked_fill(~present, 0).sum(-1, keepdim=True) / count


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(2, keepdim=True).clamp_min(1e-30)
