"""The graph of nearest locations, and expression as the autoencoder reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree
from torch import Tensor

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
# Summed rows are kept whole up to this many bytes; above it every batch sums its own.
_MOST_BYTES = 1_000_000_000


def nearest_graph(
    coordinates: Floats, neighbours: int, among: NDArray[np.bool_] | None = None
) -> sparse.csr_matrix:
    """Directed graph to the nearest locations, the location itself among them, (n, n) CSR of ones.

    Parameters
    ----------
    coordinates : (n, 2) float array
        µm.
    neighbours : int
        k, at most as many as there are; 1 leaves only the location itself.
    among : (n,) bool array, optional
        Locations that may be neighbours; rows of the others hold nothing.
    """
    n = len(coordinates)
    there = np.arange(n) if among is None else np.flatnonzero(among)
    k = min(neighbours, len(there))
    _, near = cKDTree(coordinates[there]).query(coordinates[there], k=k)
    near = there[np.asarray(near).reshape(len(there), k)]
    # Of locations at one place any may come first: the location itself must be there.
    lost = ~(near == there[:, None]).any(axis=1)
    near[lost, -1] = there[lost]
    size = np.zeros(n + 1, dtype=np.int64)
    size[there + 1] = k
    ones = np.ones(near.size, dtype=np.float32)
    return sparse.csr_matrix((ones, near.ravel(), np.cumsum(size)), shape=(n, n))


@dataclass(eq=False)
class Summed:
    """Rows of ``A · log1p(X)``: the graph layer ``A(XW + b)`` is ``(AX)W + (A1)b``.

    Summing first means that a batch needs its own rows only, not those of all its neighbours.

    Parameters
    ----------
    graph : CSR matrix (n, n)
    logs : CSR matrix (n, g)
        log1p of the expression.
    whole : bool
        Keep all summed rows where they fit, because they are read more than once.
    """

    graph: sparse.csr_matrix
    logs: sparse.csr_matrix
    whole: bool = True

    def __post_init__(self) -> None:
        n, g = self.logs.shape
        whole = self.whole and 4 * n * g <= _MOST_BYTES
        self._whole = torch.from_numpy((self.graph @ self.logs).toarray()) if whole else None
        self.degree = torch.from_numpy(np.diff(self.graph.indptr).astype(np.float32))

    def rows(self, items: Ints, device: torch.device) -> tuple[Tensor, Tensor]:
        """Summed logs (b, g) of some locations, and how many were summed (b, 1)."""
        at = torch.from_numpy(items)
        if self._whole is not None:
            summed = self._whole[at]
        else:
            summed = torch.from_numpy((self.graph[items] @ self.logs).toarray())
        return summed.to(device), self.degree[at][:, None].to(device)

    def loaded(self, items: Ints, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rows (l, g) and (l, 1) of a batch as the published loader brings it.

        The b items come first, and hear all their neighbours. These follow, and hear whom of
        their own neighbours happens to be loaded.
        """
        there = np.zeros(len(self.degree), dtype=bool)
        there[self.graph[items].indices] = True
        there[items] = True
        loaded = np.flatnonzero(there)
        there[items] = False
        among = self.graph[np.flatnonzero(there)][:, loaded]
        summed = torch.from_numpy((among @ self.logs[loaded]).toarray())
        degree = torch.from_numpy(np.diff(among.indptr).astype(np.float32))[:, None]
        own, own_degree = self.rows(items, device)
        return torch.cat([own, summed.to(device)]), torch.cat([own_degree, degree.to(device)])
