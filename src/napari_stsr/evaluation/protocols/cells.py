"""Pseudo-Visium: single cells under made-up spots, asked for at finer places."""

from __future__ import annotations

from dataclasses import replace

from napari_stsr.errors import InputError
from napari_stsr.evaluation.protocols.base import SHARED, Protocol
from napari_stsr.evaluation.task import Task, halves
from napari_stsr.slides import Slide
from napari_stsr.slides.pooling import (
    BIN_UM,
    cell_bins,
    pool_cells,
    pooled_counts,
    spot_parts,
)


class PseudoVisium(Protocol):
    """Pool cells into 55 µm discs on a 100 µm hexagonal lattice.

    Each fold lays the lattice elsewhere and makes two tasks of the same slide: ``…-subspots``, the
    seven parts of each disc, and ``…-bins``, bins of 16 µm under and between the spots.

    Parameters
    ----------
    split : bool
        Pool one half of the molecules and keep the other half as truth.
    """

    def __init__(self, split: bool) -> None:
        self.splits = split
        self.name = "pseudo-visium-split" if split else "pseudo-visium"
        self.title = "Pseudo-Visium, molecules split" if split else "Pseudo-Visium"
        self.summary = (
            "Single cells are pooled into Visium's spots; parts of spots and bins between them are "
            + ("compared with molecules that were not pooled." if split else f"predicted.{SHARED}")
        )

    def _check(self, slide: Slide, folds: int) -> None:
        if slide.lattice.kind != "none":
            raise InputError(
                f"{self.name} pools single cells, and this slide has {slide.location_word}s.",
                "Choose superspots.",
            )
        pool_cells(slide, "visium")

    def _fold(self, slide: Slide, number: int, folds: int, seed: int) -> list[Task]:
        seen, truth, second = slide, slide.counts, None
        if self.splits:
            second, truth = halves(slide.counts, [seed, 5, number])
            seen = slide.with_counts(second)
        pooled = pool_cells(seen, "visium", seed=1 + number + 1000 * seed)
        spots = pooled.slide
        owner, centres = spot_parts(pooled, slide)
        parts = replace(spots.subspots(7), coordinates=centres)
        parents = {"subspots": parts.parent}
        asked = {"subspots": (parts, owner)}
        asked["bins"] = cell_bins(pooled, slide, BIN_UM)
        sites = spots.lattice.nearest_site(asked["bins"][0].coordinates)
        parents["bins"] = spots.lattice.location_at(sites)
        return [
            Task(
                f"{self.name}-{at}",
                number,
                spots,
                targets,
                pooled_counts(truth, into, len(targets)),
                parents[at],
                second=None if second is None else pooled_counts(second, into, len(targets)),
                shares_noise=second is None,
            )
            for at, (targets, into) in asked.items()
        ]
