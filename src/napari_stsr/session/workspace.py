"""The workspace: slides opened, regions drawn, jobs run, results kept. No Qt here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_stsr.errors import InputError
from napari_stsr.results import Enhancement
from napari_stsr.session.job import EnhanceJob, EvaluateJob, JobQueue
from napari_stsr.session.models import Model
from napari_stsr.session.plan import Plan
from napari_stsr.slides import Slide
from napari_stsr.training import Run

if TYPE_CHECKING:
    from napari_stsr.evaluation import EvaluationPlan, Opening

# Checking a plan against more locations takes a second or more: then the job itself tells.
_QUICK = 50_000


class Workspace:
    """What the user is doing.

    Attributes
    ----------
    slide : Slide or None
        The slide in use.
    results : list of Enhancement
        Oldest first; nothing computed is dropped before the user removes it.
    models : list of Model
        What was fitted, or read from files, oldest first.
    queue : JobQueue
    """

    def __init__(self) -> None:
        self.slide: Slide | None = None
        self.results: list[Enhancement] = []
        self.models: list[Model] = []
        self.queue = JobQueue()
        self._predicted_by: WeakKeyDictionary[Enhancement, Model] = WeakKeyDictionary()
        self._finished: tempfile.TemporaryDirectory[str] | None = None

    def model_of(self, result: Enhancement) -> Model | None:
        """Return what predicted a result of this session; None for one read from a file."""
        return self._predicted_by.get(result)

    def enhance(
        self,
        plan: Plan,
        run: Run,
        changed: Callable[[Any], None] | None = None,
        model: Model | None = None,
    ) -> EnhanceJob:
        """Queue an enhancement of the slide in use; its result joins `results` at the end.

        With a model nothing is fitted; what is fitted joins `models` at the end.

        Raises
        ------
        InputError
            When no slide is open, or the plan cannot work on a slide of up to 50,000 locations;
            on a larger one the job fails with the same words.
        """
        slide = self._open_slide()
        if model is not None:
            model.check(slide, plan.genes)
        elif len(slide) <= _QUICK:
            plan.prepare(slide)

        def keep(job: EnhanceJob) -> None:
            if job.ended and job.result is not None and job.model is not None:
                self._predicted_by[job.result] = job.model
                if job.result not in self.results:
                    self.results.append(job.result)
                if job.model not in self.models:
                    self.models.append(job.model)
            if changed is not None:
                changed(job)

        job = EnhanceJob(slide, plan, run, keep, model)
        self.queue.add(job)
        return job

    def evaluate(
        self,
        plan: EvaluationPlan,
        changed: Callable[[Any], None] | None = None,
        opening: Opening | None = None,
    ) -> EvaluateJob:
        """Queue an evaluation of methods on the slide in use.

        Fits that were finished in this workspace are not run again: a cancelled evaluation goes on
        where it was stopped, and another method costs only its own fits.

        Raises
        ------
        InputError
            As `enhance`.
        """
        slide = self._open_slide()
        if len(slide) <= _QUICK:
            plan.check(slide)
        if self._finished is None:
            self._finished = tempfile.TemporaryDirectory(prefix="napari-stsr-")
        job = EvaluateJob(slide, plan, changed, self._finished.name, opening)
        self.queue.add(job)
        return job

    def _open_slide(self) -> Slide:
        if self.slide is None:
            raise InputError("No slide is open.", "Open one first.")
        return self.slide

    def close(self) -> None:
        """Stop all work."""
        self.queue.close()
        if self._finished is not None:
            self._finished.cleanup()
            self._finished = None
