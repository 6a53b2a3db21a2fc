"""Structural similarity of maps drawn as rasters of their lattice."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics.figures import Figures, compared, constant
from napari_stsr.slides import Lattice

_WINDOW = 7


def raster_place(coordinates: ArrayLike) -> NDArray[np.int64] | None:
    """Row and column (m, 2) of targets on a raster, None where they make no picture.

    A hex lattice becomes rows shifted by half a step, each site two columns wide. Targets make a
    picture if they lie on a lattice and have on average at least half of its neighbours.
    """
    lattice = Lattice.from_coordinates(np.asarray(coordinates, dtype=np.float64))
    if lattice.kind == "none" or (lattice.neighbours() >= 0).mean() < 0.5:
        return None
    i, j = lattice.sites.T
    place = np.column_stack([j, 2 * i + j] if lattice.kind == "hex" else [j, i])
    place -= place.min(axis=0)
    return place if (place.max(axis=0) + 1 >= _WINDOW).all() else None


def structural_similarity(
    truth: ArrayLike, predicted: ArrayLike, place: NDArray[np.int64]
) -> Figures:
    """SSIM per gene (Wang et al. 2004; scikit-image), averaged over the targets' pixels.

    Both maps are shifted and scaled by the truth's range. Pixels without a target hold the truth's
    mean in both maps: they shape the windows at the rim, but are not averaged.

    Parameters
    ----------
    truth, predicted : (m, g) arrays
    place : (m, 2) int array
        Row and column of each target. Where columns are two wide (hex), the pixel between two
        targets takes the left one's value.

    Raises
    ------
    InputError
        When the raster is smaller than a window of 7 pixels.
    """
    from skimage.metrics import structural_similarity as ssim

    t, p, _ = compared(truth, predicted)
    shape = tuple((place.max(axis=0) + 1).tolist())
    if min(shape) < _WINDOW:
        raise InputError(
            f"A raster of {shape[0]} × {shape[1]} pixels is smaller than a window of {_WINDOW}.",
            "Use more targets.",
        )
    shown = _shown(place, shape)
    flat = constant(t)
    values = np.full(t.shape[1], np.nan)
    for gene in np.flatnonzero(~flat):
        low, span = t[:, gene].min(), np.ptp(t[:, gene])
        fill = (t[:, gene].mean() - low) / span
        maps = [
            np.append((column[:, gene] - low) / span, fill)[shown].astype(np.float32)
            for column in (t, p)
        ]
        _, local = ssim(*maps, win_size=_WINDOW, data_range=1.0, full=True)
        values[gene] = local[place[:, 0], place[:, 1]].mean()
    return Figures(values, flat, np.zeros_like(flat))


def _shown(place: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Target shown by every pixel, -1 (the fill) where there is none."""
    shown = np.full((shape[0], shape[1] + 1), -1, dtype=np.int64)
    row, column = place.T
    between = len(place) > 1 and _doubled(place)
    if between:
        shown[row, column + 1] = np.arange(len(place))
    shown[row, column] = np.arange(len(place))
    return shown[:, :-1]


def _doubled(place: NDArray[np.int64]) -> bool:
    """Whether rows and columns run as in a hex lattice, their sum always of one parity."""
    return int(np.ptp(place.sum(axis=1) % 2)) == 0
