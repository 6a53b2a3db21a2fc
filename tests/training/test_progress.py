"""The token that stops a run."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import pytest

from napari_stsr.errors import Cancelled
from napari_stsr.training import CancelToken


def test_a_signal_that_interrupts_the_check_itself_cancels() -> None:
    token = CancelToken()
    before = signal.signal(signal.SIGUSR1, lambda *_: token.cancel())
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        with pytest.raises(Cancelled):
            _check_for_ever(token)
    finally:
        signal.signal(signal.SIGUSR1, before)


def _check_for_ever(token: CancelToken) -> None:
    while True:
        token.check()


@pytest.mark.parametrize("wake", [CancelToken.resume, CancelToken.cancel])
def test_a_paused_run_waits_until_it_is_woken(wake: object) -> None:
    token, passed = CancelToken(), threading.Event()
    token.pause()

    def run() -> None:
        with contextlib.suppress(Cancelled):
            token.check()
        passed.set()

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.05)
    assert not passed.is_set()
    wake(token)  # type: ignore[operator]
    thread.join(5)
    assert passed.is_set()
    assert not token.paused


def test_a_cancelled_run_cannot_be_paused() -> None:
    token = CancelToken()
    token.cancel()
    token.pause()
    with pytest.raises(Cancelled):
        token.check()
