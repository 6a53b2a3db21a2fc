"""The page: what is said, in which order, and how numbers are written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_stsr.evaluation.comparison import inside
from napari_stsr.evaluation.evaluated import Evaluation
from napari_stsr.evaluation.opening import Opening
from napari_stsr.evaluation.protocols import protocol, protocol_names
from napari_stsr.evaluation.recipe import evaluate_again
from napari_stsr.evaluation.report.maps import GeneMap, gene_maps
from napari_stsr.evaluation.report.plots import (
    FAMILIES,
    SIGNS,
    against,
    calibration,
    dots,
    genes_against,
)
from napari_stsr.files import written_aside

FORMS = {
    "predicted": "",
    "conserved": "Answers made to add up to what was measured (conserved)",
    "denoised": "The methods' own expectation (denoised)",
}
# Heading, figure, and how it is written; undefined columns are left out.
_MAIN = (
    ("share of ceiling", "r_log_of_ceiling", "{:.0%}"),
    ("RMSE / sd", "rmse_sd", "{:.3f}"),
    ("won against best baseline", "won_best", "{:.0%}"),
    ("won against kriging", "won_kriging", "{:.0%}"),
    ("seconds", "seconds", "{:.2f}"),
)
_OTHER = (
    ("MAE", "mae", "{:.3f}"),
    ("MSE", "mse", "{:.3f}"),
    ("cosine", "cosine", "{:.3f}"),
    ("MAE of non-zeros", "nonzero_mae", "{:.3f}"),
    ("MSE of non-zeros", "nonzero_mse", "{:.3f}"),
    ("cosine of non-zeros", "nonzero_cosine", "{:.3f}"),
    ("Spearman", "spearman", "{:.3f}"),
    ("r within spots", "within_r", "{:.3f}"),
    ("SSIM", "ssim", "{:.3f}"),
    ("Moran ratio", "moran_ratio", "{:.2f}"),
    ("genes with most structure shared", "top_jaccard", "{:.2f}"),
    ("variance ratio", "variance_ratio", "{:.2f}"),
    ("conservation error", "conservation_max", "{:.2g}"),
    ("coverage of 90 %", "coverage_90", "{:.1%}"),
    ("r across genes", "location_r", "{:.3f}"),
    ("… of gene mean", "location_r_of_gene_mean", "{:.3f}"),
    ("Spearman distance", "scd", "{:.3f}"),
    ("Jaccard distance, genes above the mean", "jd_above_mean", "{:.3f}"),
    ("… of the top 30", "jd_30", "{:.3f}"),
    ("area of risk against coverage", "risk_area", "{:.3f}"),
    ("ARI", "ari", "{:.3f}"),
    ("NMI", "nmi", "{:.3f}"),
    ("accuracy of domains", "ca", "{:.3f}"),
    ("… at borders", "boundary_ca", "{:.3f}"),
    ("silhouette", "silhouette", "{:.3f}"),
)


@dataclass(frozen=True)
class Table:
    """Headings and rows as written; the first column is words."""

    headings: tuple[str, ...]
    rows: list[list[str]]


@dataclass(frozen=True)
class FormPart:
    """What is shown of one form of the answers to a task."""

    words: str
    sentence: str
    in_counts: str
    main: Table
    other: Table
    dots: str
    scatter: str
    genes: Table | None


@dataclass(frozen=True)
class TaskPart:
    """What is shown of one task."""

    name: str
    title: str
    summary: str
    forms: list[FormPart]
    maps: list[GeneMap]
    mapped: str
    hidden: bool
    calibration: str
    notes: tuple[str, ...]


def report_html(evaluation: Evaluation) -> str:
    """Return the report as one HTML page without links to anything outside."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("napari_stsr.evaluation.report", "")
    pages = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return pages.get_template("page.html.jinja").render(
        evaluation=evaluation,
        slide=evaluation.slide,
        done=_done(evaluation),
        parts=[_task(evaluation, task) for task in evaluation.tasks],
        families=FAMILIES,
        refusals=evaluation.refusals().to_dict(orient="records"),
        written=written,
        titles={one.key: one.title for one in evaluation.plan.methods},
        contenders=[
            {**one, "params": ", ".join(f"{k} = {v}" for k, v in one["params"].items())}
            for one in evaluation.plan.described()["contenders"]
        ],
        command=_command(evaluation),
        versions=", ".join(f"{name} {value}" for name, value in evaluation.versions.items()),
    )


def write_report(evaluation: Evaluation, path: str | Path, data: str | Path | None = None) -> None:
    """Write the report, and the same numbers as JSON where `data` is named.

    Raises
    ------
    RunError
        When a file cannot be written; it is complete or absent.
    """
    text = report_html(evaluation)
    with written_aside(Path(path)) as aside:
        aside.write_text(text, encoding="utf-8")
    if data is not None:
        with written_aside(Path(data)) as aside:
            aside.write_text(evaluation.to_json(), encoding="utf-8")


