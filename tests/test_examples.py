"""The examples run, in order, each in a process of its own as a reader would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_stsr.results.writers import read_enhancement

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("examples")


def run(name: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_slide_is_enhanced_and_its_result_read_back(folder):
    assert "counts at an average subspot" in run("enhance_a_slide.py", folder)
    assert len(read_enhancement(folder / "enhanced.h5ad")) == 9 * 16 * 16
    told = run("read_a_result.py", folder)
    assert "square with seed 0" in told
    assert "from SIM-" in told


def test_a_region_is_enhanced(folder):
    assert "margin" in run("enhance_a_region.py", folder)
    header, *rows = (folder / "margin.csv").read_text(encoding="utf-8").splitlines()
    assert header.endswith("SIM001,SIM002,SIM003,SIM004,SIM005")
    assert len(rows) > 300


def test_a_model_is_kept_and_predicts_again(folder):
    told = run("fit_once_predict_often.py", folder)
    assert "places, by factor_kernel.stsr" in told
    assert "measured and predicted: " in told
    assert len(read_enhancement(folder / "filled-in.h5ad")) == 16 * 16


def test_every_example_is_run_here():
    named = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if path.name not in named] == []
