"""What a fit reports while it runs, and the token that stops it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import Cancelled, InputError

if TYPE_CHECKING:
    from napari_stsr.methods.base import Fitted

T = TypeVar("T")
Precision = Literal["auto", "32", "bf16", "16"]


@dataclass(frozen=True)
class Progress:
    """A report of a running fit, at most ten a second.

    Attributes
    ----------
    stage : str
        What is being done, in words.
    step, total : int
        Steps done and planned in this stage.
    fraction : float
        Share of the whole fit that is done, 0 … 1.
    losses : mapping
        Latest value by name (``"training"``, ``"validation"``); empty for stages without.
    eta_s : float or None
        Seconds left for the whole fit, once it can be told.
    preview : (m,) float32 array, optional
        Values asked for through `Run.preview`.
    """

    stage: str
    step: int
    total: int
    fraction: float
    losses: Mapping[str, float] = field(default_factory=dict)
    eta_s: float | None = None
    preview: NDArray[np.float32] | None = None


def outcome(work: Generator[Any, None, T]) -> T:
    """Run a generator of reports to its end and return its value."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            value: T = end.value
            return value


class CancelToken:
    """Asks a run to stop or to pause; checked at every step.

    A signal handler may cancel: it interrupts the very thread that checks, so neither takes a lock
    while the run goes on.
    """

    def __init__(self) -> None:
        self._cancelled = self._paused = False
        self._running = threading.Event()
        self._running.set()

    def cancel(self) -> None:
        """Stop at the next step."""
        self._cancelled = True
        if self._paused:
            self.resume()

    def pause(self) -> None:
        """Wait at the next step until resumed or cancelled."""
        self._running.clear()
        self._paused = True
        if self._cancelled:
            self.resume()

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        self._running.set()

    @property
    def cancelled(self) -> bool:
        """Whether cancel was asked."""
        return self._cancelled

    @property
    def paused(self) -> bool:
        """Whether the run waits."""
        return self._paused

    def check(self) -> None:
        """Wait while paused; raise `Cancelled` when cancel was asked."""
        if self._paused:
            self._running.wait()
        if self._cancelled:
            raise Cancelled


@dataclass(eq=False)
class Run:
    """How to fit: everything that is no parameter of the method.

    Parameters
    ----------
    seed : int
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    precision : {"auto", "32", "bf16", "16"}
        ``"auto"`` is 32-bit on every device; the 16-bit forms are mixed precision.
    threads : int
        Processor threads; more than one pays only for large batches on idle cores.
    cancel : CancelToken
    checkpoints : Path, optional
        Folder for checkpoints; a fit that finds its own checkpoint there goes on from it.
    checkpoint_every_s : float
        Seconds between checkpoints.
    preview : callable, optional
        Called at times in the fitting thread with what is fitted so far; its answer travels in
        `Progress.preview`. May be set or changed while the fit runs.
    """

    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"
    threads: int = 1
    cancel: CancelToken = field(default_factory=CancelToken)
    checkpoints: Path | None = None
    checkpoint_every_s: float = 20.0
    preview: Callable[[Fitted], NDArray[np.float32] | None] | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"The seed {self.seed} is negative.", "Choose 0 or more.")
        if self.threads < 1:
            raise InputError(f"{self.threads} threads cannot compute.", "Choose 1 or more.")

    def described(self) -> dict[str, Any]:
        """Return the parts that matter for repeating the run, JSON-ready."""
        return {"seed": self.seed, "device": self.device, "precision": self.precision}


class Pace:
    """Decides when to report and tells the time left.

    Parameters
    ----------
    per_second : float
        Reports a second at most.
    """

    def __init__(self, per_second: float = 10.0) -> None:
        self._gap = 1.0 / per_second
        self._start = time.monotonic()
        self._last = -np.inf
        self._begun_at = 0.0

    def begin(self, fraction: float) -> None:
        """Count time from here, where `fraction` was done already (a resumed run)."""
        self._start, self._begun_at = time.monotonic(), fraction

    def due(self) -> bool:
        """Whether a report is due now; if so, the next one is due a gap later."""
        now = time.monotonic()
        if now - self._last < self._gap:
            return False
        self._last = now
        return True

    def eta_s(self, fraction: float) -> float | None:
        """Seconds left at the pace so far; None in the first half second or 1 %."""
        spent, done = time.monotonic() - self._start, fraction - self._begun_at
        if spent < 0.5 or done < 0.01:
            return None
        return spent * max(0.0, 1.0 - fraction) / done


def reported(
    work: Generator[float, None, T], stage: str, total: int, span: tuple[float, float], run: Run
) -> Generator[Progress, None, T]:
    """Report work that yields how much of `total` is done; the fit goes on from span to span.

    Raises
    ------
    Cancelled
        When the run was cancelled.
    """
    pace, (begun, end) = Pace(), span
    while True:
        run.cancel.check()
        try:
            done = next(work)
        except StopIteration as finished:
            answer: T = finished.value
            return answer
        if pace.due():
            yield Progress(stage, round(done), total, begun + (end - begun) * done / total)


def spanned(
    fitting: Generator[Progress, None, T], span: tuple[float, float]
) -> Generator[Progress, None, T]:
    """Hand on the reports of a fit that is a part of a larger one, which goes from span to span."""
    begun, end = span
    while True:
        try:
            progress = next(fitting)
        except StopIteration as finished:
            answer: T = finished.value
            return answer
        yield replace(progress, fraction=begun + (end - begun) * progress.fraction, eta_s=None)
