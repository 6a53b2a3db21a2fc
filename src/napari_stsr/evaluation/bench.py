"""The bench on which one unit is worked: hide, fit, predict, score."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import Cancelled, InputError, StsrError
from napari_stsr.evaluation.mapping import mapped
from napari_stsr.evaluation.materialised import materialised
from napari_stsr.evaluation.outcome import Map, Outcome, State
from napari_stsr.evaluation.plan import EvaluationPlan, Unit
from napari_stsr.evaluation.protocols import protocol
from napari_stsr.evaluation.question import Question
from napari_stsr.evaluation.scores import Scores, genes_to_score, score_answer
from napari_stsr.evaluation.task import Task
from napari_stsr.methods import Fitted
from napari_stsr.results import Enhancement
from napari_stsr.slides import Slide
from napari_stsr.training.device import resolve_device
from napari_stsr.training.progress import CancelToken, Progress, Run

Ints = NDArray[np.int64]
# Shares of a unit's time, for its bar.
_FIT, _PREDICT = 0.8, 0.95


class Bench:
    """Works the units of one plan on one slide; keeps the tasks of the last fold at hand.

    Parameters
    ----------
    plan : EvaluationPlan
    restricted : Slide
        From `EvaluationPlan.check`.
    """

    def __init__(self, plan: EvaluationPlan, restricted: Slide) -> None:
        self.plan, self.slide = plan, restricted
        self._at: tuple[str, int] | None = None
        self._tasks: list[tuple[Task, Ints]] = []
        self._questions: dict[int, Question] = {}

    def tasks(self, name: str, fold: int) -> list[tuple[Task, Ints]]:
        """Tasks of a fold, each with the columns of the genes that are scored."""
        if self._at != (name, fold):
            plan, chosen = self.plan, dict[int, Ints]()
            tasks = protocol(name).fold(self.slide, fold, plan.folds, plan.seed)
            for task in tasks:
                # Tasks that share a slide share its genes, and the time to find them.
                if id(task.slide) not in chosen:
                    chosen[id(task.slide)] = self._scored(task.slide)
            self._tasks = [(task, chosen[id(task.slide)]) for task in tasks]
            self._questions = {}
            self._at = (name, fold)
        return self._tasks

    def _question(self, task: Task, genes: Ints) -> Question:
        """What all methods are asked, prepared once for the fold at hand."""
        if id(task) not in self._questions:
            # Draws of different folds are independent; those of different methods are paired.
            seed = 1000 * self.plan.seed + task.fold
            self._questions[id(task)] = Question.of(task, genes, seed, self.plan.draws)
        return self._questions[id(task)]

    def _scored(self, slide: Slide) -> Ints:
        best = genes_to_score(slide, self.plan.scored)
        named = self.plan.named(slide)
        return np.concatenate([best, np.setdiff1d(named, best)])

    def working(self, unit: Unit, cancel: CancelToken) -> Generator[Progress, None, Outcome]:
        """Work a unit, reporting on the way; the generator's value is what became of it.

        Whatever a method does wrong becomes words in the outcome; only `Cancelled` is raised.
        """
        found = _Found()
        try:
            if self.plan.device != "auto":
                # A worker without it fails, and its units are tried again: nothing of that is kept.
                resolve_device(self.plan.device)
            yield from self._answering(unit, cancel, found)
        except Cancelled:
            raise
        except Exception as error:
            return found.outcome(unit, "failed", in_words(error))
        if found.scores:
            return found.outcome(unit, "done")
        return found.outcome(unit, "not applicable", next(iter(found.refused.values()), ""))

    def _answering(
        self, unit: Unit, cancel: CancelToken, found: _Found
    ) -> Generator[Progress, None, None]:
        """Answer all tasks of a unit: one fit for those that share a slide."""
        yield Progress("hiding", 0, 1, 0.0)
        tasks = self.tasks(unit.protocol, unit.fold)
        fits: dict[int, Fitted] = {}
        unscored: dict[str, InputError] = {}
        for number, (task, genes) in enumerate(tasks):
            cancel.check()
            part = _Part(number / len(tasks), 1 / len(tasks))
            try:
                answer = yield from self._answer(unit, task, self._run(cancel), fits, found, part)
            except _CannotDo as refusal:
                found.refused[task.protocol] = str(refusal)
                continue
            yield part.at(Progress("scoring", 0, 1, 0.0), _PREDICT, 1)
            start = time.perf_counter()
            try:
                scores = score_answer(self._question(task, genes), answer, cancel.check)
            except InputError as error:  # the other tasks of the unit are judged all the same
                unscored[task.protocol] = error
                continue
            found.scores.append(scores)
            found.seconds["score"] += time.perf_counter() - start
            named = self.plan.named(task.slide)
            found.maps.append(mapped(task, answer, scores, genes, named, cancel.check))
        if unscored and not found.scores:
            raise next(iter(unscored.values()))
        found.refused |= {task: str(error) for task, error in unscored.items()}

    def _answer(
        self, unit: Unit, task: Task, run: Run, fits: dict[int, Fitted], found: _Found, part: _Part
    ) -> Generator[Progress, None, Enhancement]:
        """Answer one task with the fit to its slide, made if there is none yet."""
        start = time.perf_counter()
        _check(unit, task)
        if id(task.slide) not in fits:
            fits[id(task.slide)] = yield from part.of(_fitting(unit, task, run), 0, _FIT)
        found.seconds["fit"] += time.perf_counter() - start
        start = time.perf_counter()
        answer: Enhancement = yield from part.of(
            _predicting(fits[id(task.slide)], task, run), _FIT, _PREDICT
        )
        found.seconds["predict"] += time.perf_counter() - start
        return answer

    def _run(self, cancel: CancelToken) -> Run:
        plan = self.plan
        return Run(plan.seed, plan.device, plan.precision, cancel=cancel)  # type: ignore[arg-type]


@dataclass(eq=False)
class _Found:
    """What is found on the way through a unit."""

    scores: list[Scores] = field(default_factory=list)
    maps: list[Map] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(
        default_factory=lambda: {"fit": 0.0, "predict": 0.0, "score": 0.0}
    )

    def outcome(self, unit: Unit, state: State, words: str = "") -> Outcome:
        """What became of the unit; one that failed has no scores."""
        done = state == "done"
        return Outcome(
            unit.protocol,
            unit.fold,
            unit.contender.key,
            state,
            words,
            tuple(self.scores) if done else (),
            tuple(self.maps) if done else (),
            self.seconds,
            self.refused,
        )


class _CannotDo(Exception):
    """A method says at its door that this task is not for it."""


class _Part:
    """A part of a unit's progress."""

    def __init__(self, start: float, width: float) -> None:
        self.start, self.width = start, width

    def at(self, report: Progress, low: float, high: float) -> Progress:
        """Place a report, of which `low` … `high` of the part is told, in the whole."""
        share = low + (high - low) * min(max(report.fraction, 0.0), 1.0)
        return replace(report, fraction=self.start + self.width * share, preview=None)

    def of(
        self, work: Generator[Progress, None, Any], low: float, high: float
    ) -> Generator[Progress, None, Any]:
        """Place all reports of some work."""
        while True:
            try:
                yield self.at(next(work), low, high)
            except StopIteration as end:
                return end.value


