"""The three things a fitted method can be asked for, and what their results hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.results import Enhancement, ImputedExpression
from napari_stsr.slides import Slide, Targets

Task = Literal["enhance", "denoise", "impute"]


@dataclass(frozen=True)
class TaskWords:
    """How a task is called, and what its result holds.

    Parameters
    ----------
    title : str
        For the choice in the window.
    help : str
        One sentence.
    word : str
        What its values are called, in a word for files and readings.
    result : str
        What a layer of it shows.
    kind : str
        ``"predicted"``, or ``"measured and predicted"`` where both stand in one matrix.
    contents : mapping
        What every matrix of the result holds; empty where their names say it.
    """

    title: str
    help: str
    word: str
    result: str
    kind: str = "predicted"
    contents: Mapping[str, str] = field(default_factory=dict)


TASKS: dict[Task, TaskWords] = {
    "enhance": TaskWords(
        "More places",
        "Predict between the measured locations: their parts, a grid.",
        "enhanced",
        "enhanced",
    ),
    "denoise": TaskWords(
        "Denoise",
        "Predict at the measured locations themselves: what the method expects there.",
        "denoised",
        "denoised",
        contents={"expression": "predicted: expected counts at the measured locations"},
    ),
    "impute": TaskWords(
        "Fill in genes",
        "Keep every count above zero as measured; where zero was measured, predict.",
        "filled in",
        "measured, zeros filled in",
        "measured and predicted",
        {
            "expression": "measured counts where above zero; predicted: expected counts where "
            "zero was measured",
            "denoised": "predicted: expected counts at all measured locations",
        },
    ),
}


def check_task(task: Task, places_named: bool) -> None:
    """Refuse an unknown task, and places for one that has its own.

    Raises
    ------
    InputError
    """
    if task not in TASKS:
        raise InputError(f"There is no task {task!r}.", f"Tasks: {', '.join(TASKS)}.")
    if task != "enhance" and places_named:
        raise InputError(
            f"{TASKS[task].title!r} works at the measured locations and takes no other places.",
            "Leave out subspots, grid and targets; a region may be named.",
        )


def finished(task: Task, result: Enhancement, slide: Slide) -> Enhancement:
    """Make a prediction at the measured locations the result of its task.

    Raises
    ------
    InputError
        When measured counts are to be kept that the slide does not have.
    """
    if task == "enhance":
        return result
    expected = result.expression_source if result.denoised is None else result.denoised
    if task == "denoise":
        return replace(result, expression_source=expected, denoised=None)
    rows = _rows(slide, result.targets)
    unknown = ~np.isin(result.genes.ids, slide.genes.ids)
    if unknown.any():
        raise InputError(
            f"{int(unknown.sum()):,} genes were not measured on {slide.name}, the first is "
            f"{result.genes.label(int(np.argmax(unknown)))!r}.",
            "Name the genes to fill in.",
        )
    columns = slide.genes.columns(result.genes.ids.tolist())
    # What is filled in is taken as missing, so the zero counted there must not pull it down.
    spread = result.uncertainty
    if result.unseen is not None:
        expected, spread = result.unseen.expected, result.unseen.spread
    kept = ImputedExpression(expected, slide.counts, rows, columns)
    return replace(result, expression_source=kept, denoised=expected, uncertainty=spread)


def _rows(slide: Slide, targets: Targets) -> NDArray[np.int64]:
    """Rows of a slide that its own locations, as targets, stand in."""
    found = pd.Index(slide.barcodes).get_indexer(pd.Index(targets.ids))
    return np.asarray(found, dtype=np.int64)
