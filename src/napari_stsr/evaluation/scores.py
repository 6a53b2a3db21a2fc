"""The scores of one enhancement on one task: a table by gene, and what it comes to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.evaluation.judging import judge
from napari_stsr.evaluation.metrics import (
    Interval,
    interval,
    morans_i_of_counts,
    share_won,
    slide_weights,
    top,
)
from napari_stsr.evaluation.question import Checked, Question
from napari_stsr.evaluation.task import Task
from napari_stsr.results import Enhancement
from napari_stsr.slides import Slide

GENES_SCORED = 300
_WORDS = ("form", "gene", "symbol")


@dataclass(frozen=True, eq=False)
class Scores:
    """How one enhancement answered one task.

    A method may answer twice: its own expected counts (form ``"denoised"``) and the same made to
    add up to what was measured (``"conserved"``). One that answers once has the form
    ``"predicted"``.

    Parameters
    ----------
    name : str
        Of the enhancement.
    protocol : str
    fold : int
    genes : DataFrame
        One row a form and gene: form, gene (id), symbol and the figures, nan where undefined.
    summary : dict of form → dict of figure → float
        Medians over genes, intervals and whatever is one figure for all; see the page on metrics.
    draws : dict of form → dict of {"r_log", "r_raw"} → (draws,) array
        Medians over genes of every bootstrap draw. The same task, seed and genes give paired draws.
    ceiling_by : str
        ``"second measurement"``, ``"count splitting"``, or empty where there is no ceiling.
    notes : tuple of str
        What was left out or is undefined, one sentence each.
    """

    name: str
    protocol: str
    fold: int
    genes: pd.DataFrame
    summary: dict[str, dict[str, float]]
    draws: dict[str, dict[str, NDArray[np.float64]]]
    ceiling_by: str = ""
    notes: tuple[str, ...] = ()

    @property
    def forms(self) -> tuple[str, ...]:
        """Forms of the answer, the one people are shown first."""
        return tuple(self.summary)

    def table(self, form: str | None = None) -> pd.DataFrame:
        """Return the rows of one form (the first by default), by gene id."""
        chosen = form or self.forms[0]
        if chosen not in self.summary:
            raise InputError(
                f"These scores have no form {chosen!r}.", f"There is {' and '.join(self.forms)}."
            )
        rows = self.genes[self.genes["form"] == chosen]
        return rows.drop(columns="form").set_index("gene")

    def minus(
        self, other: Scores, figure: str = "r_log", form: str | None = None, level: float = 0.95
    ) -> Interval:
        """Difference of the medians of two methods, with its paired bootstrap interval.

        Raises
        ------
        InputError
            When they were not scored on the same task, genes and draws.
        """
        own, others = self._comparable(other, form)
        mine, theirs = self.draws[own][figure], other.draws[others][figure]
        if mine.shape != theirs.shape:
            raise InputError(f"{mine.size} and {theirs.size} draws cannot be paired.")
        value = self.summary[own][figure] - other.summary[others][figure]
        return interval(value, mine - theirs, level)

    def share_won(self, other: Scores, figure: str = "r_log", form: str | None = None) -> float:
        """Share of genes on which this figure is higher than another method's; ties count half.

        A constant prediction counts as 0; genes whose truth is constant take no part. Raises like
        `minus`.
        """
        own, others = self._comparable(other, form)
        mine, theirs = self.table(own), other.table(others)
        varies = mine["rmse_sd"].notna()
        return share_won(mine[figure][varies].fillna(0), theirs[figure][varies].fillna(0))

    def _comparable(self, other: Scores, form: str | None) -> tuple[str, str]:
        """Forms to compare: the one named where a method has it, and else its first."""
        own, others = form or self.forms[0], form if form in other.forms else other.forms[0]
        same = self.table(own).index.equals(other.table(others).index)
        if (self.protocol, self.fold) != (other.protocol, other.fold) or not same:
            raise InputError(
                f"{self.name!r} and {other.name!r} answered different tasks.",
                "Score both on the same task and the same genes.",
            )
        return own, others

    def to_json(self) -> str:
        """Return everything as JSON; an undefined figure is null."""
        content = {
            "name": self.name,
            "protocol": self.protocol,
            "fold": self.fold,
            "ceiling_by": self.ceiling_by,
            "notes": list(self.notes),
            "summary": {
                form: {figure: _or_null(value) for figure, value in figures.items()}
                for form, figures in self.summary.items()
            },
            "draws": {
                form: {figure: drawn.tolist() for figure, drawn in figures.items()}
                for form, figures in self.draws.items()
            },
            "genes": {
                column: values.tolist() if column in _WORDS else _or_nulls(values)
                for column, values in self.genes.items()
            },
        }
        return json.dumps(content, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Scores:
        """Read what `to_json` wrote.

        Raises
        ------
        InputError
            When the text is something else.
        """
        try:
            return cls._from(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"This is no table of scores: {error}.", "Run the evaluation again."
            ) from None

    @classmethod
    def _from(cls, content: dict[str, Any]) -> Scores:
        table = pd.DataFrame(content["genes"])
        figures = [column for column in table.columns if column not in _WORDS]
        return cls(
            str(content["name"]),
            str(content["protocol"]),
            int(content["fold"]),
            table.astype(dict.fromkeys(figures, np.float64)),
            {
                form: {figure: _or_nan(value) for figure, value in figures.items()}
                for form, figures in content["summary"].items()
            },
            {
                form: {figure: np.asarray(drawn, dtype=float) for figure, drawn in figures.items()}
                for form, figures in content["draws"].items()
            },
            str(content["ceiling_by"]),
            tuple(map(str, content["notes"])),
        )


def genes_to_score(slide: Slide, many: int = GENES_SCORED) -> NDArray[np.int64]:
    """Columns of the genes with the highest Moran's I of log1p(counts per 10,000), best first.

    Raises
    ------
    InputError
        When no gene of the slide varies.
    """
    chosen = top(morans_i_of_counts(slide.counts, slide_weights(slide)).values, many)
    if not len(chosen):
        raise InputError(
            f"None of the {len(slide.genes)} genes varies over the {len(slide)} locations.",
            "Open the filtered matrix of this slide, or choose more genes.",
        )
    return chosen


def score(
    task: Task,
    enhancement: Enhancement,
    genes_scored: NDArray[np.int64] | None = None,
    seed: int = 0,
    draws: int = 200,
) -> Scores:
    """Compare an enhancement with the truth of a task.

    Logs are the method's own where it predicts logs, and else the expectation of the log to be
    measured, with the total of what it predicts over the task's genes as depth. Targets at which
    nothing was measured are left out and counted.

    Parameters
    ----------
    task : Task
    enhancement : Enhancement
        Answer at the task's targets, on (at least) the task's genes.
    genes_scored : int array, optional
        Columns of the task's genes; `genes_to_score` of its slide by default. Give them when many
        methods are scored on one task.
    seed : int
        Of the bootstrap, count splitting, ties and samples.
    draws : int
        Bootstrap draws.

    Raises
    ------
    InputError
        When targets or genes differ, a prediction is no number, nothing was measured at the
        targets, or the truth is constant in every gene.
    """
    columns = genes_to_score(task.slide) if genes_scored is None else np.asarray(genes_scored)
    return score_answer(Question.of(task, columns, seed, draws), enhancement)


def score_answer(
    question: Question, enhancement: Enhancement, checked: Checked = lambda: None
) -> Scores:
    """Do as `score` does, with a question that is prepared once for all that answer it.

    `checked` is called at times; it may raise to stop.
    """
    task = question.task
    sources = {"predicted": enhancement.expression_source}
    if enhancement.denoised is not None:
        sources = {"conserved": enhancement.expression_source, "denoised": enhancement.denoised}
    judged = {
        form: judge(question, enhancement, source, checked) for form, source in sources.items()
    }
    genes = task.slide.genes.take(question.columns)
    tables = []
    for form, answer in judged.items():
        table = pd.DataFrame({name: found.values for name, found in answer.genes.items()})
        table.insert(0, "form", form)
        table.insert(1, "gene", genes.ids.astype(str))
        table.insert(2, "symbol", genes.symbols.astype(str))
        tables.append(table)
    notes = dict.fromkeys(note for answer in judged.values() for note in answer.notes)
    return Scores(
        enhancement.name,
        task.protocol,
        task.fold,
        pd.concat(tables, ignore_index=True),
        {form: answer.summary for form, answer in judged.items()},
        {form: answer.draws for form, answer in judged.items()},
        question.ceiling_by,
        (*question.notes, *notes),
    )


def _or_null(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _or_nulls(values: pd.Series) -> list[float | None]:
    return [_or_null(value) for value in values]


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else float(value)
