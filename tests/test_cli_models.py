from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import napari_stsr.slides.readers as readers
from napari_stsr.cli import main
from napari_stsr.results.writers import read_enhancement
from napari_stsr.slides import Region, write_regions
from napari_stsr.slides.simulate import simulate_slide
from tests.session.fake import fake_method


@pytest.fixture(scope="module")
def slide():
    return simulate_slide(lattice="hex", shape=(12, 10), genes=20, seed=1)


@pytest.fixture(autouse=True)
def method(slide, monkeypatch):
    """The fake method, and a reader that gives the simulated slide for the path ``outs``."""
    other = simulate_slide(lattice="square", shape=(12, 10), genes=20, seed=1)
    known = {"outs": slide, "other": other}
    real = readers.open_slide

    def open_slide(path, **_):
        return known[path] if path in known else real(path)

    monkeypatch.setattr(readers, "open_slide", open_slide)
    with fake_method() as kind:
        yield kind


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(there, capsys):
    line = ["enhance", "outs", "--method", "fake", "--seed", "3", "--save-model", "m.stsr"]
    assert main([*line, "--output", "own.h5ad"]) == 0
    assert "Wrote m.stsr: model of fake, auto · " in capsys.readouterr().err
    return "m.stsr"


def predicted(*more, output="r.h5ad"):
    assert main(["predict", "m.stsr", *more, "--output", output]) == 0
    return read_enhancement(output) if output.endswith("h5ad") else pd.read_csv(output)


def test_a_saved_model_predicts_what_its_own_run_did(model, capsys):
    again = predicted()
    own = read_enhancement("own.h5ad")
    np.testing.assert_array_equal(again.expression(), own.expression())
    assert again.targets.ids.tolist() == own.targets.ids.tolist()
    assert again.provenance["run"]["seed"] == 3
    assert again.provenance["model"]["file"] == model
    told = capsys.readouterr()
    assert "Model: fake, auto" in told.err
    assert "predicted expression of 20 genes" in told.out
    assert predicted("--device", "cpu").provenance["run"]["device"] == "cpu"
    with_slide = predicted("--slide", "outs", "--genes", "SIM004,SIM002", "--subspots", "6")
    assert with_slide.genes.ids.tolist() == ["SIM004", "SIM002"]
    assert len(with_slide) == 6 * 120


def test_places_of_every_kind(model, slide, there):
    low, high = slide.coordinates.min(axis=0), slide.coordinates.mean(axis=0)
    corners = [low, (high[0], low[1]), high, (low[0], high[1])]
    region = Region.from_polygons("part", [np.array(corners)])
    write_regions(there / "roi.geojson", [region])
    inside = predicted("--region", "roi.geojson", "--grid-um", "40")
    assert region.contains(inside.targets.coordinates).all()
    px = slide.coordinates_px[[30, 10]]
    pd.DataFrame({"target_id": ["b", "a"], "x": px[:, 0], "y": px[:, 1]}).to_csv("t.csv")
    table = predicted("--at", "t.csv", output="r.csv")
    assert table["target_id"].tolist() == ["b", "a"]


@pytest.mark.parametrize("task", ["denoise", "impute"])
def test_tasks_at_the_measured_spots_with_and_without_training(model, slide, task, capsys):
    assert main([task, "outs", "--method", "fake", "--output", "own.h5ad"]) == 0
    own = read_enhancement("own.h5ad")
    assert own.targets.ids.tolist() == slide.barcodes.tolist()
    assert own.provenance["task"] == task
    again = predicted("--slide", "outs", "--task", task)
    np.testing.assert_array_equal(again.expression(), own.expression())
    told = capsys.readouterr().out.splitlines()
    words = {"denoise": "denoised (predicted) expression", "impute": "counts as measured, and"}
    assert all(words[task] in line for line in told)


BAD = {
    "no model": (["predict", "none.stsr"], "There is no model"),
    "no model at all": (["predict", "own.h5ad"], "is no model, or a damaged one"),
    "an unknown gene": (["--genes", "NOPE"], "not in this model: NOPE"),
    "another slide": (["--slide", "other"], "hex lattice, pitch 100 µm); "),
    "an option without its slide": (["--bin-um", "8"], "--bin-um says how to open a slide"),
    "filling in without counts": (["--task", "impute"], "Name the slide with --slide PATH"),
    "places of denoising": (["--task", "denoise", "--grid-um", "9"], "takes no other places"),
    "impossible subspots": (["--subspots", "5"], "5 subspots"),
    "a device that is not there": (["--device", "cuda:7"], "The device 'cuda:7' is not there"),
    "no device": (["--device", "toaster"], "'toaster' is no device"),
    "an unknown format": (["--output", "r.xlsx"], "r.xlsx"),
    "a model over the output": (
        ["enhance", "outs", "--method", "fake", "--save-model", "r.h5ad"], "Name two files"
    ),
    "a model in a folder's place": (
        ["denoise", "outs", "--method", "fake", "--save-model", "."], "is a folder"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_with_2_and_leaves_nothing(name, model, there, capsys):
    line, said = BAD[name]
    if line[0].startswith("--"):
        line = ["predict", "m.stsr", *line]
    if "--output" not in line:
        line = [*line, "--output", "r.h5ad"]
    before = set(there.iterdir())
    assert main(line) == 2
    error = [row for row in capsys.readouterr().err.splitlines() if row.startswith("Error")]
    assert len(error) == 1
    assert said in error[0]
    assert set(there.iterdir()) == before


def test_a_model_is_kept_even_if_the_prediction_cannot_be(there, method, monkeypatch, capsys):
    from tests.session.fake import FakeFitted

    def broken(*_):
        raise MemoryError

    monkeypatch.setattr(FakeFitted, "predict", broken)
    line = ["enhance", "outs", "--method", "fake", "--save-model", "m.stsr"]
    assert main([*line, "--output", "r.h5ad"]) == 1
    assert "The memory ran out" in capsys.readouterr().err
    assert [path.name for path in there.iterdir()] == ["m.stsr"]


def test_denoising_names_no_places(there, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["denoise", "outs", "--grid-um", "9", "--output", "r.h5ad"])
    assert stop.value.code == 2
