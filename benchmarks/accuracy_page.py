"""The page of `accuracy.py`: tables by task, what loses, and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from napari_stsr.evaluation import Evaluation
from napari_stsr.files import written_aside

_FORM_WORDS = {
    "denoised": "what the method itself expects",
    "conserved": "made to add up to the measured counts",
    "predicted": "",
}
_SHARED_NOISE = (
    "The truth holds the very molecules the method was shown, noise included. Who hands the input "
    "on unchanged scores highest, higher than any noise-free map could, and denoising costs: read "
    "this table as a test of faithfulness, and those with *split* or *hidden* in their names for "
    "skill."
)
_WITH_SHARED_NOISE = ("superspots", "pseudo-visium", "noise")
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_MORE = {
    "rmse_sd": "RMSE/sd",
    "within_r": "within spots",
    "moran_ratio": "Moran ratio",
    "coverage_90": "coverage of 90 %",
    "ari": "ARI",
    "seconds": "seconds a fold",
}


def write_page(
    path: Path,
    done: Mapping[str, Sequence[Evaluation]],
    command: str,
    repeats: tuple[int, int],
    note: str = "",
) -> None:
    """Write the page and its picture, complete or not at all."""
    rows = pd.concat(
        [e.summary().assign(set=name) for name, held in done.items() for e in held if e.tasks],
        ignore_index=True,
    )
    ceilings = {
        (name, task): (e.ceiling(task), e.ceiling(task, "ceiling_raw"))
        for name, held in done.items()
        for e in held
        for task in e.tasks
    }
    picture = path.parent / "images" / "benchmark.svg"
    draw(rows, picture)
    parts = [
        _head(command, repeats, done),
        *([f"{note}\n"] if note else []),
        f"![The methods against the best baseline](images/{picture.name})\n",
    ]
    parts += ["## What wins and what loses\n", *_verdicts(done)]
    for task in dict.fromkeys(rows["task"]):
        parts += _task(task, rows[rows["task"] == task], ceilings)
    parts += ["## Who gave no answer\n", *_refused(done)]
    with written_aside(path) as aside:
        aside.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _head(command: str, repeats: tuple[int, int], done: Mapping[str, Sequence[Evaluation]]) -> str:
    versions = next(e for held in done.values() for e in held).versions
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"""# Benchmark

How well every method answers for what was hidden from it, on public slides. Made by

```text
{command}
```

