from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import napari_stsr.slides.readers as readers
from napari_stsr.cli import main
from napari_stsr.cli.progress import shown, words
from napari_stsr.results.writers import read_enhancement
from napari_stsr.slides import Region, write_regions
from napari_stsr.slides.simulate import simulate_slide
from napari_stsr.training import Progress
from tests.session.fake import fake_method

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def slide():
    return simulate_slide(lattice="hex", shape=(12, 10), genes=20, seed=1)


@pytest.fixture
def method(slide, monkeypatch):
    """The fake method, and a reader that gives the simulated slide for the path ``outs``."""

    def open_slide(path, **_):
        if path != "outs":
            return real(path)
        return slide

    real = readers.open_slide
    monkeypatch.setattr(readers, "open_slide", open_slide)
    with fake_method() as kind:
        yield kind


def enhanced(*more: str) -> int:
    return main(["enhance", "outs", "--method", "fake", *more])


def test_info_says_what_a_real_slide_holds(data, capsys):
    path = str(data("her2st_C2/spaceranger_like"))
    assert main(["info", path, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["locations"], found["in_tissue"], found["genes"]) == (187, 187, 15706)
    assert found["counts_total"] == 1926633
    assert (found["lattice"], round(found["pitch_um"])) == ("square", 200)
    assert found["um_per_px"] == pytest.approx(0.689, abs=0.002)
    assert found["um_per_px_source"] == "spot lattice"
    assert found["image"]["shape"] == [2000, 1871]
    assert found["image"]["levels"] >= 1
    assert {"level", "sentence", "remedy"} == set(found["checks"][0])
    assert main(["info", path]) == 0
    text = capsys.readouterr().out
    assert "187 spots" in text
    assert "15,706 genes" in text


def test_methods_are_listed_with_ranges_and_help(method, capsys):
    assert main(["methods", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["name"] == "fake"
    steps = found["parameters"][0]
    assert (steps["name"], steps["low"], steps["default"]) == ("steps", 1, 3)
    assert steps["help"]
    assert found["presets"]["fast"] == {"steps": 2}
    assert main(["methods"]) == 0
    assert "presets auto, fast, paper" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["enhance", "--help"])
    assert stop.value.code == 0
    assert "steps=3  int, 1 … 1e+06; How long it takes." in capsys.readouterr().out


def test_enhance_writes_what_was_asked(tmp_path, method, slide, capsys):
    out = tmp_path / "deep" / "r.h5ad"
    assert enhanced("--genes", "SIM003,SIM001", "--set", "steps=4", "--output", str(out)) == 0
    told = capsys.readouterr()
    assert str(out) in told.out
    assert "about 1 min 01 s, 1.5 GB" in told.err
    assert "4/4" in told.err
    result = read_enhancement(out)
    assert result.genes.ids.tolist() == ["SIM003", "SIM001"]
    assert len(result) == 7 * len(slide)
    assert result.provenance["params"]["steps"] == 4


def test_genes_come_from_a_file_and_targets_in_its_order(tmp_path, method, slide):
    (tmp_path / "genes.txt").write_text("SIM002\nSIM001\n\nSIM002\n")
    px = slide.coordinates_px[[30, 10, 20]]
    table = pd.DataFrame({"target_id": ["c", "a", "b"], "x": px[:, 0], "y": px[:, 1]})
    table.to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "r.csv"
    genes = ["--genes", str(tmp_path / "genes.txt")]
    assert enhanced("--at", str(tmp_path / "t.csv"), *genes, "--output", str(out)) == 0
    found = pd.read_csv(out)
    assert found["target_id"].tolist() == ["c", "a", "b"]
    np.testing.assert_allclose(found[["x_px", "y_px"]], px)
    assert found.columns[-2:].tolist() == ["SIM002", "SIM001"]


def test_a_region_of_several_polygons_is_one_job(tmp_path, method, slide):
    low, high = slide.coordinates.min(axis=0), slide.coordinates.max(axis=0)
    regions = []
    for name, x in (("left", low[0]), ("right", high[0] - 250)):
        ring = [(x, low[1]), (x + 250, low[1]), (x + 250, high[1]), (x, high[1])]
        regions.append(Region.from_polygons(name, [ring]))
    write_regions(tmp_path / "roi.geojson", regions)
    out = tmp_path / "r.h5ad"
    assert enhanced("--region", str(tmp_path / "roi.geojson"), "--output", str(out)) == 0
    result = read_enhancement(out)
    places = result.targets.coordinates
    inside = [region.contains(places) for region in regions]
    assert (inside[0] | inside[1]).all()
    assert inside[0].any()
    assert inside[1].any()


BAD = {
    "missing slide": (["info", "no/such/folder"], "no/such/folder"),
    "unknown method": (["enhance", "outs", "--method", "fke", "--output", "r.h5ad"], "fke"),
    "unknown preset": (["--preset", "slow"], "slow"),
    "unknown parameter": (["--set", "stps=3"], "stps"),
    "parameter out of range": (["--set", "steps=0"], "steps = 0"),
    "parameter without value": (["--set", "steps"], "--set key=value"),
    "unknown gene": (["--genes", "NOPE"], "NOPE"),
    "no gene": (["--genes", " , "], "names no gene"),
    "impossible subspots": (["--subspots", "5"], "5 subspots"),
    "impossible grid": (["--grid-um", "-3"], "-3"),
    "missing targets": (["--at", "none.csv"], "none.csv"),
    "missing region": (["--region", "none.geojson"], "none.geojson"),
    "unknown format": (["--output", "r.xlsx"], "r.xlsx"),
    "checkpoints in a file": (["--resume", __file__], "test_cli.py"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_with_2_and_a_line_or_two(name, method, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line, said = BAD[name]
    if line[0].startswith("--"):
        line = ["enhance", "outs", "--method", "fake", "--output", "r.h5ad", *line]
    assert main(line) == 2
    error = [row for row in capsys.readouterr().err.splitlines() if row.startswith("Error")]
    assert len(error) == 1
    assert said in error[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["fly"],
        ["enhance", "outs"],
        ["enhance", "outs", "--output", "r.h5ad", "--subspots", "7", "--grid-um", "3"],
        ["enhance", "outs", "--output", "r.h5ad", "--seed", "x"],
    ],
)
def test_a_wrong_command_line_ends_with_2_and_one_line(line, capsys):
    with pytest.raises(SystemExit) as stop:
        main(line)
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("ends", "said"), [("in words", "The disk is full."), ("by a bug", "wires crossed")]
)
def test_a_failure_ends_with_1_and_a_traceback_only_when_asked(
    ends, said, method, tmp_path, capsys
):
    line = ["--set", f"ends={ends}", "--output", str(tmp_path / "r.h5ad")]
    assert enhanced(*line) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert enhanced(*line, "--debug") == 1
    assert "Traceback" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told_before_the_fit(method, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert enhanced("--output", str(tmp_path / "file" / "r.h5ad")) == 1
    error = capsys.readouterr().err
    assert "Cannot write into" in error
    assert "training" not in error


STOPPED = """
import sys
from napari_stsr.cli import main
import napari_stsr.slides.readers as readers
from napari_stsr.slides.simulate import simulate_slide
from tests.session.fake import fake_method
readers.open_slide = lambda path, **_: simulate_slide(shape=(8, 8), genes=5, domains=2)
with fake_method():
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_stops_cleanly(sent, code, tmp_path):
    line = ["enhance", "x", "--method", "fake", "--set", "steps=1000000"]
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, *line, "--output", str(tmp_path / "r.h5ad")],
        cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    for row in process.stderr:
        if "training" in row:
            break
    time.sleep(0.05)
    process.send_signal(sent)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert error.splitlines()[-1].startswith("Stopped.")
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_plain_progress_is_sparse_and_says_what_matters(capsys):
    def fitting():
        for step in range(1, 2001):
            yield Progress("graph", step, 2000, step / 2000, {"training": 1.23456}, 75.0)
        return "the result"

    assert shown(fitting()) == "the result"
    rows = capsys.readouterr().err.splitlines()
    assert 2 <= len(rows) <= 5
    assert rows[0] == "  0%  graph  1/2,000  training 1.235  1 min 15 s left"
    assert words(Progress("predicting", 0, 1, 1.0)) == "100%  predicting"


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def fitting():
        yield Progress("graph [1/2]", 1, 2, 0.5)
        return 7

    assert shown(fitting()) == 7
    assert "graph [1/2]" in capsys.readouterr().err


def test_view_opens_the_window_with_both(monkeypatch, tmp_path):
    launch = pytest.importorskip("napari_stsr.viewer.launch")
    seen = []
    monkeypatch.setattr(launch, "view", lambda path, result: seen.append((path, result)))
    monkeypatch.setenv("DISPLAY", ":0")
    result = tmp_path / "r.h5ad"
    result.touch()
    assert main(["view", "outs", str(result)]) == 0
    assert main(["view", "outs"]) == 0
    assert seen == [("outs", str(result)), ("outs", None)]


def test_view_tells_a_missing_result_and_a_missing_display(monkeypatch, capsys):
    assert main(["view", "outs", "nowhere.h5ad"]) == 2
    assert "no result 'nowhere.h5ad'" in capsys.readouterr().err
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert main(["view", "outs"]) == 1
    assert "no display" in capsys.readouterr().err


def test_demo_without_a_window_leaves_files_and_a_picture(tmp_path, capsys):
    from PIL import Image

    with fake_method("square"):
        assert main(["demo", "--no-window", "--output", str(tmp_path)]) == 0
    names = {"predicted.h5ad", "predicted.ome.tif", "measured-and-predicted.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    told = capsys.readouterr().out
    assert all(name in told for name in names)
    drawn = np.asarray(Image.open(tmp_path / "measured-and-predicted.png"))
    assert min(drawn.shape[:2]) > 500
    assert len(read_enhancement(tmp_path / "predicted.h5ad").genes) == 300


def test_info_and_methods_start_without_the_heavy_libraries(tmp_path):
    script = (
        "import sys; from napari_stsr.cli import main; main(['methods', '--json']);"
        "print([m for m in ('torch', 'torch_geometric', 'napari', 'anndata', 'qtpy')"
        " if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
