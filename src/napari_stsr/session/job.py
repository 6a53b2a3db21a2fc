"""Jobs: work that runs in a background thread and never raises out of it. No Qt here."""

from __future__ import annotations

import logging
import queue
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from napari_stsr.errors import Cancelled, StsrError
from napari_stsr.methods import Fitted
from napari_stsr.results import Enhancement
from napari_stsr.session.models import Model
from napari_stsr.session.plan import Plan
from napari_stsr.session.tasks import TASKS
from napari_stsr.slides import Slide
from napari_stsr.training import CancelToken, Progress, Run

if TYPE_CHECKING:
    from napari_stsr.evaluation import Evaluation, EvaluationPlan, Opening

T = TypeVar("T")
_log = logging.getLogger(__name__)

State = Literal["queued", "running", "paused", "done", "cancelled", "failed"]


class Job(ABC, Generic[T]):
    """Work on a slide that is on its way; a subclass says which.

    Parameters
    ----------
    slide : Slide
    token : CancelToken
        Stops and pauses the work.
    changed : callable, optional
        Called with the job after every report and change of state, in the worker's thread.

    Attributes
    ----------
    state : str
        ``"queued"``, ``"running"``, ``"paused"``, ``"done"``, ``"cancelled"`` or ``"failed"``.
    progress : Progress or None
        Latest report.
    history : list of Progress
        Reports that carried losses, for the curve.
    result : object or None
        What the work came to.
    error : Exception or None
        What went wrong; `details` holds the traceback.
    """

    def __init__(
        self, slide: Slide, token: CancelToken, changed: Callable[[Any], None] | None = None
    ) -> None:
        self.slide, self.token = slide, token
        self._changed = changed
        self._told = threading.Event()
        # Changes of state exclude each other.
        self._turn = threading.Lock()
        self.state: State = "queued"
        self.progress: Progress | None = None
        self.history: list[Progress] = []
        self.result: T | None = None
        self.error: Exception | None = None
        self.details = ""

    @property
    @abstractmethod
    def label(self) -> str:
        """What is done, in a few words."""

    @abstractmethod
    def working(self) -> Generator[Progress, None, T]:
        """Do the work, reporting on the way; the generator's return value is the result."""

    @property
    def ended(self) -> bool:
        """Whether the job is done, cancelled or failed."""
        return self.state in ("done", "cancelled", "failed")

    @property
    def message(self) -> str:
        """What went wrong, in words with the remedy; empty otherwise."""
        if self.error is None:
            return ""
        if isinstance(self.error, StsrError):
            return str(self.error)
        if isinstance(self.error, MemoryError):
            return "The memory ran out. Choose fewer genes, a smaller region or a smaller preset."
        return f"{type(self.error).__name__}: {self.error}"

    def pause(self) -> None:
        """Wait at the next step."""
        self.token.pause()
        with self._turn:
            waits = self.state == "running"
            if waits:
                self.state = "paused"
        if waits:
            self._notify()

    def resume(self) -> None:
        """Go on."""
        self.token.resume()
        with self._turn:
            goes = self.state == "paused"
            if goes:
                self.state = "running"
        if goes:
            self._notify()

    def cancel(self) -> None:
        """Stop at the next step."""
        with self._turn:
            self.token.cancel()
            waiting = self.state == "queued"
            if waiting:
                self.state = "cancelled"
        if waiting:
            self._end("cancelled")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the job has ended and its listener knows; whether that came in time."""
        return self._told.wait(timeout)

    def work(self) -> None:
        """Do the job in the calling thread; every outcome lands in `state`, nothing is raised."""
        with self._turn:
            if self.state != "queued":
                return
            self.state = "paused" if self.token.paused else "running"
        try:
            self._notify()
            working = self.working()
            while True:
                try:
                    self._report(next(working))
                except StopIteration as end:
                    self.result = end.value
                    break
            self._end("done")
        except Cancelled:
            self._end("cancelled")
        except Exception as error:  # a worker never raises: it returns an outcome
            self.error, self.details = error, traceback.format_exc()
            self._end("failed")

    def _report(self, progress: Progress) -> None:
        self.progress = progress
        if progress.losses:
            self.history.append(progress)
        self._notify()

    def _end(self, state: State) -> None:
        with self._turn:
            self.state = state
        self._notify()
        self._told.set()

    def _notify(self) -> None:
        if self._changed is None:
            return
        try:
            self._changed(self)
        except Exception:  # whoever listens must not break the run, nor the jobs behind it
            _log.exception("A listener failed while a job was %s.", self.state)


class EnhanceJob(Job[Enhancement]):
    """One enhancement on its way.

    Parameters
    ----------
    slide : Slide
    plan : Plan
    run : Run
    changed : callable, optional
        As in `Job`.
    model : Model, optional
        Predict by this model instead of fitting one.

    Attributes
    ----------
    model : Model or None
        What predicted the result, once there is one: the fit, and the slide it learned from.
    """

    def __init__(
        self,
        slide: Slide,
        plan: Plan,
        run: Run,
        changed: Callable[[Any], None] | None = None,
        model: Model | None = None,
    ) -> None:
        super().__init__(slide, run.cancel, changed)
        self.plan, self.run = plan, run
        self.model: Model | None = None
        self._given = model

    @property
    def fitted(self) -> Fitted | None:
        """What the method learned, once there is a result."""
        return None if self.model is None else self.model.fitted

    @property
    def label(self) -> str:
        """Task, where it is not the usual one, method, preset and place."""
        plan = self.plan
        task = "" if plan.task == "enhance" else f"{TASKS[plan.task].title}: "
        how = "fitted before" if self._given is not None else plan.preset
        where = plan.region.name if plan.region is not None else "whole tissue"
        return f"{task}{plan.method}, {how} · {where}"

    def working(self) -> Generator[Progress, None, Enhancement]:
        """Fit, unless a model was given, and predict."""
        model = self._given or (yield from self.plan.fitting(self.slide, self.run))
        result = yield from self.plan.predicting(self.slide, model, self.run)
        self.model = model
        return result


class EvaluateJob(Job["Evaluation"]):
    """One evaluation of methods on its way.

    Parameters
    ----------
    slide : Slide
    plan : EvaluationPlan
    changed : callable, optional
        As in `Job`.
    folder : path, optional
        Finished fits are kept here, and those found here are not run again.
    opening : Opening, optional
        How the slide was opened, for the record.
    """

    def __init__(
        self,
        slide: Slide,
        plan: EvaluationPlan,
        changed: Callable[[Any], None] | None = None,
        folder: str | Path | None = None,
        opening: Opening | None = None,
    ) -> None:
        super().__init__(slide, CancelToken(), changed)
        self.plan, self._folder, self._opening = plan, folder, opening

    @property
    def label(self) -> str:
        """Protocols, number of methods and of folds."""
        methods, folds = len(self.plan.methods), self.plan.folds
        many = (f"{n} {word}{'s' * (n != 1)}" for n, word in ((methods, "method"), (folds, "fold")))
        return f"{', '.join(self.plan.protocols)} · {', '.join(many)}"

    def working(self) -> Generator[Progress, None, Evaluation]:
        """Hide, fit, predict and score."""
        # Imported here: most sessions never evaluate.
        from napari_stsr.evaluation import evaluating

        return evaluating(
            self.plan, self.slide, self.token, folder=self._folder, opening=self._opening
        )


class JobQueue:
    """Runs jobs one after another in one background thread."""

    def __init__(self) -> None:
        self.jobs: list[Job[Any]] = []
        self._waiting: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def add(self, job: Job[Any]) -> None:
        """Queue a job; it starts when those before it have ended."""
        self.jobs.append(job)
        self._waiting.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="stsr-jobs", daemon=True)
            self._thread.start()

    def close(self, timeout: float = 10.0) -> None:
        """Cancel everything and end the thread."""
        for job in list(self.jobs):
            job.cancel()
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(timeout)
            self._thread = None

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            job.work()
            # An ended job would keep its slide and its result in memory.
            self.jobs.remove(job)
