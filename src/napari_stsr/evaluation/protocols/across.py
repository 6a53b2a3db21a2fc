"""Leave a slide out: learn from the other slides, predict the one that was left."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.evaluation.protocols.base import in_tissue, labels_of
from napari_stsr.evaluation.task import Task
from napari_stsr.slides import Counts, Slide


def leave_slide_out(slides: Sequence[Slide]) -> list[tuple[list[Slide], Task]]:
    """Make one fold a slide, for methods that learn from several slides.

    Parameters
    ----------
    slides : sequence of Slide

    Returns
    -------
    list of (list of Slide, Task)
        The slides to learn from, and the task on the slide left out. The task's slide keeps its
        places and image, but none of its counts. All have the genes that every slide has.

    Raises
    ------
    InputError
        When there are fewer than two slides, or they share no gene.
    """
    if len(slides) < 2:
        raise InputError(
            f"Leaving a slide out needs several slides, not {len(slides)}.", "Give at least two."
        )
    shared = reduce(np.intersect1d, [slide.genes.ids for slide in slides])
    if not len(shared):
        raise InputError("The slides share no gene.", "Give slides with the same gene ids.")
    same = [in_tissue(s).with_genes(s.genes.columns(shared.tolist())) for s in slides]
    folds = []
    for number, left in enumerate(same):
        empty = Counts(sparse.csr_matrix(left.counts.shape, dtype=left.counts.rows.dtype))
        task = Task(
            "leave-slide-out",
            number,
            left.with_counts(empty),
            left.locations(),
            left.counts,
            np.arange(len(left)),
            labels=labels_of(left),
        )
        folds.append(([slide for slide in same if slide is not left], task))
    return folds
