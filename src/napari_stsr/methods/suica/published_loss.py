"""The published losses, from sparse targets.

With predictions p ≥ 0 and targets y of which most are zero::

    L = mean_{y≠0} (p − y)² + mean |p − y| + 0.01 · Dice
    Dice = 1 − (2 Σ q t + 1) / (Σ q + Σ t + 1),   q = tanh(p / 2),   t = 1[y > 0]

Where y is zero |p − y| is p and q t is nothing, so every sum is one over all p and one over the
non-zeros: targets are never made dense. Sums add up over chunks of locations, so a chunk is all
that is held; its inner values are computed again on the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy import sparse
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from napari_stsr.methods.layers.likelihood import SparseBatch
from napari_stsr.methods.suica.rectified import rectified

DICE_WEIGHT = 0.01
_SUMS = 4


@dataclass(frozen=True)
class PublishedSums:
    """Sums over all entries of which the loss is made.

    Attributes
    ----------
    sums : (4,) tensor
        Σ (p − y)² over the non-zeros, Σ |p − y|, Σ q t and Σ q.
    nonzeros, entries : int
        Σ t, and locations × genes.
    """

    sums: Tensor
    nonzeros: int
    entries: int

    def loss(self, dice_weight: float = DICE_WEIGHT) -> Tensor:
        """L, a scalar."""
        squared, absolute, overlap, presence = self.sums.unbind()
        loss = squared / max(1, self.nonzeros) + absolute / self.entries
        if dice_weight:
            both = (2 * overlap + 1) / (presence + self.nonzeros + 1)
            loss = loss + dice_weight * (1 - both)
        return loss


def published_sums(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: SparseBatch, dice: bool = True
) -> Tensor:
    """Squared, absolute, overlap and presence of one chunk, (4,).

    Parameters
    ----------
    hidden : (b, h) tensor
    weight, bias : (g, h) and (g,) tensors
        Last layer; ``p = relu(hidden Wᵀ + b)``.
    targets : SparseBatch
        (b, g).
    dice : bool
        Without it the last two sums are zero.
    """
    p = rectified(hidden, weight, bias)
    own = p.flatten()[targets.row * targets.columns + targets.column]
    error = own - targets.value
    squared = (error**2).sum()
    absolute = p.sum() + (error.abs() - own).sum()
    zero = squared.new_zeros(())
    overlap = torch.tanh(own / 2).sum() if dice else zero
    presence = torch.tanh(p / 2).sum() if dice else zero
    return torch.stack([squared, absolute, overlap, presence])


class PublishedTargets:
    """What the decoder is to meet, in chunks of locations.

    Parameters
    ----------
    targets : CSR matrix (n, g)
    values_at_once : int
        Predictions a chunk may hold.
    rows_at_once : int, optional
        Locations a chunk may hold.
    """

    def __init__(
        self,
        targets: sparse.csr_matrix,
        values_at_once: int = 64_000_000,
        rows_at_once: int | None = None,
    ) -> None:
        self.targets = targets
        n, g = targets.shape
        rows = max(1, min(values_at_once // max(1, g), rows_at_once or n))
        self.chunks = [slice(start, min(start + rows, n)) for start in range(0, n, rows)]
        self._kept: SparseBatch | None = None

    def batch(self, rows: slice, device: torch.device) -> SparseBatch:
        """Targets of a slice of the locations."""
        return SparseBatch.of(self.targets[rows], device)

    def sums(
        self,
        hidden: Callable[[slice], Tensor],
        weight: Tensor,
        bias: Tensor,
        dice: bool = True,
    ) -> PublishedSums:
        """Sums over all locations.

        Parameters
        ----------
        hidden : callable
            Gives the last hidden states (b, h) of a slice of the locations. With more than one
            chunk it is called again for the gradient.
        weight, bias : (g, h) and (g,) tensors
        dice : bool
        """
        n, g = self.targets.shape
        if len(self.chunks) == 1:
            if self._kept is None:
                self._kept = self.batch(self.chunks[0], weight.device)
            total = published_sums(hidden(self.chunks[0]), weight, bias, self._kept, dice)
            return PublishedSums(total, self.targets.nnz, n * g)

        def of_chunk(rows: slice, weight: Tensor, bias: Tensor) -> Tensor:
            part = self.batch(rows, weight.device)
            return published_sums(hidden(rows), weight, bias, part, dice)

        total = weight.new_zeros(_SUMS)
        for rows in self.chunks:
            total = total + checkpoint(of_chunk, rows, weight, bias, use_reentrant=False)
        return PublishedSums(total, self.targets.nnz, n * g)
