"""Dense GATv2 attention: small fixed neighbourhoods, batched, without sparse kernels.

Brody, Alon, Yahav, *How attentive are graph attention networks?* (ICLR 2022). For a target i with
sources j, per head::

    e_ij = aᵀ LeakyReLU(W_l h_j + W_r h_i) + log A_ij
    α_ij = softmax_j(e_ij)
    h'_i = Σ_j α_ij W_l h_j

The prior A_ij enters as a logit, so it stays a weight: equal scores give α ∝ A.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

# Pairs × channels held at once: what stays in a core's cache, or fills a GPU.
_CHUNK_CPU, _CHUNK_CUDA = 1 << 18, 1 << 26


class _Edges(NamedTuple):
    """What one chunk of targets needs: sources (b, S, H, C), targets (b, T, H, C), logits."""

    at: slice
    left: Tensor
    right: Tensor
    log_prior: Tensor | None


class _Attention(torch.autograd.Function):
    """Scores, softmax and mixing in chunks; the pairs are recomputed backwards.

    Memory stays at one chunk instead of batch × targets × sources × channels, and each chunk
    stays in the cache through all its passes.
    """

    @staticmethod
    def forward(
        ctx: Any,
        left: Tensor,
        right: Tensor,
        att: Tensor,
        index: Tensor | None,
        log_prior: Tensor | None,
        slope: float,
    ) -> tuple[Tensor, Tensor]:
        batch, targets, heads, channels = right.shape
        sources = left.shape[1] if index is None else index.shape[1]
        out = right.new_empty(batch, targets, heads, channels)
        weights = right.new_empty(batch, targets, sources, heads)
        per_head = torch.block_diag(*att[:, :, None])
        for edges in _chunks(left, right, index, log_prior):
            activated = functional.leaky_relu_(_pairs(edges), slope)
            scores = activated.flatten(-2) @ per_head
            weights[edges.at] = _softmax(scores, edges.log_prior)
            out[edges.at] = _mixed(weights[edges.at], edges.left)
        ctx.save_for_backward(left, right, att, index, log_prior, weights)
        ctx.slope = slope
        return out, weights

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        left, right, att, index, log_prior, weights = ctx.saved_tensors
        by_out, by_weights = gradients
        by_left = torch.zeros_like(left) if index is not None else torch.empty_like(left)
        by_right, by_att = torch.empty_like(right), torch.zeros_like(att)
        by_prior = torch.zeros_like(log_prior) if ctx.needs_input_grad[4] else None
        per_head = torch.block_diag(*att[:, :, None])
        heads, channels = att.shape
        for edges in _chunks(left, right, index, log_prior):
            at, weight, out = edges.at, weights[edges.at], by_out[edges.at]
            by_weight = by_weights[at] + _overlap(out, edges.left)
            by_score = weight * (by_weight - (weight * by_weight).sum(2, keepdim=True))
            if by_prior is not None:
                own = by_prior[at] if len(by_prior) == len(right) else by_prior
                own += by_score.sum_to_size(own.shape)
            pairs = _pairs(edges)
            activated = functional.leaky_relu(pairs, ctx.slope)
            products = by_score.reshape(-1, heads).mT @ activated.reshape(-1, heads * channels)
            by_att += torch.einsum("hhc->hc", products.view(heads, heads, channels))
            by_pair = (by_score.reshape(-1, heads) @ per_head.mT).view(pairs.shape)
            by_pair = torch.ops.aten.leaky_relu_backward(by_pair, pairs, ctx.slope, False)
            by_right[at] = by_pair.sum(2)
            by_source = by_pair.sum(1) if by_pair.shape[1] > 1 else by_pair[:, 0]
            by_source += _mixed(weight.transpose(1, 2), out)
            if index is None:
                by_left[at] = by_source
            else:
                by_left.index_add_(0, index[at].flatten(), by_source.flatten(0, 1))
        return by_left, by_right, by_att, None, by_prior, None


def _chunks(
    left: Tensor, right: Tensor, index: Tensor | None, log_prior: Tensor | None
) -> Iterator[_Edges]:
    """Go through the batch in chunks, gathering sources where they come from a table."""
    batch, targets, heads, channels = right.shape
    sources = left.shape[1] if index is None else index.shape[1]
    budget = _CHUNK_CUDA if right.is_cuda else _CHUNK_CPU
    size = max(1, budget // max(1, targets * sources * heads * channels))
    for start in range(0, batch, size):
        at = slice(start, start + size)
        if index is None:
            own = left[at]
        else:
            own = left.index_select(0, index[at].flatten()).unflatten(0, index[at].shape)
        prior = None
        if log_prior is not None:
            prior = log_prior[at] if log_prior.shape[0] == batch else log_prior
        yield _Edges(at, own, right[at], prior)


def _pairs(edges: _Edges) -> Tensor:
    return edges.left[:, None] + edges.right[:, :, None]


def _softmax(scores: Tensor, log_prior: Tensor | None) -> Tensor:
    """Softmax over sources; zeros where a target has none."""
    if log_prior is None:
        return torch.softmax(scores, dim=2)
    scores = scores + log_prior
    top = scores.amax(dim=2, keepdim=True)
    weights = torch.exp(scores - top.masked_fill(top == -torch.inf, 0))
    return weights / weights.sum(dim=2, keepdim=True).clamp_min(1e-30)


def _mixed(weights: Tensor, values: Tensor) -> Tensor:
    """Σ_s weights[b, t, s, h] · values[b, s, h, c].

    A batch of matrix products, except where one of them would be a mere vector: then spreading the
    weights over the channels is several times faster.
    """
    _, _, heads, channels = values.shape
    if weights.shape[1] == 1 or weights.shape[2] == 1:
        # One product of two matrices: a stack of thin ones is far slower.
        spread = weights.reshape(-1, heads) @ _spread(heads, channels, weights)
        spread = spread.view(*weights.shape[:3], heads, channels)
        if weights.shape[2] == 1:
            return spread[:, :, 0].mul_(values)
        return spread[:, 0].mul_(values).sum(1, keepdim=True)
    return torch.einsum("btsh,bshc->bthc", weights, values)


def _overlap(targets: Tensor, sources: Tensor) -> Tensor:
    """Σ_c targets[b, t, h, c] · sources[b, s, h, c], shape (b, t, s, h)."""
    _, count, heads, channels = targets.shape
    if count == 1:
        products = (targets * sources).flatten(-2)
        return (products @ _spread(heads, channels, targets).mT)[:, None]
    return torch.einsum("bthc,bshc->btsh", targets, sources)


def _spread(heads: int, channels: int, like: Tensor) -> Tensor:
    """Matrix (H, H · C) that repeats a value per head over its channels."""
    return torch.eye(heads, dtype=like.dtype, device=like.device).repeat_interleave(channels, 1)


def attend(
    left: Tensor,
    right: Tensor,
    att: Tensor,
    *,
    index: Tensor | None = None,
    log_prior: Tensor | None = None,
    slope: float = 0.2,
) -> tuple[Tensor, Tensor]:
    """Mix every target's sources by GATv2 attention.

    Parameters
    ----------
    left : (B, S, H, C) tensor, or (M, H, C) tensor with `index`
        Projected sources W_l h_j.
    right : (B, T, H, C) tensor
        Projected targets W_r h_i.
    att : (H, C) tensor
    index : (B, S) long tensor, optional
        Rows of `left` that are the sources of each batch item.
    log_prior : (B or 1, T or 1, S, H or 1) tensor, optional
        log A_ij; -inf where there is no edge.
    slope : float
        Negative slope of the LeakyReLU.

    Returns
    -------
    mixed : (B, T, H, C) tensor
        Σ_j α_ij W_l h_j.
    weights : (B, T, S, H) tensor
        α; sums to 1 over S, all 0 for a target without any source.
    """
    # Softmax and sums want full precision, also where the products around run in 16 bit.
    with torch.autocast(left.device.type, enabled=False):
        if log_prior is not None:
            log_prior = log_prior.to(att.dtype)
        mixed, weights = _Attention.apply(  # type: ignore[no-untyped-call]
            left.to(att.dtype), right.to(att.dtype), att, index, log_prior, slope
        )
    return mixed, weights


class DenseGATv2(nn.Module):
    """GATv2 over dense neighbourhoods; equals PyG's ``GATv2Conv(concat=True)`` on the same edges.

    Parameters
    ----------
    features : int
        Width of source and target states.
    heads, channels : int
        The output has ``heads * channels`` features.
    attentive : bool
        False gives plain graph convolution: weights from the prior alone.
    """

    def __init__(self, features: int, heads: int, channels: int, attentive: bool = True) -> None:
        super().__init__()
        self.heads, self.channels, self.attentive = heads, channels, attentive
        self.left = nn.Linear(features, heads * channels)
        self.right = nn.Linear(features, heads * channels)
        self.att = nn.Parameter(torch.empty(heads, channels))
        self.bias = nn.Parameter(torch.zeros(heads * channels))
        nn.init.xavier_uniform_(self.att)

    def forward(
        self,
        sources: Tensor,
        targets: Tensor,
        *,
        index: Tensor | None = None,
        log_prior: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """New target states (B, T, heads · channels) and weights (B, T, S, heads).

        Parameters
        ----------
        sources : (B, S, features) tensor, or (M, features) tensor with `index`
        targets : (B, T, features) tensor
        index, log_prior
            See `attend`.
        """
        left = self.left(sources).unflatten(-1, (self.heads, self.channels))
        right = self.right(targets).unflatten(-1, (self.heads, self.channels))
        att = self.att if self.attentive else torch.zeros_like(self.att)
        mixed, weights = attend(left, right, att, index=index, log_prior=log_prior)
        return mixed.flatten(-2) + self.bias, weights
