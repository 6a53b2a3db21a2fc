"""What a protocol is: a rule that turns a slide into tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.evaluation.task import Task
from napari_stsr.slides import Slide

LABELS = ("domain", "layer", "label", "region", "annotation", "celltype", "cell_type")
"""Columns of a slide's annotations that hold known domains, the first one counts."""

SHARED = (
    " The truth holds the very molecules that were shown, noise included: what hands its input on "
    "unchanged scores highest. Read it as a test of faithfulness, not of skill."
)
"""What is said of a protocol whose truth is not independent of its input."""

SHARE_PARTS = 5
"""A hidden fifth: there are at least so many folds, of which fewer may be used."""


class Protocol(ABC):
    """A rule that hides a part of a slide and keeps it as truth.

    Attributes
    ----------
    name : str
        As on the command line. Tasks may be reported under longer names that start with it.
    title, summary : str
        For people: a few words, and a sentence.
    splits : bool
        Whether molecules are split, which needs whole counts.
    judged : float
        Share of the locations that one fold judges.
    """

    name: str
    title: str
    summary: str
    splits: bool = False
    judged: float = 1.0

    def check(self, slide: Slide, folds: int = 5) -> None:
        """Raise InputError, with the reason, where this slide cannot do the protocol."""
        if folds < 1:
            raise InputError(f"{folds} folds cannot be.", "Give at least 1.")
        if not slide.counts.nnz:
            raise InputError("This slide holds no counts.", "Choose other genes or another slide.")
        if self.splits and not slide.counts.whole:
            raise InputError(
                f"{self.name} splits molecules, and this slide's values are not whole numbers.",
                "Open the raw counts instead of normalised ones.",
            )
        self._check(in_tissue(slide), folds)

    def tasks(self, slide: Slide, folds: int = 5, seed: int = 0) -> list[Task]:
        """Return the tasks of all folds.

        Parameters
        ----------
        slide : Slide
            Already restricted to the genes of the evaluation.
        folds : int
            How many at most: some protocols have only a few.
        seed : int
            Same slide, folds and seed, same tasks.

        Raises
        ------
        InputError
            When the slide cannot do the protocol.
        """
        self._start(slide, folds, seed)
        tissue = in_tissue(slide)
        numbers = range(self.fold_count(slide, folds))
        return [task for number in numbers for task in self._fold(tissue, number, folds, seed)]

    def fold(self, slide: Slide, number: int, folds: int = 5, seed: int = 0) -> list[Task]:
        """Return the tasks of one fold alone, the same as `tasks` makes them.

        For large slides and workers: nothing else is made.
        """
        self._start(slide, folds, seed)
        many = self.fold_count(slide, folds)
        if not 0 <= number < many:
            raise InputError(f"There is no fold {number}.", f"There are 0 to {many - 1}.")
        return self._fold(in_tissue(slide), number, folds, seed)

    def fold_count(self, slide: Slide, folds: int = 5) -> int:
        """Folds that `tasks` makes when so many are asked for."""
        return folds

    def _start(self, slide: Slide, folds: int, seed: int) -> None:
        if seed < 0:
            raise InputError(f"A seed of {seed} cannot be.", "Give 0 or more.")
        self.check(slide, folds)

    @abstractmethod
    def _check(self, slide: Slide, folds: int) -> None:
        """Raise InputError where the protocol's own needs are not met."""

    @abstractmethod
    def _fold(self, slide: Slide, number: int, folds: int, seed: int) -> list[Task]:
        """Make the tasks of a fold, of a slide that was checked and holds tissue only."""


def in_tissue(slide: Slide) -> Slide:
    """Return the slide without locations off the tissue: an empty one is no achievement."""
    return slide if slide.in_tissue.all() else slide.take(slide.in_tissue)


def labels_of(slide: Slide) -> NDArray[np.str_] | None:
    """Known domains of the locations ("" where unknown), if the annotations hold them."""
    for name in slide.annotations.columns:
        if str(name).lower() in LABELS:
            found = slide.annotations[name]
            return found.astype(object).where(found.notna(), "").to_numpy().astype(np.str_)
    return None


def need_lattice(slide: Slide, name: str) -> None:
    """Raise InputError where the slide has no lattice."""
    if slide.lattice.kind == "none":
        raise InputError(
            f"{name} pools neighbouring spots, and this slide lies on no lattice.",
            "Choose hidden-spots, or pseudo-visium for single cells.",
        )
