"""A run killed in mid-training and resumed ends with the weights of an unbroken one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from napari_stsr.slides.simulate import Simulation, simulate
from napari_stsr.training import Run
from tests.methods.square.conftest import fit

_CHILD = """
import sys
from pathlib import Path
from napari_stsr.slides.simulate import simulate
from napari_stsr.training import Run
from tests.methods.square.conftest import fit
slide = simulate(lattice="square", shape=(14, 14), genes=60, image=False, seed=1).slide
fit(slide, Run(device="cpu", checkpoints=Path(sys.argv[1]), checkpoint_every_s=0.0),
    embedding_steps=100, graph_steps=400)
"""


def test_killed_and_resumed_equals_unbroken(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path)], cwd=root)
    graph = tmp_path / "graph.pt"
    deadline = time.monotonic() + 120
    while not graph.exists() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the child ended before it could be killed"

    slide = simulate(lattice="square", shape=(14, 14), genes=60, image=False, seed=1).slide
    steps = {"embedding_steps": 100, "graph_steps": 400}
    resumed = fit(slide, Run(device="cpu", checkpoints=tmp_path), **steps)
    unbroken = fit(slide, Run(device="cpu"), **steps)
    for mine, theirs in zip(
        resumed.learned.diffusion.parameters(),  # type: ignore[attr-defined]
        unbroken.learned.diffusion.parameters(),  # type: ignore[attr-defined]
        strict=True,
    ):
        assert np.array_equal(mine.numpy(), theirs.numpy())


def test_other_genes_are_asked_for_without_training_again(
    square_simulation: Simulation, tmp_path: Path
) -> None:
    slide, few = square_simulation.slide, np.array([7, 3])
    fit(slide, Run(device="cpu", checkpoints=tmp_path))
    written = (tmp_path / "graph.pt").stat().st_mtime_ns
    again = fit(slide, Run(device="cpu", checkpoints=tmp_path), genes=few)
    assert (tmp_path / "graph.pt").stat().st_mtime_ns == written
    anew = fit(slide, Run(device="cpu"), genes=few)
    targets = slide.subspots()
    for one in (again, anew):
        assert one.predict(targets).genes.ids.tolist() == slide.genes.ids[few].tolist()
    assert np.array_equal(again.predict(targets).expression(), anew.predict(targets).expression())
