"""A made-up tissue: its outline, its hole and its domains, known at every place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tissue:
    """A tissue as functions of place; every method takes points (..., 2) in µm.

    Parameters
    ----------
    seeds : (q, 2) float array
        Seeds of the domains, in µm: a domain is where its seed is nearest (Voronoi).
    waves : (f, 3) float array
        Gradients: wave vector (radians per µm, x and y) and phase of each.
    centre, half : (2,) float array
        Middle and half sizes of the tissue in µm.
    ripples : (h, 2) float array, optional
        Amplitude and phase of the outline's 2nd, 3rd, … harmonic; without it there is no outline
        and all is tissue.
    hole : (3,) float array, optional
        Middle (x, y) and radius of a hole in µm.
    """

    seeds: Floats
    waves: Floats
    centre: Floats
    half: Floats
    ripples: Floats | None = None
    hole: Floats | None = None

    def _bent(self, points: ArrayLike) -> Floats:
        """Points moved by a smooth wave, so that borders curve."""
        places = np.asarray(points, dtype=np.float64)
        phase = 4 * (places @ self.waves[:2, :2].T + self.waves[:2, 2])
        return np.asarray(places + 0.06 * self.half * np.sin(phase))

    def domain(self, points: ArrayLike) -> Ints:
        """Domain at each point: its nearest seed, with borders slightly bent."""
        places = self._bent(points)
        away = [np.sum((places - seed) ** 2, axis=-1) for seed in self.seeds]
        return np.asarray(np.argmin(away, axis=0), dtype=np.int64)

    def gradients(self, points: ArrayLike) -> Floats:
        """Smooth fields of variance 1 or so, shape (..., f)."""
        places = np.asarray(points, dtype=np.float64)
        return np.asarray(np.sqrt(2) * np.sin(places @ self.waves[:, :2].T + self.waves[:, 2]))

    def depth(self, points: ArrayLike) -> Floats:
        """How far inside the tissue a point lies, in half sizes: 0 on the border, < 0 outside."""
        places = np.asarray(points, dtype=np.float64)
        if self.ripples is None:
            return np.ones(places.shape[:-1])
        u, v = np.moveaxis((places - self.centre) / self.half, -1, 0)
        angle = np.arctan2(v, u)
        # A superellipse: rounder than a box, so that a slide is mostly tissue.
        reach = 0.97 / (np.abs(np.cos(angle)) ** 4 + np.abs(np.sin(angle)) ** 4) ** 0.25
        for order, (size, phase) in enumerate(self.ripples, 2):
            reach = reach * (1 - size * (1 + np.cos(order * angle + phase)))
        depth = np.asarray(reach - np.hypot(u, v))
        if self.hole is None:
            return depth
        hole = np.linalg.norm(self._bent(points) - self.hole[:2], axis=-1) - self.hole[2]
        return np.asarray(np.minimum(depth, hole / self.half.mean()))


def made_up_tissue(
    size_um: ArrayLike, domains: int, whole: bool, rng: np.random.Generator
) -> Tissue:
    """Draw a tissue at random.

    Parameters
    ----------
    size_um : (2,) float array
        Width and height it has to fill.
    domains : int
    whole : bool
        All is tissue: no outline and no hole.
    rng : Generator
    """
    size = np.asarray(size_um, dtype=np.float64)
    turn = rng.uniform(0, 2 * np.pi, 4)
    length = rng.uniform(0.5, 1.5, 4) * np.pi / size.mean()
    direction = np.column_stack([np.cos(turn), np.sin(turn)])
    waves = np.column_stack([length[:, None] * direction, rng.uniform(0, 2 * np.pi, 4)])
    outline = np.column_stack([rng.uniform(0.005, 0.025, 4), rng.uniform(0, 2 * np.pi, 4)])
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.45)
    middle = size / 2 + away * size / 2 * np.array([np.cos(angle), np.sin(angle)])
    return Tissue(
        _spread(domains, size, rng),
        waves,
        size / 2,
        size / 2,
        None if whole else outline,
        None if whole else np.array([*middle, 0.08 * size.min()]),
    )


def _spread(many: int, size: Floats, rng: np.random.Generator) -> Floats:
    """Seeds that keep apart: each is the candidate farthest from those before it."""
    seeds = rng.uniform(0.15, 0.85, (1, 2)) * size
    while len(seeds) < many:
        offered = rng.uniform(0.1, 0.9, (8, 2)) * size
        away = np.linalg.norm(offered[:, None] - seeds[None], axis=-1).min(axis=1)
        seeds = np.vstack([seeds, offered[np.argmax(away)]])
    return seeds
