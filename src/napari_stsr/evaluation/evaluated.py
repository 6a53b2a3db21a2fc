"""What an evaluation found: tables, comparisons, and the plain sentence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from napari_stsr.errors import InputError
from napari_stsr.evaluation.comparison import (
    Comparison,
    answered,
    compared,
    lowered,
    mean_interval,
    paired,
    possible,
)
from napari_stsr.evaluation.fingerprint import slide_fingerprint, versions
from napari_stsr.evaluation.opening import Opening
from napari_stsr.evaluation.outcome import Map, Outcome
from napari_stsr.evaluation.plan import Contender, EvaluationPlan
from napari_stsr.evaluation.scores import Scores
from napari_stsr.evaluation.tables import gene_table, plain, records, refusals, summary_row
from napari_stsr.slides import Slide

_FORMS = ("conserved", "denoised", "predicted")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Methods judged on hidden parts of one slide.

    Figures are computed fold by fold and then averaged; nothing is pooled over folds. A *task* is
    what was asked, by the name it is reported under; a *form* is what an answer was made to be:
    ``"conserved"`` adds up to what was measured, ``"denoised"`` is the method's own expectation,
    ``"predicted"`` is the only answer there is.

    Parameters
    ----------
    plan : EvaluationPlan
    slide : dict
        What was evaluated: name, path, hashes, size; JSON-ready.
    outcomes : tuple of Outcome
        What became of every method on every fold.
    versions : dict
    made : str
        When, ISO 8601.
    opening : Opening, optional
        How the slide was opened.
    """

    plan: EvaluationPlan
    slide: dict[str, Any]
    outcomes: tuple[Outcome, ...]
    versions: dict[str, str]
    made: str
    opening: Opening | None = None

    @classmethod
    def of(
        cls,
        plan: EvaluationPlan,
        slide: Slide,
        restricted: Slide,
        outcomes: Sequence[Outcome],
        opening: Opening | None = None,
    ) -> Evaluation:
        """Put together what became of the units of a plan."""
        facts = {
            "name": slide.name,
            "path": slide.source.path,
            "hashes": dict(slide.source.hashes),
            "fingerprint": slide_fingerprint(restricted),
            "kind": slide.kind,
            "location_word": slide.location_word,
            "locations": len(slide),
            "in_tissue": int(slide.in_tissue.sum()),
            "genes": len(slide.genes),
            "genes_evaluated": len(restricted.genes),
            "lattice": str(slide.lattice),
            "um_per_px": slide.scale.um_per_px,
            "um_per_px_source": slide.scale.source,
            "checks": [
                {"level": one.level, "said": f"{one.sentence} {one.remedy}".strip()}
                for one in slide.checks
                if one.level != "good"
            ],
        }
        made = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(plan, facts, tuple(outcomes), versions(), made, opening)

    @cached_property
    def _scores(self) -> dict[str, dict[str, list[Scores]]]:
        """Scores of every task and contender, one a fold."""
        found: dict[str, dict[str, list[Scores]]] = {}
        for outcome in self.outcomes:
            for scores in outcome.scores:
                held = found.setdefault(scores.protocol, {})
                held.setdefault(outcome.contender, []).append(scores)
        return found

    @cached_property
    def _genes(self) -> dict[tuple[str, str, str], pd.DataFrame]:
        return {}

    @cached_property
    def _rows(self) -> dict[str, list[dict[str, Any]]]:
        return {}

    @property
    def tasks(self) -> tuple[str, ...]:
        """What was asked and answered."""
        return tuple(self._scores)

    def forms(self, task: str) -> tuple[str, ...]:
        """Forms of the answers to a task, the one people are shown first."""
        there = {f for held in self._of(task).values() for one in held for f in one.forms}
        # A method that answers once stands in both tables of those that answer twice.
        twice = tuple(form for form in _FORMS[:2] if form in there)
        return twice or ("predicted",)

    def scores(self, task: str, contender: str) -> list[Scores]:
        """Scores of a contender, one a fold; empty where it has none."""
        return self._of(task).get(contender, [])

    def maps(self, task: str, contender: str) -> list[Map]:
        """Maps of a contender, one a fold."""
        held = [outcome for outcome in self.outcomes if outcome.contender == contender]
        return [one for outcome in held for one in outcome.maps if one.task == task]

    @property
    def headline(self) -> Contender | None:
        """The method that was to be judged: the first of ours, else the first peer."""
        return next(iter(self._candidates), None)

    @property
    def _candidates(self) -> list[Contender]:
        held = self.plan.methods
        return [c for family in ("method", "peer") for c in held if c.family == family]

    def subject(self, task: str) -> Contender | None:
        """The method the sentences on a task are about: the headline, or the next that answered."""
        able = [one for one in self._candidates if self.scores(task, one.key)]
        return next(iter(able), self.headline)

    def best_baseline(
        self, task: str, form: str | None = None, figure: str = "r_log"
    ) -> Contender | None:
        """The baseline with the highest median r of logs, mean over folds; None without any.

        `figure` ``"r_raw"`` asks for the best in raw counts, which can be another.
        """
        chosen, held = self._form(task, form), self._of(task)
        most = max(len(folds) for folds in held.values())
        able = [
            contender
            for contender in self.plan.methods
            if contender.family == "baseline" and len(held.get(contender.key, [])) == most
        ]
        r = [mean_interval(held[contender.key], chosen, figure).value for contender in able]
        return able[int(np.argmax(r))] if able else None

    def compare(self, task: str, method: str, other: str, form: str | None = None) -> Comparison:
        """Compare two contenders on a task, paired fold by fold.

        Raises
        ------
        InputError
            When there is no fold that both answered.
        """
        mine, theirs = self.scores(task, method), self.scores(task, other)
        if not paired(mine, theirs):
            raise InputError(f"There is no fold of {task} that {method} and {other} both answered.")
        titles = (self.plan.contender(method).title, self.plan.contender(other).title)
        return compared(titles, mine, theirs, self._form(task, form), self.ceiling(task))

    def ceiling(self, task: str, figure: str = "ceiling") -> float:
        """Median noise ceiling of r, mean over folds; nan where it is unknown."""
        longest = max(self._of(task).values(), key=len)
        values = [one.summary[one.forms[0]].get(figure, np.nan) for one in longest]
        return float(np.mean(values))

    def summary(self, task: str | None = None) -> pd.DataFrame:
        """One row a task, form and method, best first; figures are means over folds.

        ``r_log_low``, ``r_log_high`` bound the 95 % interval over locations, ``r_log_spread`` is
        the standard deviation between folds, ``won_best`` and ``won_kriging`` are the shares of
        genes with a higher r of logs than the best baseline and than kriging, ``seconds`` those of
        a fit and its predictions.
        """
        asked = self.tasks if task is None else (task,)
        return pd.DataFrame([row for one in asked for row in self._summary_rows(one)])

    def _summary_rows(self, task: str) -> list[dict[str, Any]]:
        if task not in self._rows:
            rows: list[dict[str, Any]] = []
            for form in self.forms(task):
                best = self.best_baseline(task, form)
                rivals = {"won_best": best.key if best else "", "won_kriging": "kriging"}
                able = [c for c in self.plan.methods if self.scores(task, c.key)]
                found = [summary_row(self, task, form, c, rivals) for c in able]
                rows += sorted(found, key=lambda row: -row["r_log"])
            self._rows[task] = rows
        return self._rows[task]

    def genes(self, task: str, form: str | None = None, figure: str = "r_log") -> pd.DataFrame:
        """One row a gene (index: id): symbol, folds, ceiling, and the figure of each method.

        Means over the folds in which the gene was scored. A prediction that does not vary has an r
        of 0; a gene whose truth does not vary has none.
        """
        key = (task, self._form(task, form), figure)
        if key not in self._genes:
            self._genes[key] = gene_table(self._of(task), key[1], figure)
        return self._genes[key].copy()

    def sentence(self, task: str | None = None, form: str | None = None) -> str:
        """Say in one plain sentence what came out; for the first task unless one is named."""
        if not self.tasks:
            words = [one.words for one in self.outcomes if one.words]
            return " ".join(["Nothing could be evaluated.", *words[:1]])
        asked = task or self.tasks[0]
        return _said(self, asked, self._form(asked, form))

    def in_counts(self, task: str, form: str | None = None) -> str:
        """Compare with the best baseline in raw counts; empty where there is nothing to compare."""
        me, baseline = self.subject(task), self.best_baseline(task, form, "r_raw")
        if me is None or baseline is None or not self.scores(task, me.key):
            return ""
        return self.compare(task, me.key, baseline.key, form).in_counts()

    def refusals(self) -> pd.DataFrame:
        """Who gave no answer to what, and why (in the first of its folds)."""
        return refusals(self)

    def notes(self, task: str) -> tuple[str, ...]:
        """What was left out or is undefined on a task, one sentence each, with its folds."""
        said: dict[str, list[int]] = {}
        for key, held in self._of(task).items():
            title = self.plan.contender(key).title
            for one in held:
                for note in one.notes:
                    words = f"{title}: {note}" if "prediction" in note else note
                    folds = said.setdefault(words, [])
                    if one.fold + 1 not in folds:
                        folds.append(one.fold + 1)
        many = max(len(held) for held in self._of(task).values())
        return tuple(
            words if len(folds) == many else f"Fold {', '.join(map(str, folds))}: {words}"
            for words, folds in said.items()
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything a program may want, JSON-ready; an undefined figure is None."""
        return {
            "sentence": self.sentence(),
            "made": self.made,
            "slide": self.slide,
            "plan": self.plan.described(),
            "versions": self.versions,
            "opening": None if self.opening is None else asdict(self.opening),
            "summary": records(self.summary()),
            "refusals": records(self.refusals()),
            "tasks": {task: self._task_dict(task) for task in self.tasks},
        }

    def _task_dict(self, task: str) -> dict[str, Any]:
        return {
            "ceiling": plain(self.ceiling(task)),
            "ceiling_raw": plain(self.ceiling(task, "ceiling_raw")),
            "notes": list(self.notes(task)),
            "forms": {form: self._form_dict(task, form) for form in self.forms(task)},
        }

    def _form_dict(self, task: str, form: str) -> dict[str, Any]:
        folds = [
            {"method": key, "fold": one.fold} | one.summary[answered(one, form)]
            for key, held in self._of(task).items()
            for one in held
        ]
        return {
            "sentence": self.sentence(task, form),
            "in_counts": self.in_counts(task, form),
            "genes": records(self.genes(task, form).reset_index()),
            "folds": [{name: plain(value) for name, value in fold.items()} for fold in folds],
        }

    def to_json(self) -> str:
        """Return `as_dict` as text."""
        return json.dumps(self.as_dict(), indent=1, allow_nan=False, ensure_ascii=False)

    def _of(self, task: str) -> dict[str, list[Scores]]:
        if task not in self._scores:
            able = ", ".join(self.tasks) or "none"
            raise InputError(f"No answer to {task!r} was scored.", f"There is {able}.")
        return self._scores[task]

    def _form(self, task: str, form: str | None) -> str:
        forms = self.forms(task)
        if form is not None and form not in forms:
            able = " and ".join(forms)
            raise InputError(f"{task} has no answers of the form {form!r}.", f"There is {able}.")
        return form or forms[0]


def _said(evaluation: Evaluation, task: str, form: str) -> str:
    """Put what came out of a task into a sentence."""
    me, baseline = evaluation.subject(task), evaluation.best_baseline(task, form)
    if me is not None and not evaluation.scores(task, me.key):
        words = [one.words for one in evaluation.outcomes if one.contender == me.key and one.words]
        return " ".join([f"{me.title} gave no answer that could be judged.", *words[:1]])
    if me is not None and baseline is not None:
        first, said = evaluation.headline, evaluation.compare(task, me.key, baseline.key, form)
        silent = (
            "" if first in (None, me) else f" {first.title} gave no answer that could be judged."
        )
        return said.sentence() + silent
    one = me or baseline
    if one is None:
        return f"No method gave an answer to {task}."
    r = mean_interval(evaluation.scores(task, one.key), form, "r_log").value
    reached = f"median r {r:.2f}{possible(evaluation.ceiling(task))}"
    if me is None:
        return f"The best baseline is {lowered(one.title)}: {reached}."
    return f"{me.title}: {reached}; without a baseline nothing says whether that is good."
