"""Triangles between measured locations, and which of them holds a place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import Delaunay, cKDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Triangulation:
    """Delaunay triangles of the distinct places of a slide.

    Parameters
    ----------
    delaunay : Delaunay
        Of the u distinct places.
    merge : CSR matrix (u, n)
        Mean of the locations that share a place.
    """

    delaunay: Delaunay
    merge: sparse.csr_matrix

    @classmethod
    def of(cls, coordinates: Floats, usable: Bools) -> Triangulation:
        """Join locations; those that are not usable are left out."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        rows = np.flatnonzero(usable)
        places, place, many = np.unique(
            coordinates[rows], axis=0, return_inverse=True, return_counts=True
        )
        place = place.ravel()
        shape = (len(places), len(coordinates))
        share = (1 / many[place]).astype(np.float32)
        delaunay = Delaunay(places)
        # Its frames are solved now: threads would wait for each other over every small triangle.
        with threadpool_limits(1, user_api="blas"):
            _ = delaunay.transform
        return cls(delaunay, sparse.csr_matrix((share, (place, rows)), shape=shape))

    def barycentric(self, places: Floats) -> tuple[Ints, Floats]:
        """Triangle of every place, -1 outside all, and its barycentric coordinates there (m, 3)."""
        triangle = self.delaunay.find_simplex(places).astype(np.int64)
        frame = self.delaunay.transform[triangle]
        two = np.einsum("mij,mj->mi", frame[:, :2], places - frame[:, 2])
        three = np.column_stack([two, 1 - two.sum(axis=1)])
        # A triangle as thin as the rounding of numbers has no coordinates.
        thin = ~np.isfinite(three).all(axis=1)
        return np.where(thin, -1, triangle), np.where(thin[:, None], 0.0, three)

    def nearest(self, places: Floats) -> sparse.csr_matrix:
        """Weights (m, u) that take the nearest corner."""
        _, near = cKDTree(self.delaunay.points).query(places)
        shape = (len(places), len(self.delaunay.points))
        ones = np.ones(len(places), dtype=np.float32)
        return sparse.csr_matrix((ones, near, np.arange(len(places) + 1)), shape=shape)

    def linear(self, places: Floats) -> sparse.csr_matrix:
        """Weights (m, n) of linear interpolation, of the nearest location outside the hull."""
        triangle, three = self.barycentric(places)
        inside = triangle >= 0
        corners = self.delaunay.simplices[triangle[inside]]
        within = _rows(three[inside], corners, np.flatnonzero(inside), len(places), self)
        return (within + self.outside(places, ~inside)) @ self.merge

    def outside(self, places: Floats, rows: Bools) -> sparse.csr_matrix:
        """Weights (m, u) of the nearest corner for the given rows, none for others."""
        keep = sparse.diags(rows.astype(np.float32), format="csr")
        return (keep @ self.nearest(places)).tocsr()


def _rows(
    weights: Floats, corners: Ints, rows: Ints, total: int, triangles: Triangulation
) -> sparse.csr_matrix:
    """Weights (total, u) of three corners in some rows."""
    shape = (total, len(triangles.delaunay.points))
    entries = (weights.astype(np.float32).ravel(), (np.repeat(rows, 3), corners.ravel()))
    return sparse.csr_matrix(entries, shape=shape)
