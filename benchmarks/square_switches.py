"""What each part of Square is worth on real slides: one switch a row, on development splits.

Hidden spots are hidden again inside the training part of the benchmark's first fold, so that no
row sees what `accuracy.py` judges by in that fold; superspots are another draw of molecules::

    python benchmarks/square_switches.py --data DATA

Finished fits are kept in `--folder`; the table stands, with what it says, in
`docs/decisions/switches.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accuracy import opened

from napari_stsr.evaluation import Contender, Evaluation, EvaluationPlan, evaluate
from napari_stsr.evaluation.protocols import protocol
from napari_stsr.files import written_aside
from napari_stsr.slides import Slide

ALONE: dict[str, Any] = {"mix": "off"}
ROWS: dict[str, dict[str, Any]] = {
    "`auto`": {},
    "`auto`, one ring": {"rings": 1},
    "`auto`, three rings": {"rings": 3},
    "`auto`, own counts off": {"own_counts": False},
    "alone (no kernel)": ALONE,
    "alone, one ring": ALONE | {"rings": 1},
    "alone, raw ring as context": ALONE | {"context": "ring"},
    "alone, flat prior": ALONE | {"prior": "flat"},
    "alone, blocks pooled, not thinned": ALONE | {"depth": "pooled"},
    "alone, t = 1": ALONE | {"centre_prior": 1.0},
    "alone, t = 8": ALONE | {"centre_prior": 8.0},
    "alone, Poisson likelihood": ALONE | {"likelihood": "poisson"},
    "alone, ZINB likelihood": ALONE | {"likelihood": "zinb"},
    "alone, without virtual nodes": ALONE | {"ablation": "virtual nodes"},
    "alone, without VAE": ALONE | {"ablation": "vae"},
    "alone, without attention": ALONE | {"ablation": "attention"},
    "alone, twice the steps": ALONE | {"embedding_steps": 4000, "graph_steps": 2400},
}
BASELINES = ("factor_kernel", "poisson_kernel", "kriging")
# Set, protocol, folds.
SPLITS = (
    ("her2st_C2", "hidden-spots", 2),
    ("st_mob1", "hidden-spots", 2),
    ("st_mob1", "superspots-split", 1),
    ("dlpfc_151673", "hidden-spots", 1),
)
_SEED = 7
_MARK = {"better": " ▲", "worse": " ▼", "alike": ""}


def judged(asked: argparse.Namespace) -> Iterator[tuple[str, Evaluation]]:
    """Evaluate all rows on all splits, with a heading each."""
    contenders = [
        *(Contender("square", "auto", values, label) for label, values in ROWS.items()),
        *BASELINES,
    ]
    for name, what, folds in SPLITS:
        slide, _ = opened(asked.data, name)
        if what == "hidden-spots":
            slide = _training_part(slide)
        plan = EvaluationPlan([what], contenders, folds, seed=_SEED)
        yield f"{name}, {what}", evaluate(slide, plan, asked.folder / f"{name}-{what}")
        print(f"{name}, {what}: done", flush=True)


def _training_part(slide: Slide) -> Slide:
    """What the benchmark's first fold shows."""
    (task,) = protocol("hidden-spots").fold(slide, 0, 5, 0)
    return task.slide


def page(found: dict[str, Evaluation]) -> str:
    """Markdown of the table."""
    titles = [*ROWS, *BASELINES]
    cells = {title: [_cell(one, title) for one in found.values()] for title in titles}
    body = [f"| {title} | {' | '.join(told)} |" for title, told in cells.items()]
    return "\n".join(
        [
            "| | " + " | ".join(found) + " |",
            "|---" * (len(found) + 1) + "|",
            *body,
        ]
    )


def _cell(one: Evaluation, title: str) -> str:
    """Write r in logs / counts, marked against the row it was changed from."""
    (task,) = one.tasks
    form = one.forms(task)[-1]
    keys = {c.label or c.method: c.key for c in one.plan.methods}
    rows = one.summary(task)
    row = rows[(rows["method"] == keys[title]) & (rows["form"] == form)].iloc[0]
    mark = ""
    if title in ROWS and title not in ("`auto`", "alone (no kernel)"):
        start = "alone (no kernel)" if title.startswith("alone") else "`auto`"
        mark = _MARK[one.compare(task, keys[title], keys[start], form).verdict]
    return f"{row['r_log']:.3f} / {row['r_raw']:.3f}{mark}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--folder", type=Path, default=Path("square_switches"))
    parser.add_argument("--output", type=Path, default=Path("square_switches.md"))
    asked = parser.parse_args()
    found: dict[str, Evaluation] = {}
    for heading, one in judged(asked):
        found[heading] = one
        with written_aside(asked.output) as aside:
            aside.write_text(page(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
