"""All methods on all public sets over all protocols, written as `docs/benchmark.md`.

Every piece of work (a method on a fold of a protocol of a set) is kept on disk, so a stopped run
goes on, and a changed method runs alone::

    python benchmarks/accuracy.py --data ../shared/data --folder accuracy --jobs 2

Leave out sets, protocols or methods for a quick look. Where all is there, only the page is written.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
from accuracy_page import write_page

from napari_stsr.evaluation import Evaluation, EvaluationPlan, Opening, evaluating
from napari_stsr.evaluation.protocols import available
from napari_stsr.slides import Slide
from napari_stsr.training.progress import Progress

SETS = {
    "dlpfc_151673": "dlpfc_151673",
    "dlpfc_151674": "dlpfc_151674",
    "her2st_C2": "her2st_C2/spaceranger_like",
    "her2st_C3": "her2st_C3/spaceranger_like",
    "st_mob1": "st_mob1/spaceranger_like",
    "xenium_breast_patch_a": "xenium_breast_patch_a/pikachu.csv.gz",
    "merfish_mouse_poa": "merfish_mouse_poa/merfish_mouse_poa.h5ad",
}
HIDING = ("hidden-spots", "hidden-blocks")
OF_LOCATIONS = (*HIDING, "superspots", "superspots-split", "count-split")
OF_ENTRIES = ("muted-genes", "noise")
OF_CELLS = (*HIDING, "count-split", *OF_ENTRIES, "pseudo-visium", "pseudo-visium-split")
METHODS = ("square", "suica", "baselines", "peers")


def opened(data: Path, name: str) -> tuple[Slide, Opening]:
    """Open a set, with its known domains where it has a table of them."""
    opening = Opening(str(data / SETS[name]))
    slide = opening.open()
    layers = data / name / "layers.csv"
    if layers.is_file():
        table = pd.read_csv(layers, index_col=0).iloc[:, 0].astype(str)
        known = table.reindex(slide.barcodes).fillna("").to_numpy()
        notes = slide.annotations.assign(layer=known)
        slide = replace(slide, annotations=notes)
    return slide, opening


def plans(slide: Slide, asked: argparse.Namespace) -> Iterator[EvaluationPlan]:
    """One plan a protocol the set can do; a failure of one leaves the others."""
    able = available(slide)
    wanted = OF_CELLS if slide.kind == "cells" else OF_LOCATIONS + OF_ENTRIES
    for protocol in wanted:
        if asked.protocols and protocol not in asked.protocols:
            continue
        if able.get(protocol):
            print(f"{slide.name}: {protocol} left out. {able[protocol]}", flush=True)
            continue
        # Folds share the locations out; the other protocols draw anew each time.
        times = asked.folds if protocol in HIDING else asked.draws
        yield EvaluationPlan((protocol,), asked.methods, folds=times, seed=asked.seed)


def finished(
    plan: EvaluationPlan, slide: Slide, opening: Opening, asked: argparse.Namespace
) -> Evaluation:
    """Run what is not on disk yet, and tell how it goes."""
    folder = Path(asked.folder) / slide.name
    # Labels joined here are not in the files: with them the slide goes to the workers as it is.
    jobs = 1 if "layer" in slide.annotations else asked.jobs
    work = evaluating(plan, slide, folder=folder, jobs=jobs, opening=opening)
    told, begun = 0.0, time.monotonic()
    while True:
        try:
            progress: Progress = next(work)
        except StopIteration as end:
            evaluation: Evaluation = end.value
            return evaluation
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(
                f"{slide.name} {plan.protocols[0]}: {progress.stage}, "
                f"{progress.fraction:.0%} after {told - begun:.0f} s",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--folder", default="accuracy")
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--protocols", nargs="*", default=[])
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--draws", type=int, default=2, help="repeats of all but hidden places")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("docs/benchmark.md"))
    parser.add_argument("--note", default="", help="a paragraph for the head of the page")
    asked = parser.parse_args()
    done: dict[str, list[Evaluation]] = {}
    for name in asked.sets:
        slide, opening = opened(asked.data, name)
        slide = replace(slide, name=name)
        for plan in plans(slide, asked):
            evaluation = finished(plan, slide, opening, asked)
            done.setdefault(name, []).append(evaluation)
            for task in evaluation.tasks:
                print(f"{name} {task}: {evaluation.sentence(task)}", flush=True)
        write_page(asked.output, done, command(), (asked.folds, asked.draws), asked.note)


def command() -> str:
    """Return the command that made the page, without places of this machine."""
    words = ["python", "benchmarks/accuracy.py"]
    skip = False
    for word in sys.argv[1:]:
        if skip:
            skip = False
        elif word in ("--data", "--folder", "--output", "--note"):
            skip = True
        else:
            words.append(word)
    return shlex.join(words)


if __name__ == "__main__":
    main()
