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


def nearest_graph(coordinates: Floats, neighbours: int) -> sparse.csr_matrix:
    """Directed graph to the nearest locations, the location itself among them, (n, n) CSR of ones.

    Parameters
    ----------
    coordinates : (n, 2) float array
        µm.
    neighbours : int
        k, at most n; 1 leaves only the location itself.
    """
    n = len(coordinates)
    k = min(neighbours, n)
    _, near = cKDTree(coordinates).query(coordinates, k=k)
    near = np.asarray(near).reshape(n, k)
    # Of locations at one place any may come first: the location itself must be there.
    lost = ~(near == np.arange(n)[:, None]).any(axis=1)
    near[lost, -1] = np.flatnonzero(lost)
    ends = np.arange(0, n * k + 1, k)
    return sparse.csr_matrix((np.ones(n * k, dtype=np.float32), near.ravel(), ends), shape=(n, n))


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
