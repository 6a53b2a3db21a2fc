"""Superspots: blocks of locations are pooled into one, and their parts asked for."""

from __future__ import annotations

import numpy as np

from napari_stsr.errors import InputError
from napari_stsr.evaluation.protocols.base import (
    SHARED,
    Protocol,
    in_tissue,
    labels_of,
    need_lattice,
)
from napari_stsr.evaluation.task import Task, halves
from napari_stsr.slides import Slide
from napari_stsr.slides.pooling import complete_blocks, pool_blocks

FEWEST_BLOCKS = 16
_BLOCKS = {"square": {4: "2x2", 9: "3x3"}, "hex": {7: "flower"}}


class Superspots(Protocol):
    """Pool blocks and predict the original locations as their subspots.

    A fold is a phase: where on the lattice the blocks start. There are as many as parts.

    Parameters
    ----------
    split : bool
        Pool one half of the molecules and keep the other half as truth. Without it the truth
        shares its noise with the input, and an equal share does well while doing nothing.
    """

    def __init__(self, split: bool) -> None:
        self.splits = split
        self.name = "superspots-split" if split else "superspots"
        self.title = "Superspots, molecules split" if split else "Superspots"
        self.summary = "Blocks of spots are pooled into one; the original spots are predicted" + (
            " and compared with molecules that were not pooled." if split else f".{SHARED}"
        )

    def variants(self, slide: Slide) -> dict[int, str]:
        """Block sizes with enough complete blocks in every phase, and what they are called."""
        found = {}
        for k, called in self._sizes(slide).items():
            phases = range(k) if len(slide) <= 100_000 else (0,)
            many = (len(complete_blocks(slide.lattice, k, phase)[0]) for phase in phases)
            if min(many) >= FEWEST_BLOCKS:
                found[k] = called
        return found

    def _sizes(self, slide: Slide) -> dict[int, str]:
        return _BLOCKS[slide.lattice.kind]

    def fold_count(self, slide: Slide, folds: int = 5) -> int:
        """Folds asked for, but no more than phases."""
        return min(folds, max(self.variants(in_tissue(slide))))

    def _check(self, slide: Slide, folds: int) -> None:
        need_lattice(slide, self.name)
        if not self.variants(slide):
            raise InputError(
                f"{len(slide):,} {slide.location_word}s hold fewer than {FEWEST_BLOCKS} complete "
                "blocks to pool.",
                "Take a larger slide or region, or hidden-spots.",
            )

    def _fold(self, slide: Slide, number: int, folds: int, seed: int) -> list[Task]:
        tasks = []
        seen, truth, second = slide, slide.counts, None
        if self.splits:
            second, truth = halves(slide.counts, [seed, 3, number])
            seen = slide.with_counts(second)
        labels = labels_of(slide)
        for k, called in self.variants(slide).items():
            if number >= k:
                continue
            phase = int(np.random.default_rng([seed, 4, k]).permutation(k)[number])
            pooled, members = pool_blocks(seen, k, phase)
            rows = members.ravel()
            task = Task(
                self._reported(called),
                number,
                pooled,
                pooled.subspots(k),
                truth.take(rows),
                np.repeat(np.arange(len(members)), k),
                labels=None if labels is None else labels[rows],
                second=None if second is None else second.take(rows),
                shares_noise=not self.splits,
            )
            tasks.append(task)
        return tasks

    def _reported(self, called: str) -> str:
        return f"{self.name}-{called}"


class HdBins(Superspots):
    """Pool 2 × 2 bins, as 8 µm bins make one of 16 µm, and predict the bins."""

    def __init__(self) -> None:
        super().__init__(split=False)
        self.name = "hd-bins"
        self.title = "Bins"
        self.summary = (
            f"2 × 2 bins are pooled into one of twice the side; the bins are predicted.{SHARED}"
        )

    def _sizes(self, slide: Slide) -> dict[int, str]:
        return {4: ""}

    def _check(self, slide: Slide, folds: int) -> None:
        if slide.kind != "visium-hd":
            raise InputError(
                f"hd-bins needs bins without gaps, and this slide has {slide.location_word}s.",
                "Choose another protocol; single cells can be pooled into bins.",
            )
        super()._check(slide, folds)

    def _reported(self, called: str) -> str:
        return self.name
