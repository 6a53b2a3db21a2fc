"""Work off the GUI thread whose answer comes back in it; only the newest answer counts."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

from napari_stsr.errors import StsrError


@dataclass(frozen=True)
class Failure:
    """What went wrong, in words with the remedy; `details` holds the traceback."""

    message: str
    details: str


def failure(error: Exception) -> Failure:
    """Put an exception into words; call it where the exception was caught."""
    words = str(error) if isinstance(error, StsrError) else f"{type(error).__name__}: {error}"
    return Failure(words, traceback.format_exc())


class Background(QObject):
    """One worker thread that always works on the newest request.

    A request that was overtaken before it started is never computed; one overtaken while it ran
    is computed but its answer is dropped. Nothing is ever raised into Qt or napari.

    Signals
    -------
    answered : (object)
        Return value of the newest request, in the GUI thread.
    failed : (Failure)
    """

    answered = Signal(object)
    failed = Signal(object)
    _ended = Signal(int, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._requests: queue.SimpleQueue[tuple[int, Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )
        self._newest = 0
        self._busy = False
        self._thread: threading.Thread | None = None
        self._ended.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        # Ends the thread with the window; must not hold this object itself.
        self.destroyed.connect(partial(self._requests.put, None))

    @property
    def busy(self) -> bool:
        """Whether the newest request waits for its answer."""
        return self._busy

    def ask(self, work: Callable[[], Any]) -> None:
        """Compute `work()` in the thread; earlier requests are forgotten."""
        self._newest += 1
        self._busy = True
        self._requests.put((self._newest, work))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="stsr-window", daemon=True)
            self._thread.start()

    def forget(self) -> None:
        """Drop the answer of what is being computed."""
        self._newest += 1
        self._busy = False

    def close(self) -> None:
        """End the thread after what it is doing."""
        self.forget()
        self._requests.put(None)
        if self._thread is not None:
            self._thread.join(10.0)
            self._thread = None

    def _work(self) -> None:
        while (request := self._requests.get()) is not None:
            number, work = request
            if number != self._newest:
                continue
            try:
                outcome = work()
            except Exception as error:  # a worker never raises: it returns an outcome
                outcome = failure(error)
            try:
                self._ended.emit(number, outcome)
            except RuntimeError:  # Qt has deleted us with the window: nobody waits any more
                return

    def _deliver(self, number: int, outcome: object) -> None:
        if number != self._newest:
            return
        self._busy = False
        (self.failed if isinstance(outcome, Failure) else self.answered).emit(outcome)
