"""Hidden locations: a fifth at random, or a fifth in compact patches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stsr.errors import InputError
from napari_stsr.evaluation.protocols.base import SHARE_PARTS, Protocol, labels_of
from napari_stsr.evaluation.task import Task
from napari_stsr.slides import Slide

Ints = NDArray[np.int64]
_FEWEST = 5
_PATCH = 30
_MOST_PATCHES = 4
_SAMPLE = 20_000


class _Hidden(Protocol):
    """Hide whole locations; every location is hidden in one fold."""

    judged = 1 / SHARE_PARTS

    def _check(self, slide: Slide, folds: int) -> None:
        least = _FEWEST * max(folds, SHARE_PARTS)
        if len(slide) < least:
            raise InputError(
                f"{len(slide)} {slide.location_word}s are too few for {folds} folds.",
                f"Take a slide or region of at least {least}, or fewer folds.",
            )

    def _fold(self, slide: Slide, number: int, folds: int, seed: int) -> list[Task]:
        hidden = np.asarray(self.partition(slide, folds, seed) == number)
        labels = labels_of(slide)
        task = Task(
            self.name,
            number,
            slide.take(~hidden),
            slide.locations().take(hidden),
            slide.counts.take(hidden),
            np.full(int(hidden.sum()), -1, dtype=np.int64),
            labels=None if labels is None else labels[hidden],
        )
        return [task]

    def partition(self, slide: Slide, folds: int, seed: int) -> Ints:
        """Fold that hides each location; there are at least five, so that a fifth is hidden."""
        raise NotImplementedError


class HiddenSpots(_Hidden):
    """Hide locations at random."""

    name = "hidden-spots"
    title = "Hidden spots"
    summary = "A random fifth of the locations is hidden and predicted from the others."

    def partition(self, slide: Slide, folds: int, seed: int) -> Ints:
        """Deal shuffled locations out to the folds."""
        order = np.random.default_rng([seed, 1]).permutation(len(slide))
        dealt = np.empty(len(slide), dtype=np.int64)
        dealt[order] = np.arange(len(slide)) % max(folds, SHARE_PARTS)
        return dealt


class HiddenBlocks(_Hidden):
    """Hide compact patches of tissue."""

    name = "hidden-blocks"
    title = "Hidden blocks"
    summary = "About a fifth of the tissue is hidden in compact patches, far from what is measured."

    def partition(self, slide: Slide, folds: int, seed: int) -> Ints:
        """Deal patches out to the folds, the largest first, each to the emptiest fold."""
        parts = max(folds, SHARE_PARTS)
        each = int(np.clip(len(slide) // (parts * _PATCH), 1, _MOST_PATCHES))
        patch = patches(slide.coordinates, parts * each, seed)
        size = np.bincount(patch, minlength=parts * each)
        fold = np.empty(len(size), dtype=np.int64)
        filled, dealt = np.zeros(parts), np.zeros(parts)
        for number in np.argsort(-size, kind="stable"):
            open_ = np.where(dealt < each, filled, np.inf)
            chosen = int(np.argmin(open_))
            fold[number] = chosen
            filled[chosen] += size[number]
            dealt[chosen] += 1
        return fold[patch]


def patches(coordinates: NDArray[np.float64], many: int, seed: int) -> Ints:
    """Cut the tissue into compact patches of about equal size.

    Discs cannot tile, so these are the cells of evenly spread centres (Lloyd's relaxation).

    Returns
    -------
    (n,) int array
        Patch of every location, 0 … many-1.
    """
    rng = np.random.default_rng([seed, 2])
    some = coordinates
    if len(coordinates) > _SAMPLE:
        some = coordinates[rng.choice(len(coordinates), _SAMPLE, replace=False)]
    centres = some[rng.choice(len(some), many, replace=False)]
    for _ in range(50):
        nearest = cKDTree(centres).query(some)[1]
        size = np.bincount(nearest, minlength=many)
        sums = [np.bincount(nearest, some[:, axis], minlength=many) for axis in (0, 1)]
        moved = np.column_stack(sums) / np.maximum(size, 1)[:, None]
        centres = np.where(size[:, None] > 0, moved, centres)
    return np.asarray(cKDTree(centres).query(coordinates)[1], dtype=np.int64)
