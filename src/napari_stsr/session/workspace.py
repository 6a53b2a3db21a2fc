"""The workspace: slides opened, regions drawn, jobs run, results kept. No Qt here."""

from __future__ import annotations

from collections.abc import Callable

from napari_stsr.errors import InputError
from napari_stsr.results import Enhancement
from napari_stsr.session.job import Job, JobQueue
from napari_stsr.session.plan import Plan
from napari_stsr.slides import Slide
from napari_stsr.training import Run

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
    queue : JobQueue
    """

    def __init__(self) -> None:
        self.slide: Slide | None = None
        self.results: list[Enhancement] = []
        self.queue = JobQueue()

    def enhance(self, plan: Plan, run: Run, changed: Callable[[Job], None] | None = None) -> Job:
        """Queue an enhancement of the slide in use; its result joins `results` at the end.

        Raises
        ------
        InputError
            When no slide is open, or the plan cannot work on a slide of up to 50,000 locations;
            on a larger one the job fails with the same words.
        """
        if self.slide is None:
            raise InputError("No slide is open.", "Open one first.")
        if len(self.slide) <= _QUICK:
            plan.prepare(self.slide)

        def keep(job: Job) -> None:
            if job.ended and job.result is not None and job.result not in self.results:
                self.results.append(job.result)
            if changed is not None:
                changed(job)

        job = Job(self.slide, plan, run, keep)
        self.queue.add(job)
        return job

    def close(self) -> None:
        """Stop all work."""
        self.queue.close()
