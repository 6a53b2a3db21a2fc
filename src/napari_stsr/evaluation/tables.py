"""Tables of an evaluation: methods by task, genes by method, and who gave no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_stsr.evaluation.comparison import answered, counted, mean_interval, share_ahead
from napari_stsr.evaluation.plan import Contender
from napari_stsr.evaluation.scores import Scores

if TYPE_CHECKING:
    from napari_stsr.evaluation.evaluated import Evaluation

FIGURES = (
    "rmse_sd", "rmse_sd_raw", "mae", "mae_raw", "mse", "mse_raw", "cosine", "cosine_raw",
    "nonzero_mae", "nonzero_mse", "nonzero_cosine", "spearman", "spearman_raw", "within_r",
    "within_r_raw", "moran_ratio", "variance_ratio", "ssim", "top_jaccard", "conservation_max",
    "conservation_mean", "coverage_50", "coverage_80", "coverage_90", "coverage_95", "width_90",
    "risk_area", "location_r", "location_r_of_gene_mean", "scd", "jd_above_mean", "jd_30", "ari",
    "nmi", "ca", "boundary_ca", "silhouette",
)  # fmt: skip
"""Figures of a fold's scores that are averaged over folds as they are."""


def summary_row(
    evaluation: Evaluation, task: str, form: str, contender: Contender, rivals: Mapping[str, str]
) -> dict[str, Any]:
    """Return one row of the summary.

    Parameters
    ----------
    evaluation : Evaluation
    task, form : str
    contender : Contender
    rivals : mapping
        Column of the share of genes won → key of the method won against, "" for none.
    """
    folds = evaluation.scores(task, contender.key)
    parts = [one.summary[answered(one, form)] for one in folds]
    row: dict[str, Any] = {
        "task": task,
        "form": form,
        "method": contender.key,
        "title": contender.title,
        "family": contender.family,
        "answered": answered(folds[0], form),
        "folds": len(folds),
    }
    for figure in ("r_log", "r_raw"):
        found = mean_interval(folds, form, figure)
        row |= {figure: found.value, f"{figure}_low": found.low, f"{figure}_high": found.high}
        spread = [part[figure] for part in parts]
        row[f"{figure}_spread"] = float(np.std(spread, ddof=1)) if len(spread) > 1 else np.nan
        row[f"{figure}_of_ceiling"] = fold_mean(parts, f"{figure}_of_ceiling")
    row |= {figure: fold_mean(parts, figure) for figure in FIGURES}
    for column, rival in rivals.items():
        theirs = [] if rival in ("", contender.key) else evaluation.scores(task, rival)
        row[column] = share_ahead(folds, theirs, form)
    row["seconds"] = _seconds(evaluation, task, contender.key)
    return row


def _seconds(evaluation: Evaluation, task: str, key: str) -> float:
    """Mean seconds of a fit and its predictions; a fit that answers several tasks counts whole."""
    spent = [
        outcome.seconds["fit"] + outcome.seconds["predict"]
        for outcome in evaluation.outcomes
        if outcome.contender == key and any(one.protocol == task for one in outcome.scores)
    ]
    return float(np.mean(spent))


def gene_table(held: Mapping[str, Sequence[Scores]], form: str, figure: str) -> pd.DataFrame:
    """Return one row a gene; `held` are the scores of every contender, one a fold."""
    longest = max(held.values(), key=len)
    tables = [scores.table() for scores in longest]
    symbols = pd.concat([table["symbol"] for table in tables])
    table = pd.DataFrame(
        {
            key: _by_gene([counted(one.table(answered(one, form)), figure) for one in folds])
            for key, folds in held.items()
        }
    )
    ceilings = [one["ceiling"] for one in tables if "ceiling" in one]
    table.insert(0, "symbol", symbols[~symbols.index.duplicated()])
    table.insert(1, "folds", symbols.groupby(level=0).size())
    table.insert(2, "ceiling", _by_gene(ceilings) if ceilings else np.nan)
    table.index.name = "gene"
    return table


def _by_gene(parts: Sequence[pd.Series]) -> pd.Series:
    """Mean over the folds in which a gene has a figure."""
    mean: pd.Series = pd.concat(parts).groupby(level=0).mean()
    return mean


def refusals(evaluation: Evaluation) -> pd.DataFrame:
    """Return who gave no answer to what, and why (in the first of its folds)."""
    columns = ["protocol", "method", "state"]
    rows: list[tuple[str, str, str, str]] = []
    for one in evaluation.outcomes:
        rows += [(task, one.contender, "not applicable", why) for task, why in one.refused.items()]
        if one.state == "failed" or (one.state != "done" and not one.refused):
            rows.append((one.protocol, one.contender, one.state, one.words))
    table = pd.DataFrame(rows, columns=[*columns, "words"])
    folds = table.groupby(columns, sort=False)["words"].agg(words="first", folds="size")
    return folds.reset_index()


def fold_mean(parts: Sequence[Mapping[str, float]], figure: str) -> float:
    """Mean over the folds that have the figure; nan where none has."""
    values = [part[figure] for part in parts if np.isfinite(part.get(figure, np.nan))]
    return float(np.mean(values)) if values else np.nan


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as JSON knows them; an undefined figure is None."""
    rows = table.to_dict(orient="records")
    return [{str(name): plain(value) for name, value in row.items()} for row in rows]


def plain(value: Any) -> Any:
    """Return a value as JSON knows it."""
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
