"""Plots of the report: methods with their intervals, gene against gene, calibration."""

from __future__ import annotations

from textwrap import wrap

import numpy as np
import pandas as pd

from napari_stsr.evaluation.evaluated import Evaluation
from napari_stsr.evaluation.report.drawing import FAINT, INK, ME, MUTED, OTHER, figure, svg

MARKERS = {"method": "o", "baseline": "s", "peer": "^"}
SIGNS = {"method": "●", "baseline": "■", "peer": "▲"}
_FAMILIES = {"method": "method", "baseline": "baseline", "peer": "our version of a peer"}
# No line ends between a sign and its word.
FAMILIES = {name: f"{SIGNS[name]}\u00a0{words}" for name, words in _FAMILIES.items()}
LEVELS = (50, 80, 90, 95)


def dots(evaluation: Evaluation, task: str, form: str) -> str:
    """Median r of every method in logs and in counts, with 95 % intervals and the ceiling."""
    summary = evaluation.summary(task)
    rows = summary[summary["form"] == form].iloc[::-1]
    made, axes = figure(9.4, 1.0 + 0.3 * len(rows), 2)
    ceilings = {"r_log": "ceiling", "r_raw": "ceiling_raw"}
    for number, (figure_, words) in enumerate(
        [("r_log", "median r of logs"), ("r_raw", "median r of raw counts")]
    ):
        ax = axes[number]
        for at, row in enumerate(rows.to_dict(orient="records")):
            colour = ME if row["family"] == "method" else OTHER
            low, high = row[f"{figure_}_low"], row[f"{figure_}_high"]
            ax.plot([low, high], [at, at], color=colour, linewidth=1.6)
            ax.plot(row[figure_], at, MARKERS[row["family"]], color=colour, markersize=7)
        ceiling = evaluation.ceiling(task, ceilings[figure_])
        if np.isfinite(ceiling):
            ax.axvline(ceiling, color=MUTED, linestyle="--", linewidth=1)
            ax.text(
                ceiling, len(rows) - 0.3, f"ceiling {ceiling:.2f}", ha="right", va="bottom",
                fontsize=9.5, color=MUTED,
            )  # fmt: skip
        ax.axvline(0, color=FAINT, linewidth=1)
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.set_yticks(range(len(rows)), list(rows["title"]) if number == 0 else [])
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
        ax.set_xlabel(words)
    return svg(made, f"Median r of all methods on {task}, {form}")


def genes_against(evaluation: Evaluation, task: str, form: str) -> str:
    """Draw r of every gene, the method against the best baseline; empty without a pair."""
    pair = against(evaluation, task, form)
    if pair is None:
        return ""
    table, me, other = pair
    made, (ax,) = figure(5.2, 4.6)
    ahead = table["me"] > table["other"]
    for chosen, marker, colour, words in (
        (ahead, "o", ME, "ahead"),
        (~ahead, "x", OTHER, "not ahead"),
    ):
        part = table[chosen]
        ax.plot(
            part["other"], part["me"], marker, color=colour, markersize=4.5, alpha=0.7,
            label=words,
        )  # fmt: skip
    low, high = np.nanmin(table[["me", "other"]]), np.nanmax(table[["me", "other"]])
    ax.plot([low, high], [low, high], color=MUTED, linewidth=1)
    named: list[tuple[float, float]] = []
    reach = high - low
    gap = (table["me"] - table["other"]).sort_values()
    for gene, side in [*((g, 1) for g in gap.index[:4]), *((g, -1) for g in gap.index[-4:])]:
        at = (float(table["other"][gene]), float(table["me"][gene]))
        if any(abs(at[0] - x) < 0.3 * reach and abs(at[1] - y) < 0.04 * reach for x, y in named):
            continue
        named.append(at)
        # To the side away from the diagonal, where few marks are.
        ax.annotate(
            str(table["symbol"][gene]), at, xytext=(5 * side, -3 * side),
            textcoords="offset points", fontsize=9, color=INK,
            ha="left" if side > 0 else "right", va="center",
        )  # fmt: skip
    ax.set_xlabel(f"r of logs, {other}")
    # A long name on its side would take the plot's room.
    ax.set_ylabel("\n".join(wrap(f"r of logs, {me}", 32)))
    ax.set_aspect("equal")
    ax.legend(
        frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, labelcolor=INK
    )
    return svg(made, f"r of every gene: {me} against {other} on {task}, {form}")


def against(evaluation: Evaluation, task: str, form: str) -> tuple[pd.DataFrame, str, str] | None:
    """Genes with r of the method (``me``) and the best baseline (``other``), and their titles."""
    me, other = evaluation.subject(task), evaluation.best_baseline(task, form)
    if me is None or other is None or not evaluation.scores(task, me.key):
        return None
    table = evaluation.genes(task, form).rename(columns={me.key: "me", other.key: "other"})
    table = table[["symbol", "folds", "ceiling", "me", "other"]].dropna(subset=["me", "other"])
    return (table, me.title, other.title) if len(table) else None


def calibration(evaluation: Evaluation, task: str) -> str:
    """Draw how often intervals hold the truth; empty where no method states an uncertainty."""
    summary = evaluation.summary(task)
    rows = summary[summary["form"] == evaluation.forms(task)[0]].dropna(subset=["coverage_90"])
    if rows.empty:
        return ""
    made, (ax,) = figure(5.2, 4.2)
    nominal = np.array(LEVELS) / 100
    ax.plot([0.4, 1], [0.4, 1], color=MUTED, linewidth=1, label="as stated")
    for number, row in enumerate(rows.to_dict(orient="records")):
        held = [row[f"coverage_{level}"] for level in LEVELS]
        style = ("-", "--", ":", "-.")[number % 4]
        colour = ME if row["family"] == "method" else OTHER
        ax.plot(
            nominal, held, style, marker=MARKERS[row["family"]], color=colour, label=row["title"]
        )
    ax.set_xlabel("stated probability of the interval")
    ax.set_ylabel("share of measured counts inside")
    ax.legend(frameon=False, fontsize=9, labelcolor=INK)
    return svg(made, f"Calibration of the stated uncertainty on {task}")
