"""Running an evaluation: unit after unit, reported on the way, stopped and continued at will."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from pathlib import Path

from napari_stsr.errors import Cancelled
from napari_stsr.evaluation.bench import Bench
from napari_stsr.evaluation.evaluated import Evaluation
from napari_stsr.evaluation.fingerprint import slide_fingerprint, unit_fingerprint
from napari_stsr.evaluation.opening import Opening, reopening
from napari_stsr.evaluation.outcome import Outcome
from napari_stsr.evaluation.plan import EvaluationPlan, Unit
from napari_stsr.evaluation.store import Store
from napari_stsr.slides import Slide
from napari_stsr.training.progress import CancelToken, Progress, outcome

Finished = Callable[[Unit, Outcome], None]


def evaluating(
    plan: EvaluationPlan,
    slide: Slide,
    cancel: CancelToken | None = None,
    *,
    folder: str | Path | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    opening: Opening | None = None,
) -> Generator[Progress, None, Evaluation]:
    """Evaluate methods on a slide; the generator's return value is the evaluation.

    Parameters
    ----------
    plan : EvaluationPlan
    slide : Slide
        As it was opened, with all its genes.
    cancel : CancelToken, optional
        Checked at every step of every fit.
    folder : path, optional
        Finished units are kept here, and those found here are not run again.
    jobs : int
        Processes. One means the calling process.
    scheduler : str, optional
        Address of a dask scheduler (``"tcp://host:8786"``) to work the units instead.
    opening : Opening, optional
        How the slide was opened, for other processes; by default its path.

    Raises
    ------
    InputError
        When the slide cannot do a protocol or has no such gene, or there is no such device; a
        method that fails is recorded in the evaluation instead.
    RunError
        When the folder cannot be written or the scheduler is not reached.
    Cancelled
        When `cancel` was asked; what is in the folder is kept.
    """
    token = cancel or CancelToken()
    yield Progress("preparing", 0, 1, 0.0)
    store = None if folder is None else Store(folder)
    if scheduler is None and plan.device != "auto":
        from napari_stsr.training.device import resolve_device

        resolve_device(plan.device)
    restricted = plan.check(slide)
    of_slide = slide_fingerprint(restricted)
    tally = Tally(plan, plan.units(restricted), of_slide, store)
    if store is not None:
        store.describe({"slide": slide.name, "fingerprint": of_slide, "plan": plan.described()})
    try:
        if not tally.waiting:
            pass
        elif jobs > 1 or scheduler is not None:
            from napari_stsr.evaluation.cluster import Work, spreading

            work = Work(plan, reopening(slide, opening), of_slide)
            yield from spreading(work, tally, token, jobs, scheduler)
        else:
            yield from _one_by_one(Bench(plan, restricted), tally, token)
    except Cancelled:
        raise tally.cancelled() from None
    yield Progress("done", 1, 1, 1.0)
    return Evaluation.of(plan, slide, restricted, tally.outcomes(), opening)


def evaluate(
    slide: Slide, plan: EvaluationPlan | None = None, folder: str | Path | None = None
) -> Evaluation:
    """Evaluate methods on a slide and wait for the result.

    Examples
    --------
    >>> from napari_stsr.evaluation import EvaluationPlan, evaluate
    >>> plan = EvaluationPlan(["hidden-spots"], ["square:fast", "baselines"])
    >>> print(evaluate(slide, plan).sentence())        # doctest: +SKIP
    """
    return outcome(evaluating(plan or EvaluationPlan(), slide, folder=folder))


class Tally:
    """Which units are finished, and how long the others may take.

    Parameters
    ----------
    plan : EvaluationPlan
    units : list of Unit
    of_slide : str
        Fingerprint of the restricted slide.
    store : Store, optional
        Where finished units are looked for and kept.
    """

    def __init__(
        self, plan: EvaluationPlan, units: list[Unit], of_slide: str, store: Store | None
    ) -> None:
        self.units, self._store = units, store
        self._prints = [unit_fingerprint(plan, unit, of_slide) for unit in units]
        self._found: list[Outcome | None] = [None] * len(units)
        if store is not None:
            pairs = zip(units, self._prints, strict=True)
            self._found = [store.find(unit, key) for unit, key in pairs]

    @property
    def waiting(self) -> list[int]:
        """Numbers of the units that are not finished."""
        return [number for number, found in enumerate(self._found) if found is None]

    @property
    def done(self) -> int:
        """How many are finished."""
        return len(self.units) - len(self.waiting)

    def finish(self, number: int, found: Outcome) -> None:
        """Take down what became of a unit, and keep it."""
        if self._store is not None:
            self._store.keep(self.units[number], self._prints[number], found)
        self._found[number] = found

    def cancelled(self) -> Cancelled:
        """Say how much of a stopped run is kept."""
        if self._store is None:
            return Cancelled("Stopped; nothing is kept.", "Name a folder to keep what is finished.")
        kept = sum(found.state != "failed" for found in self.outcomes())
        said = f"Stopped; {kept} of {len(self.units)} pieces are kept."
        return Cancelled(said, "Run the same again to go on.")

    def outcomes(self) -> list[Outcome]:
        """What became of the finished units, in order."""
        return [found for found in self._found if found is not None]

    def left_s(self, spent: float = 0.0, share: float = 0.0, at_once: int = 1) -> float | None:
        """Seconds left by the times of the finished units; None before it can be told.

        Parameters
        ----------
        spent, share : float
            Seconds the first waiting unit has had, and the share of it that is done.
        at_once : int
            Units worked at the same time.
        """
        times: dict[str, list[float]] = {}
        for found in self.outcomes():
            times.setdefault(found.contender, []).append(found.spent)
        waiting = [self.units[number].contender.key for number in self.waiting]
        if not waiting:
            return 0.0
        # A first fit tells by its own progress how long it takes.
        if waiting[0] not in times and share > 0.02:
            times[waiting[0]] = [spent / share]
        if not times:
            return None
        every = _mean(time for known in times.values() for time in known)
        left = [_mean(times[key]) if key in times else every for key in waiting]
        return (sum(left) - min(spent, left[0])) / at_once


def _mean(values: Iterable[float]) -> float:
    held = list(values)
    return sum(held) / len(held)


def _one_by_one(bench: Bench, tally: Tally, cancel: CancelToken) -> Generator[Progress, None, None]:
    """Work the waiting units in this process, forwarding what each reports."""
    total, reached = len(tally.units), 0.0
    for number in tally.waiting:
        cancel.check()
        unit, start = tally.units[number], time.monotonic()
        work = bench.working(unit, cancel)
        while True:
            try:
                report = next(work)
            except StopIteration as end:
                tally.finish(number, end.value)
                break
            # A bar never goes back, even if a method's own does.
            reached = max(reached, (tally.done + report.fraction) / total)
            yield replace(
                report,
                stage=str(unit),
                step=tally.done,
                total=total,
                fraction=reached,
                eta_s=tally.left_s(time.monotonic() - start, report.fraction),
            )
        yield Progress(str(unit), tally.done, total, tally.done / total, {}, tally.left_s())
