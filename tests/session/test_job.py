from __future__ import annotations

import logging
import threading
import time

import pytest

from napari_stsr.session import EnhanceJob, Job, JobQueue, Plan
from napari_stsr.slides import Slide
from napari_stsr.training import Run
from tests.session.fake import FakeMethod

LONG = {"steps": 1_000_000}


@pytest.fixture
def jobs():
    queue = JobQueue()
    yield queue
    FakeMethod.gate.set()
    queue.close()


def job(slide: Slide, **values) -> EnhanceJob:
    return EnhanceJob(slide, Plan("fake", values=values), Run())


def until(true, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


@pytest.mark.usefixtures("method")
def test_a_job_ends_done_with_its_result_and_curve(slide, jobs):
    one = job(slide, steps=4)
    states = []
    one._changed = lambda j: states.append(j.state)
    jobs.add(one)
    assert one.wait(10)
    assert one.state == "done"
    assert len(one.result) == 7 * len(slide)
    assert [p.losses["training"] for p in one.history] == [1, 1 / 2, 1 / 3, 1 / 4]
    assert states[0] == "running"
    assert states[-1] == "done"
    assert one.message == ""


def test_cancel_stops_within_one_step(slide, jobs, method):
    method.gate.clear()
    one = job(slide, **LONG)
    jobs.add(one)
    assert until(lambda: one.state == "running")
    one.cancel()
    method.gate.set()
    assert one.wait(10)
    assert one.state == "cancelled"
    assert one.history == []
    assert one.result is None


@pytest.mark.usefixtures("method")
def test_a_paused_job_waits_goes_on_and_can_be_cancelled(slide, jobs):
    one = job(slide, **LONG)
    jobs.add(one)
    assert until(lambda: len(one.history) > 5)
    one.pause()
    assert one.state == "paused"
    # The step in hand may still report.
    time.sleep(0.05)
    still = len(one.history)
    time.sleep(0.05)
    assert len(one.history) == still
    one.resume()
    assert one.state == "running"
    assert until(lambda: len(one.history) > still)
    one.pause()
    one.cancel()
    assert one.wait(10)
    assert one.state == "cancelled"


@pytest.mark.usefixtures("method")
def test_a_job_paused_in_the_queue_starts_paused(slide, jobs):
    one = job(slide)
    one.pause()
    jobs.add(one)
    assert until(lambda: one.state == "paused")
    assert not one.wait(0.05)
    one.resume()
    assert one.wait(10)
    assert one.state == "done"


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ("in words", "The disk is full. Free some space."),
        ("by a bug", "RuntimeError: wires crossed"),
        ("out of memory", "The memory ran out."),
    ],
)
def test_a_failure_is_told_and_the_queue_goes_on(slide, jobs, ends, words):
    bad, good = job(slide, ends=ends), job(slide)
    jobs.add(bad)
    jobs.add(good)
    assert good.wait(10)
    assert bad.state == "failed"
    assert bad.message.startswith(words)
    assert "Traceback" in bad.details
    assert good.state == "done"


@pytest.mark.usefixtures("method")
def test_who_waits_for_the_end_comes_after_the_listener(slide, jobs):
    one, heard = job(slide), []

    def slow(job: Job) -> None:
        if job.ended:
            time.sleep(0.05)
            heard.append(job.state)

    one._changed = slow
    jobs.add(one)
    assert one.wait(10)
    assert heard == ["done"]


def test_jobs_run_one_after_another_in_order(slide, jobs, method):
    method.gate.clear()
    order = []
    many = [job(slide) for _ in range(4)]
    for number, one in enumerate(many):
        one._changed = lambda j, n=number: order.append(n)
        jobs.add(one)
    assert until(lambda: many[0].state == "running")
    assert [one.state for one in many[1:]] == ["queued"] * 3
    many[2].cancel()
    assert many[2].state == "cancelled"
    method.gate.set()
    assert many[3].wait(10)
    assert [one.state for one in many] == ["done", "done", "cancelled", "done"]
    ran = [n for n in order if n != 2]
    assert ran == sorted(ran)


@pytest.mark.usefixtures("method")
def test_a_listener_that_fails_breaks_neither_the_job_nor_the_queue(slide, jobs, caplog):
    def broken(job: Job) -> None:
        raise ValueError("the window is gone")

    one, two = job(slide), job(slide)
    one._changed = broken
    with caplog.at_level(logging.CRITICAL, "napari_stsr"):
        jobs.add(one)
        jobs.add(two)
        assert two.wait(10)
    assert (one.state, two.state) == ("done", "done")


def test_closing_cancels_everything_and_ends_the_thread(slide, method):
    method.gate.clear()
    queue = JobQueue()
    many = [job(slide, **LONG) for _ in range(3)]
    for one in many:
        queue.add(one)
    assert until(lambda: many[0].state == "running")
    threading.Timer(0.05, method.gate.set).start()
    queue.close()
    assert [one.state for one in many] == ["cancelled"] * 3
    assert "stsr-jobs" not in {thread.name for thread in threading.enumerate()}
