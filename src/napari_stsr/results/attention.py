"""Attention: which measured locations a prediction drew on, and how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError


@dataclass(frozen=True, eq=False)
class Attention:
    """Edges from measured locations to targets, one sparse matrix per layer and head.

    Parameters
    ----------
    weights : dict of (layer, head) → CSR matrix (targets × locations)
        Rows sum to 1 where a target has any source, else to 0.
    """

    weights: dict[tuple[int, int], sparse.csr_matrix]

    @property
    def layers(self) -> int:
        """Number of layers."""
        return max(layer for layer, _ in self.weights) + 1

    @property
    def heads(self) -> int:
        """Number of heads."""
        return max(head for _, head in self.weights) + 1

    def matrix(self, layer: int | None = None, head: int | None = None) -> sparse.csr_matrix:
        """Weights of one layer and head; the mean over those not chosen."""
        chosen = [
            weights
            for (at_layer, at_head), weights in self.weights.items()
            if layer in (None, at_layer) and head in (None, at_head)
        ]
        if not chosen:
            raise InputError(
                f"There is no attention of layer {layer}, head {head}.",
                f"Layers run from 0 to {self.layers - 1}, heads from 0 to {self.heads - 1}.",
            )
        total = chosen[0]
        for weights in chosen[1:]:
            total = total + weights
        return sparse.csr_matrix(total / len(chosen))

    def sources(
        self, target: int, layer: int | None = None, head: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Locations a target attends to and their weights, strongest first."""
        row = self.matrix(layer, head)[target]
        order = np.argsort(-row.data, kind="stable")
        return row.indices[order].astype(np.int64), row.data[order].astype(np.float64)

    def take(self, targets: NDArray[np.int64] | NDArray[np.bool_]) -> Attention:
        """Return the attention of some targets."""
        return Attention({key: weights[targets] for key, weights in self.weights.items()})