def _check(unit: Unit, task: Task) -> None:
    try:
        unit.contender.learner.check(task.slide, task.targets, unit.contender.params())
    except InputError as error:
        raise _CannotDo(str(error)) from error


def _fitting(unit: Unit, task: Task, run: Run) -> Generator[Progress, None, Fitted]:
    params = unit.contender.params()
    try:
        return (yield from unit.contender.learner.fit(task.slide, params, run))
    except InputError as error:
        raise _CannotDo(str(error)) from error


def _predicting(fitted: Fitted, task: Task, run: Run) -> Generator[Progress, None, Enhancement]:
    """Predict, and compute what is lazy, so that its time is told where it belongs."""
    try:
        answer = yield from fitted.predicting(task.targets, run)
    except InputError as error:
        raise _CannotDo(str(error)) from error
    # Muted entries are missing: that nothing was counted there tells nothing.
    if task.scored is not None and answer.unseen is not None:
        missing = answer.unseen
        source = materialised(missing.expected, run.cancel)
        return replace(answer, expression_source=source, denoised=None, uncertainty=missing.spread)
    source = materialised(answer.expression_source, run.cancel)
    denoised = None if answer.denoised is None else materialised(answer.denoised, run.cancel)
    return replace(answer, expression_source=source, denoised=denoised)


def in_words(error: Exception) -> str:
    """Say what went wrong, with the remedy where it is known."""
    if isinstance(error, StsrError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The memory ran out. Choose fewer genes, or a smaller preset."
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}".rstrip(": ")
