"""Targets drawn as a picture: which target each pixel shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull, cKDTree

from napari_stsr.errors import InputError
from napari_stsr.slides import Targets

_ROWS_AT_ONCE = 128


@dataclass(frozen=True, eq=False)
class CellRaster:
    """Target shown by every pixel of a picture; paint it once per gene.

    Parameters
    ----------
    index : (h, w) int32 array
        Row of the target whose cell holds the pixel's centre, -1 outside all cells.
    origin_um : (2,) float array
        Centre (x, y) of pixel (0, 0) in µm.
    um_per_px : float
        Size of a pixel of this picture (not of the slide's image).
    """

    index: NDArray[np.int32]
    origin_um: NDArray[np.float64]
    um_per_px: float

    @classmethod
    def of(
        cls, targets: Targets, um_per_px: float | None = None, longest: int = 2000
    ) -> CellRaster:
        """Draw targets.

        Parameters
        ----------
        targets : Targets
            A pixel belongs to the nearest target, and only if that target's cell holds it.
        um_per_px : float, optional
            Pixel size; a third of a cell's width by default.
        longest : int
            Most pixels along a side; the pixels grow where more would be needed.

        Raises
        ------
        InputError
            When the pixel size is not positive.
        """
        low, size, step = _frame(targets, um_per_px, longest)
        origin = low + step / 2
        tree = cKDTree(targets.coordinates)
        normals, reaches = _sides(targets.cell)
        farthest = float(np.linalg.norm(targets.cell, axis=1).max()) * (1 + 1e-9)
        index = np.full((size[1], size[0]), -1, dtype=np.int32)
        x = origin[0] + step * np.arange(size[0])
        for top in range(0, size[1], _ROWS_AT_ONCE):
            y = origin[1] + step * np.arange(top, min(top + _ROWS_AT_ONCE, size[1]))
            pixels = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)
            away, near = tree.query(pixels, distance_upper_bound=farthest)
            found = np.isfinite(away)
            offset = pixels[found] - targets.coordinates[near[found]]
            inside = (offset @ normals.T <= reaches + 1e-9 * farthest).all(axis=1)
            index[top : top + len(y)][found] = np.where(inside, near[found], -1)
        return cls(index, origin, step)

    def paint(self, values: ArrayLike) -> NDArray[np.float32]:
        """Return one value per target as a picture (h, w), nan outside the cells."""
        known = np.append(np.asarray(values, dtype=np.float32), np.float32(np.nan))
        return known[self.index]

    def target_at(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """Target drawn at each of the points (n, 2) in µm, -1 where there is none."""
        place = np.rint((np.atleast_2d(points) - self.origin_um) / self.um_per_px)
        column, row = place.astype(np.int64).T
        height, width = self.index.shape
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        found = self.index[np.where(inside, row, 0), np.where(inside, column, 0)]
        return np.where(inside, found, -1).astype(np.int64)


def _frame(
    targets: Targets, um_per_px: float | None, longest: int
) -> tuple[NDArray[np.float64], tuple[int, int], float]:
    """Corner in µm, size (w, h) in pixels and pixel size of a picture that holds every cell."""
    low = targets.coordinates.min(axis=0) + targets.cell.min(axis=0)
    extent = targets.coordinates.max(axis=0) + targets.cell.max(axis=0) - low
    if um_per_px is None:
        um_per_px = float(np.sqrt(ConvexHull(targets.cell).volume)) / 3
    if not (np.isfinite(um_per_px) and um_per_px > 0):
        raise InputError(f"A pixel of {um_per_px} µm cannot be.", "Give a positive length.")
    step = max(float(um_per_px), float(extent.max()) / longest)
    width, height = np.ceil(extent / step - 1e-9).astype(int).clip(1).tolist()
    return low, (width, height), step


def _sides(cell: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Outward normals of a convex cell's sides and their distances from the centre."""
    hull = ConvexHull(cell)
    return hull.equations[:, :2], -hull.equations[:, 2]
