"""Attention as Square's graph gives it, gathered into sparse matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.methods.square.template import Tasks
from napari_stsr.results import Attention

Ints = NDArray[np.int64]
Floats32 = NDArray[np.float32]
# Above this many edges only the mean attention is kept: 8 bytes an edge, layer and head.
_MOST_EDGES = 20_000_000


class Edges:
    """Gathers attention chunk by chunk into sparse matrices (targets × locations)."""

    def __init__(self, edges: int, locations: int) -> None:
        self.locations, self.edges = locations, edges
        self.rows: dict[tuple[int, int], list[sparse.csr_matrix]] = {}

    def add(self, tasks: Tasks, weights: list[Floats32]) -> None:
        """Add the attention (b, v, 1 + s, heads) of every layer."""
        nodes = np.column_stack([tasks.centre, tasks.context])
        batch, places = weights[0].shape[:2]
        there = np.repeat((nodes >= 0)[:, None], places, axis=1)
        column = np.broadcast_to(nodes[:, None], there.shape)[there]
        ends = np.concatenate([[0], np.cumsum(there.sum(axis=2).ravel())])
        kept: dict[tuple[int, int], Floats32] = {}
        if self.edges * len(weights) * weights[0].shape[3] > _MOST_EDGES:
            kept[0, 0] = np.mean([weight.mean(axis=3) for weight in weights], axis=0)
        else:
            for layer, weight in enumerate(weights):
                for head in range(weight.shape[3]):
                    kept[layer, head] = weight[..., head]
        for key, values in kept.items():
            block = sparse.csr_matrix(
                (values[there], column, ends), shape=(batch * places, self.locations)
            )
            block.eliminate_zeros()
            self.rows.setdefault(key, []).append(block)

    def attention(self) -> Attention:
        """Return all that was added."""
        return Attention({key: sparse.vstack(rows, "csr") for key, rows in self.rows.items()})


def assembled(pieces: list[tuple[Ints, Attention]]) -> Attention:
    """Put the attention of groups of targets back in the targets' order."""
    order = np.argsort(np.concatenate([rows for rows, _ in pieces]), kind="stable")
    keys = pieces[0][1].weights
    # Groups of different size may differ in what was kept; the common part is the mean.
    if any(piece.weights.keys() != keys.keys() for _, piece in pieces):
        stacked = {(0, 0): sparse.vstack([piece.matrix() for _, piece in pieces], "csr")}
    else:
        stacked = {k: sparse.vstack([p.weights[k] for _, p in pieces], "csr") for k in keys}
    return Attention({key: matrix[order] for key, matrix in stacked.items()})