def _done(evaluation: Evaluation) -> str:
    """Say in words how the figures came about."""
    plan, slide = evaluation.plan, evaluation.slide
    word = slide["location_word"]
    named = f" and {len(plan.genes)} named" if plan.genes else ""
    kept = f"The {plan.variable:,} most variable genes{named}"
    if plan.variable >= slide["genes_evaluated"] == slide["genes"]:
        kept = "All genes"
    return (
        f"{slide['name']} holds {slide['locations']:,} {word}s and {slide['genes']:,} genes. "
        f"{kept} were kept. The methods saw a part of the slide, or a coarser one made of it. "
        f"In each fold the {plan.scored} genes with the highest Moran's I in the data the methods "
        f"saw{named} were scored, in logs of counts per 10,000 and in raw counts; r is Pearson's. "
        "Figures are medians over genes, computed in each fold and then averaged; intervals (95 %) "
        f"come from {plan.draws} bootstrap draws of the hidden places, the same for all methods. "
        "The ceiling is what a perfect prediction would score against a truth as noisy as this one."
    )


def _task(evaluation: Evaluation, task: str) -> TaskPart:
    names = [name for name in protocol_names() if task.startswith(name)]
    about = protocol(max(names, key=len)) if names else None
    me = evaluation.subject(task) or evaluation.best_baseline(task)
    maps = gene_maps(evaluation, task)
    held = evaluation.maps(task, me.key) if me is not None else []
    return TaskPart(
        task,
        task if about is None else about.title + task[len(about.name) :].replace("-", ", ", 1),
        "" if about is None else about.summary,
        [_form(evaluation, task, form) for form in evaluation.forms(task)],
        maps,
        "" if me is None else inside(me.title),
        bool(held and held[0].hidden),
        calibration(evaluation, task),
        evaluation.notes(task),
    )


def _form(evaluation: Evaluation, task: str, form: str) -> FormPart:
    summary = evaluation.summary(task)
    rows = summary[summary["form"] == form]
    return FormPart(
        FORMS[form],
        evaluation.sentence(task, form),
        evaluation.in_counts(task, form),
        _main_table(rows),
        _table(rows, _OTHER),
        dots(evaluation, task, form),
        genes_against(evaluation, task, form),
        _gene_ranking(evaluation, task, form),
    )


def _main_table(rows: pd.DataFrame) -> Table:
    rest = _table(rows, _MAIN)
    headings = ("method", "r of logs [95 %]", "r of counts [95 %]", *rest.headings[1:])
    body = []
    for row, others in zip(rows.to_dict(orient="records"), rest.rows):
        r = [_with_interval(row, figure) for figure in ("r_log", "r_raw")]
        body.append([f"{SIGNS[row['family']]} {others[0]}", *r, *others[1:]])
    return Table(headings, body)


def _table(rows: pd.DataFrame, columns: tuple[tuple[str, str, str], ...]) -> Table:
    """Write the columns that some method has a figure in."""
    used = [one for one in columns if one[1] in rows and rows[one[1]].notna().any()]
    body = [
        [str(row["title"]), *(written(row[figure], how) for _, figure, how in used)]
        for row in rows.to_dict(orient="records")
    ]
    return Table(("method", *(heading for heading, _, _ in used)), body)


def _with_interval(row: dict[Any, Any], figure: str) -> str:
    value, low, high = (row[f"{figure}{end}"] for end in ("", "_low", "_high"))
    return f"{written(value)} [{written(low)}, {written(high)}]"


def _gene_ranking(evaluation: Evaluation, task: str, form: str) -> Table | None:
    """Write every gene, best predicted first, beside the best baseline."""
    pair = against(evaluation, task, form)
    if pair is None:
        return None
    table, me, other = pair
    table = table.sort_values("me", ascending=False)
    headings = ("gene", "rank", f"r, {me}", f"r, {other}", "difference", "", "ceiling", "folds")
    body = []
    for rank, (gene, row) in enumerate(table.iterrows(), 1):
        symbol = str(row["symbol"])
        name = symbol if symbol == gene else f"{symbol} ({gene})"
        gap = row["me"] - row["other"]
        mark = "▲ ahead" if gap > 0 else "▼ behind" if gap < 0 else "= equal"
        figures = [written(row["me"]), written(row["other"]), written(gap, "{:+.3f}")]
        body.append([name, str(rank), *figures, mark, written(row["ceiling"]), str(row["folds"])])
    return Table(headings, body)


def written(value: float, how: str = "{:.3f}") -> str:
    """Write a figure, with a true minus; a dash where it is undefined."""
    return how.format(value).replace("-", "−") if np.isfinite(value) else "–"


def _command(evaluation: Evaluation) -> str:
    opening = evaluation.opening or Opening(evaluation.slide["path"] or "SLIDE")
    return evaluate_again(evaluation.plan, opening)
