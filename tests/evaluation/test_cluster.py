"""Units in other processes: a plugin of a third party, a worker that is killed, a scheduler."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_stsr.errors import Cancelled, InputError, RunError
from napari_stsr.evaluation import EvaluationPlan, Opening, evaluate, evaluating
from napari_stsr.evaluation.opening import reopening
from napari_stsr.methods import registry
from napari_stsr.slides import Slide
from napari_stsr.slides.simulate import simulate_slide
from napari_stsr.slides.writing import write_slide
from napari_stsr.training import CancelToken
from napari_stsr.training.progress import outcome

# Every fit leaves a line with its process, and waits where a file asks for it.
_PLUGIN = """
import os, time
from pathlib import Path
from napari_stsr.methods.baselines.inverse_distance import Nearest

class Logged(Nearest):
    name, title, family = "logged", "Logged", "method"

    def learn(self, slide, measured, params, run):
        here = Path(__file__).parent
        with open(here / "fits.log", "a") as log:
            log.write(f"{os.getpid()}\\n")
        while (here / "wait").exists():
            time.sleep(0.02)
        return (yield from super().learn(slide, measured, params, run))
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of an installed plugin with one method; `fits.log` lists its fits' processes."""
    (tmp_path / "logged_method.py").write_text(_PLUGIN)
    about = tmp_path / "logged-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: logged\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[napari_stsr.methods]\nlogged = logged_method:Logged\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "logged_method", raising=False)
    for cached in (registry._found, registry.get_method):
        cached.cache_clear()
    yield tmp_path
    for cached in (registry._found, registry.get_method):
        cached.cache_clear()


@pytest.fixture(scope="module")
def slide() -> Slide:
    return simulate_slide("realistic", "square", (10, 12), 40, seed=2, image=False)


def plan(folds: int) -> EvaluationPlan:
    return EvaluationPlan(["hidden-spots"], ["logged"], folds, scored=10, draws=20)


def fits(plugin: Path) -> list[int]:
    log = plugin / "fits.log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def test_a_killed_worker_costs_only_what_it_was_working_on(plugin: Path, slide: Slide) -> None:
    alone = evaluate(slide, plan(4)).summary().drop(columns="seconds")
    (plugin / "fits.log").unlink()
    (plugin / "wait").touch()
    work = evaluating(plan(4), slide, jobs=2, folder=plugin / "kept")
    for _ in work:
        if len(fits(plugin)) == 2:
            os.kill(fits(plugin)[0], signal.SIGKILL)
            (plugin / "wait").unlink()
            break
    found = outcome(work)
    assert [one.state for one in found.outcomes] == ["done"] * 4
    # Four, and once more the one that was killed.
    assert len(fits(plugin)) == 5
    assert os.getpid() not in fits(plugin)
    pd.testing.assert_frame_equal(found.summary().drop(columns="seconds"), alone)


def test_a_cancelled_cluster_keeps_what_is_finished(plugin: Path, slide: Slide) -> None:
    token, kept = CancelToken(), plugin / "kept"
    work = evaluating(plan(5), slide, token, jobs=2, folder=kept)
    for report in work:
        if report.step == 2:
            (plugin / "wait").touch()
            break
    token.cancel()
    with pytest.raises(Cancelled):
        outcome(work)
    (plugin / "wait").unlink()
    done = len(list(kept.glob("hidden-spots-*")))
    assert 2 <= done < 5
    (plugin / "fits.log").unlink()
    found = evaluate(slide, plan(5), kept)
    assert len(fits(plugin)) == 5 - done
    assert [one.fold for one in found.outcomes] == list(range(5))


def test_a_scheduler_of_others_can_work_and_open_the_slide_itself(
    plugin: Path, slide: Slide
) -> None:
    from distributed import LocalCluster

    write_slide(slide, plugin / "slide")
    opening = Opening(str(plugin / "slide"))
    with LocalCluster(
        n_workers=1, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = cluster.scheduler_address
        work = evaluating(plan(2), opening.open(), scheduler=address, opening=opening)
        found = outcome(work)
    assert [one.state for one in found.outcomes] == ["done"] * 2
    assert os.getpid() not in fits(plugin)


def test_a_scheduler_without_workers_is_said_to_be_waited_for(plugin: Path, slide: Slide) -> None:
    from distributed import LocalCluster

    token = CancelToken()
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster:
        work = evaluating(plan(1), slide, token, scheduler=cluster.scheduler_address)
        assert any("no worker has joined" in report.stage for report in itertools.islice(work, 20))
        token.cancel()
        with pytest.raises(Cancelled):
            outcome(work)


def test_workers_are_told_whole_paths(
    plugin: Path, slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker starts in a folder of its own."""
    write_slide(slide, plugin / "slide")
    monkeypatch.chdir(plugin)
    assert reopening(slide, Opening("slide", "he.png", 8.0)) == Opening(
        str(plugin / "slide"), str(plugin / "he.png"), 8.0
    )
    assert reopening(Opening("slide").open()) == Opening(str(plugin / "slide"))


def test_a_worker_that_opens_another_slide_says_so(plugin: Path, slide: Slide) -> None:
    write_slide(slide.take(np.arange(len(slide)) > 5), plugin / "slide")
    opening = Opening(str(plugin / "slide"))
    found = outcome(evaluating(plan(1), slide, jobs=2, opening=opening))
    assert found.outcomes[0].state == "failed"
    assert "another slide" in found.outcomes[0].words


def test_an_address_without_a_scheduler_is_told(plugin: Path, slide: Slide) -> None:
    with pytest.raises((InputError, RunError), match="nonsense"):
        outcome(evaluating(plan(1), slide, scheduler="nonsense://x"))
    with pytest.raises(RunError, match="No scheduler answers"):
        outcome(evaluating(plan(1), slide, scheduler="tcp://127.0.0.1:9"))
