"""Progress of a run on a terminal, or as plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from typing import TypeVar

from napari_stsr.training import Progress

T = TypeVar("T")

_LINES_APART_S = 10.0


def shown(work: Generator[Progress, None, T]) -> T:
    """Run to the end, showing on stderr how far it is."""
    return _on_terminal(work) if sys.stderr.isatty() else _followed(work, _line())


def _followed(work: Generator[Progress, None, T], tell: Callable[[Progress], None]) -> T:
    while True:
        try:
            tell(next(work))
        except StopIteration as end:
            result: T = end.value
            return result


def _line() -> Callable[[Progress], None]:
    """Tell of a stage's begin and end, and every few seconds in between."""
    stage, said = "", 0.0

    def tell(progress: Progress) -> None:
        nonlocal stage, said
        now = time.monotonic()
        ended = progress.step >= progress.total
        if progress.stage == stage and now - said < _LINES_APART_S and not ended:
            return
        stage, said = progress.stage, now
        print(words(progress), file=sys.stderr, flush=True)

    return tell


def words(progress: Progress) -> str:
    """Return a report as one line."""
    parts = [f"{progress.fraction:4.0%}  {progress.stage}"]
    if progress.total > 1:
        parts.append(f"{progress.step:,}/{progress.total:,}")
    parts += [f"{name} {value:.4g}" for name, value in progress.losses.items()]
    if progress.eta_s is not None and progress.fraction < 1:
        parts.append(f"{_duration(progress.eta_s)} left")
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _on_terminal(work: Generator[Progress, None, T]) -> T:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (BarColumn(bar_width=24), TextColumn("{task.description}", markup=False))
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("starting", total=1.0)

        def tell(progress: Progress) -> None:
            bars.update(task, completed=progress.fraction, description=words(progress))

        return _followed(work, tell)
