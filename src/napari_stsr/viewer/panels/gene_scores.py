"""How well each gene could be predicted, in words for the list of genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_stsr.evaluation import Evaluation


def predictability(evaluation: Evaluation) -> dict[str, str]:
    """Say r of every gene scored on the first task, of what was possible: id → words.

    Of the method the evaluation is about, or of the best baseline where no method took part.
    """
    if not evaluation.tasks:
        return {}
    task = evaluation.tasks[0]
    one = evaluation.subject(task)
    if one is None or not evaluation.scores(task, one.key):
        one = evaluation.best_baseline(task)
    if one is None:
        return {}
    table = evaluation.genes(task)
    said = {}
    for gene, r, ceiling in zip(table.index, table[one.key], table["ceiling"], strict=True):
        if np.isfinite(r):
            of = f" of {ceiling:.2f}" if np.isfinite(ceiling) else ""
            said[str(gene)] = f"   r {r:.2f}{of}"
    return said
