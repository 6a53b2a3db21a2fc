"""Ctrl-C and SIGTERM: a fit stops at its next step, anything else at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self

from napari_stsr.training import CancelToken

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Handles the signals that ask to stop while it is entered.

    Attributes
    ----------
    code : int
        Exit code of a stopped command: 130 after Ctrl-C, 143 after SIGTERM.
    said : str
        What is told then.
    """

    def __init__(self) -> None:
        self.code = 128 + signal.SIGINT
        self.said = "Stopped. Nothing half-written was left behind."
        self._token: CancelToken | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python lets only the main thread handle signals.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._stop) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def gently(self, token: CancelToken) -> Iterator[None]:
        """Within, the first signal cancels the token; a second one stops at once."""
        self._token = token
        try:
            yield
        finally:
            self._token = None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.code = 128 + number
        if self._token is None or self._token.cancelled:
            raise KeyboardInterrupt
        self._token.cancel()
