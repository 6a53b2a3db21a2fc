"""Locations and blocks of a slide as the nodes the networks read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.methods.square.template import Blocks

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Nodes:
    """Counts of n locations and of the n blocks anchored at them, by node number.

    Parameters
    ----------
    counts : CSR matrix (n, g)
        Float32 counts of the genes learned from.
    blocks : Blocks
    """

    counts: sparse.csr_matrix
    blocks: Blocks

    @property
    def locations(self) -> int:
        """Number of locations; blocks are numbered from here."""
        return int(self.counts.shape[0])

    def thinned(self, nodes: Ints, seed: list[int]) -> sparse.csr_matrix:
        """Counts of some nodes, blocks thinned binomially to the depth of one cell.

        A block of m measured cells keeps each molecule with probability 1/m. Counts that are no
        whole numbers are scaled instead.
        """
        counts = self.rows(nodes)
        pooled = nodes >= self.locations
        keep = np.ones(len(nodes))
        keep[pooled] = 1 / np.maximum(self.blocks.measured[nodes[pooled] - self.locations], 1)
        keep = np.repeat(keep, np.diff(counts.indptr))
        whole = np.rint(counts.data)
        if np.array_equal(whole, counts.data):
            drawn = np.random.default_rng([*seed, int(nodes[0])]).binomial(whole.astype(int), keep)
            counts.data = drawn.astype(np.float32)
            counts.eliminate_zeros()
        else:
            counts.data = (counts.data * keep).astype(np.float32)
        return counts

    def rows(self, nodes: Ints) -> sparse.csr_matrix:
        """Counts of some nodes; those of a block are the sums over its measured cells."""
        members = np.full((len(nodes), self.blocks.members.shape[1]), -1, dtype=np.int64)
        pooled = nodes >= self.locations
        members[~pooled, 0] = nodes[~pooled]
        members[pooled] = self.blocks.members[nodes[pooled] - self.locations]
        there = members >= 0
        ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        ones = np.ones(int(ends[-1]), dtype=np.float32)
        pooling = sparse.csr_matrix(
            (ones, members[there], ends), shape=(len(nodes), self.locations)
        )
        return pooling @ self.counts

    def usable(self) -> NDArray[np.bool_]:
        """Nodes that may serve as context: with counts, and blocks at least half measured."""
        depth = np.asarray(self.counts.sum(axis=1)).ravel()
        half = 2 * self.blocks.measured >= self.blocks.members.shape[1]
        sums = np.where(self.blocks.members >= 0, depth[self.blocks.members], 0).sum(axis=1)
        return np.concatenate([depth > 0, half & (sums > 0)])


def tissue_split(coordinates: NDArray[np.float64], share: float, seed: int) -> NDArray[np.bool_]:
    """Which locations are kept for validation: whole square tiles of tissue.

    About 40 tiles; tiles are drawn until `share` of the locations is reached.

    Parameters
    ----------
    coordinates : (n, 2) float array
    share : float
    seed : int

    Returns
    -------
    (n,) bool array
    """
    low, span = coordinates.min(axis=0), np.ptp(coordinates, axis=0).max()
    tile = np.floor((coordinates - low) / max(span / 6.5, 1e-9)).astype(np.int64)
    number = tile[:, 0] * 1000 + tile[:, 1]
    names, inverse, size = np.unique(number, return_inverse=True, return_counts=True)
    order = np.random.default_rng([seed, 7]).permutation(len(names))
    taken = np.concatenate([[0], np.cumsum(size[order])[:-1]]) < share * len(coordinates)
    kept = np.zeros(len(names), dtype=bool)
    kept[order[taken]] = True
    return np.asarray(kept[inverse])
