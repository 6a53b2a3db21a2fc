"""Paint a made-up tissue as a haematoxylin and eosin stain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_stsr.slides.tissue import Tissue

Floats32 = NDArray[np.float32]

# Optical density of the two stains in red, green and blue (ImageJ's "H&E" vectors).
_HAEMATOXYLIN = (0.644, 0.717, 0.267)
_EOSIN = (0.093, 0.954, 0.283)
# A domain is first evaluated on every _STEP-th pixel: its stain changes no faster than that.
_STEP = 4
_NUCLEUS_UM = 6.0
_PAPER = 244.0


def paint(
    tissue: Tissue, size_px: tuple[int, int], um_per_px: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Paint a tissue: nuclei density and eosin by domain, fibres, white where there is none.

    Parameters
    ----------
    tissue : Tissue
    size_px : (int, int)
        Rows and columns; pixel (row, column) shows the place (column, row) · `um_per_px`.
    um_per_px : float
    rng : Generator

    Returns
    -------
    (rows, columns, 3) uint8 array
    """
    y, x = (np.arange(0, n + 2 * _STEP, _STEP) * um_per_px for n in size_px)
    places = np.stack(np.meshgrid(x, y), axis=-1)
    domain = tissue.domain(places)
    many = len(tissue.seeds)
    shade = tissue.gradients(places)[..., 0]
    crowding = rng.permutation(np.geomspace(0.5, 4.0, many))[domain] * np.exp(0.15 * shade)
    pink = rng.permutation(np.linspace(0.18, 0.42, many))[domain] * np.exp(0.08 * shade)
    inside = _enlarged(tissue.depth(places), size_px) > 0

    eosin = _enlarged(pink, size_px) * (1 + 0.35 * _fibres(size_px, um_per_px, rng))
    nuclei = _nuclei(_enlarged(crowding, size_px) * inside, um_per_px, rng)
    cover = ndimage.gaussian_filter(inside.astype(np.float32), 1.0)
    blue, red = cover * (0.06 + nuclei), cover * np.clip(eosin, 0.03, None)
    light = np.stack(
        [
            _PAPER * np.exp(-(h * blue + e * red))
            for h, e in zip(_HAEMATOXYLIN, _EOSIN, strict=True)
        ],
        axis=-1,
    )
    return np.asarray(np.clip(light, 0, 255), dtype=np.uint8)


def _enlarged(coarse: NDArray[np.float64], size_px: tuple[int, int]) -> Floats32:
    """Interpolate from every _STEP-th pixel to all pixels, one axis after the other."""
    fine = coarse.astype(np.float32)
    for axis, n in enumerate(size_px):
        below, rest = np.divmod(np.arange(n), _STEP)
        weight = np.expand_dims((rest / _STEP).astype(np.float32), 1 - axis)
        fine = np.take(fine, below, axis) * (1 - weight) + np.take(fine, below + 1, axis) * weight
    return fine


def _fibres(size_px: tuple[int, int], um_per_px: float, rng: np.random.Generator) -> Floats32:
    """Wavy texture of standard deviation 1, longer along x than along y."""
    noise = rng.standard_normal(size_px, dtype=np.float32)
    texture = ndimage.gaussian_filter(noise, (4 / um_per_px, 14 / um_per_px), truncate=2.5)
    return np.asarray(texture / texture.std(), dtype=np.float32)


def _nuclei(crowding: Floats32, um_per_px: float, rng: np.random.Generator) -> Floats32:
    """Haematoxylin of nuclei scattered with the given crowding (thousands per mm²)."""
    chance = crowding * np.float32(1000 * (um_per_px / 1000) ** 2)
    dots = (rng.random(crowding.shape, dtype=np.float32) < chance).astype(np.float32)
    wide = _NUCLEUS_UM / 2 / um_per_px
    # A flattened bump per nucleus: dark, with a soft edge, and no darker where two overlap.
    bumps = ndimage.gaussian_filter(dots, wide * 0.8, truncate=2.5)
    bumps *= np.float32(2 * np.pi * (wide * 0.8) ** 2)
    return np.asarray(0.9 * np.tanh(2 * bumps), dtype=np.float32)