with {said}; {repeats[0]} folds of hidden places,
{repeats[1]} draws of everything else; sets:
{", ".join(done)}. Figures are the median over 300 genes (those with the highest
Moran's I in the training part) of the correlation over hidden places, mean over folds, in
**logs / counts**: against log counts per 10,000, and against raw counts. Bold is the best of a
column in either. The [ceiling](metrics.md) is what the noise-free truth would score. How things are
hidden is told under [protocols](protocols.md); peers are our own implementations. SUICA's own
figures are drawn again in [SUICA's table](suica-tables.md), Square's on simulated slides in
[Square's tables](square-tables.md).

Square needs a lattice: of single cells (xenium_breast_patch_a, merfish_mouse_poa) it answers only
for the spots they are pooled into. What it would be worth on their hidden places is not known.

Square's `auto` was chosen on splits inside the training part of fold 0, so only fold 0 was not
looked at on the sets named in [Square beside a kernel](decisions/mixing.md), where it stands alone.
SUICA's was chosen on splits inside the training part of fold 0 of her2st_C2 and st_mob1. Earlier
states of this table led to [gaps told by their rim](decisions/gaps.md) and to the Poisson kernel as
a [companion](decisions/mixing.md#two-kernels), which was tried inside the training part of fold 0
of merfish_mouse_poa; on dlpfc_151674 and xenium_breast_patch_a nothing was chosen.
"""


_MARK = {"better": " ▲", "worse": " ▼", "alike": ""}


def _verdicts(done: Mapping[str, Sequence[Evaluation]]) -> Iterable[str]:
    """Of every method, baselines and peers aside, a table of its lead over the best baseline."""
    cells: dict[str, dict[str, dict[str, str]]] = {}
    for name, held in done.items():
        for evaluation in held:
            for what, title, told in _leads(evaluation):
                cells.setdefault(title, {}).setdefault(what, {})[name] = told
    yield (
        "Median r minus that of the best baseline, in logs / counts; the best in counts can be "
        "another than the best in logs: "
        "▲ better and ▼ worse where the paired 95 % interval of the difference leaves out zero, "
        "otherwise within the noise. Which baseline that is is known only after the fact.\n"
    )
    for title, table in cells.items():
        yield f"### {title} beside the best baseline\n"
        yield "| task | " + " | ".join(done) + " |"
        yield "|---" * (len(done) + 1) + "|"
        for what, row in table.items():
            yield f"| {what} | " + " | ".join(row.get(name, "–") for name in done) + " |"
        yield ""


def _leads(evaluation: Evaluation) -> Iterable[tuple[str, str, str]]:
    """Task, method, and its lead in words a table holds."""
    for task in evaluation.tasks:
        for form in evaluation.forms(task):
            for method in evaluation.plan.methods:
                if method.family != "method" or not evaluation.scores(task, method.key):
                    continue
                told = [_lead(evaluation, task, form, method.key, raw) for raw in (False, True)]
                what = task + ("" if form == "predicted" else f", {form}")
                yield what, method.title, " / ".join(told)


def _lead(evaluation: Evaluation, task: str, form: str, method: str, raw: bool) -> str:
    """The lead over the baseline that is best in logs, or in raw counts; a dash without any."""
    baseline = evaluation.best_baseline(task, form, "r_raw" if raw else "r_log")
    if baseline is None:
        return "–"
    one = evaluation.compare(task, method, baseline.key, form)
    lead, verdict = (one.raw, one.verdict_raw) if raw else (one.log, one.verdict)
    return f"{lead.value:+.3f}{_MARK[verdict]}"


def _task(
    task: str, rows: pd.DataFrame, ceilings: Mapping[tuple[str, str], tuple[float, float]]
) -> Iterable[str]:
    yield f"## {task}\n"
    shared = task.startswith(_WITH_SHARED_NOISE) and "split" not in task
    if shared:
        yield f"{_SHARED_NOISE}\n"
    for form in dict.fromkeys(rows["form"]):
        some = rows[rows["form"] == form]
        if _FORM_WORDS.get(form):
            yield f"### {form.capitalize()}: {_FORM_WORDS[form]}\n"
        sets = list(dict.fromkeys(some["set"]))
        yield "| method | " + " | ".join(sets) + " |"
        yield "|---" * (len(sets) + 1) + "|"
        logs, raw = (some.pivot_table(figure, "title", "set") for figure in ("r_log", "r_raw"))
        order = _over_common(logs)[0].sort_values(ascending=False).index
        for title in order:
            cells = [_pair(logs, raw, title, one) for one in sets]
            yield f"| {title} | " + " | ".join(cells) + " |"
        if not shared:
            tops = [ceilings[one, task] for one in sets]
            yield "| *ceiling* | " + " | ".join(f"*{a:.2f} / {b:.2f}*" for a, b in tops) + " |"
        yield ""
        yield from _further(some, sets)


def _pair(logs: pd.DataFrame, raw: pd.DataFrame, title: str, one: str) -> str:
    told = []
    for table in (logs, raw):
        value, best = table.at[title, one], table[one].max()
        if not np.isfinite(value):
            return "–"
        told.append(f"**{value:.3f}**" if value >= best - 5e-4 else f"{value:.3f}")
    return " / ".join(told)


def _over_common(table: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    """Mean of every method over the sets that all of them answered, and these sets.

    Means over different sets cannot be compared. Where there is no such set, each has its own.
    """
    common = list(table.columns[table.notna().all(axis=0)])
    return (table[common] if common else table).mean(axis=1), common


def _further(some: pd.DataFrame, sets: Sequence[str]) -> Iterable[str]:
    """Other figures: mean over the sets that all methods with that figure have it on."""
    columns: dict[str, pd.Series] = {}
    for name, heading in _MORE.items():
        if name not in some or not some[name].notna().any():
            continue
        table = some.pivot_table(name, "title", "set")
        mean, common = _over_common(table)
        if common:
            where = ", ".join(one for one in sets if one in common)
            columns[f"{heading} ({where if len(common) < 3 else f'{len(common)} sets'})"] = mean
    if not columns:
        return
    mean = pd.DataFrame(columns)
    yield "Mean over the sets on which every method named has the figure:\n"
    yield from _written(mean)
    if "coverage_90" in some and some["coverage_90"].notna().any():
        yield "Coverage of intervals of 90 %, set by set:\n"
        yield from _written(some.pivot_table("coverage_90", "title", "set").reindex(columns=sets))


def _written(table: pd.DataFrame) -> Iterable[str]:
    yield "| method | " + " | ".join(table.columns) + " |"
    yield "|---" * (len(table.columns) + 1) + "|"
    for title, row in table.iterrows():
        cells = ["–" if not np.isfinite(v) else f"{v:.3g}" for v in row]
        yield f"| {title} | " + " | ".join(cells) + " |"
    yield ""


def _refused(done: Mapping[str, Sequence[Evaluation]]) -> Iterable[str]:
    said: dict[tuple[str, str, str], list[str]] = {}
    for name, held in done.items():
        for evaluation in held:
            for row in evaluation.refusals().itertuples():
                said.setdefault((str(row.method), str(row.state), str(row.words)), []).append(
                    f"{name} {row.protocol}"
                )
    for (method, state, words), where in said.items():
        yield f"- **{method}**, {state}: {words} ({', '.join(dict.fromkeys(where))})"


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw the methods' lead over the best baseline in logs and in counts, a row a task and set."""
    from matplotlib.figure import Figure

    leads, places = [], []
    for (name, task, form), some in rows.groupby(["set", "task", "form"], sort=False):
        theirs = some[some["family"] == "baseline"]
        if len(theirs):
            places.append(f"{name} · {task}" + ("" if form == "predicted" else f" · {form}"))
        for mine in some[some["family"] == "method"].itertuples():
            lead = [getattr(mine, f) - theirs[f].max() for f in ("r_log", "r_raw")]
            leads.append((len(places) - 1, mine.title, *lead))
    table = pd.DataFrame(leads, columns=["place", "title", "logs", "counts"])
    figure = Figure(figsize=(8, 1.2 + 0.26 * len(places)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="0.6", lw=1)
    for (title, held), colour in zip(table.groupby("title", sort=False), _COLOURS, strict=False):
        axes.plot(held["logs"], held["place"], "o", color=colour, label=f"{title}, logs")
        axes.plot(
            held["counts"], held["place"], "D", color=colour, mfc="none", label=f"{title}, counts"
        )
    axes.set_yticks(np.arange(len(places)), places, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("median r minus the best baseline's (right: better than it)")
    axes.legend(loc="best", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        figure.savefig(aside, format="svg", metadata={"Date": None})
