from __future__ import annotations

import importlib
import json
import shlex

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import napari_stsr
from napari_stsr.cli import main, parser
from napari_stsr.cli.enhance import plan_of, run_of
from napari_stsr.errors import InputError
from napari_stsr.results.writers import read_enhancement
from napari_stsr.session import (
    TASKS,
    Plan,
    enhance,
    fit,
    load_model,
    predict,
    save_model,
    support,
    united,
)
from napari_stsr.slides import Region, points, write_regions
from napari_stsr.training import Run

pytestmark = pytest.mark.usefixtures("method")


@pytest.fixture
def square_mm(slide) -> Region:
    x, y = slide.coordinates[slide.in_tissue].mean(axis=0)
    return Region("tumour", shapely.box(x - 250, y - 200, x + 250, y + 200))


def test_parts_of_the_whole_slide_carry_the_record_to_repeat_them(slide):
    result = enhance(slide, "fake", "fast", values={"steps": "4"}, genes=["SIM005", "SIM001"])
    assert result.genes.ids.tolist() == ["SIM005", "SIM001"]
    assert result.name == f"{slide.name} · Fake"
    record = result.provenance
    assert record["kind"] == "predicted"
    assert record["params"] == {"steps": 4, "conserve": True, "ends": "well"}
    assert record["genes"] == ["SIM005", "SIM001"]
    assert record["run"]["seed"] == 0
    assert record["slide"]["um_per_px"] == slide.scale.um_per_px
    assert json.loads(json.dumps(record)) == record
    sums = result.expression().reshape(len(slide), 7, 2).sum(axis=1)
    np.testing.assert_allclose(sums, slide.counts.dense(slide.genes.columns(record["genes"])), 1e-5)


def test_a_gene_named_twice_is_predicted_once(slide, tmp_path):
    twice = ["SIM005", str(slide.genes.symbols[slide.genes.column("SIM005")]), "SIM001"]
    assert enhance(slide, "fake", genes=twice).genes.ids.tolist() == ["SIM005", "SIM001"]
    model = fit(slide, "fake")
    assert predict(model, genes=twice).genes.ids.tolist() == ["SIM005", "SIM001"]


def test_a_region_learns_from_its_halo_and_predicts_inside_only(slide, square_mm):
    plan = Plan("fake", region=square_mm)
    learned, targets = plan.prepare(slide)
    assert square_mm.contains(targets.coordinates).all()
    outside = ~square_mm.contains(learned.coordinates)
    assert outside.any()
    reach = square_mm.grown(2 * slide.lattice.pitch_um)
    assert reach.contains(learned.coordinates).all()
    result = enhance(slide, "fake", region=square_mm)
    assert result.name.endswith("tumour")
    assert result.supported.all()
    assert set(result.parents) <= set(slide.barcodes)
    shape = shapely.from_geojson(json.dumps(result.provenance["targets"]["region"]["geometry_um"]))
    assert shape.equals(square_mm.outline)


def test_several_regions_become_one_and_keep_their_holes(square_mm):
    hollow = Region(
        "ring", shapely.Point(9000, 0).buffer(100).difference(shapely.Point(9000, 0).buffer(50))
    )
    both = united([square_mm, hollow])
    assert both.name == "tumour + ring"
    assert both.area_um2 == pytest.approx(square_mm.area_um2 + hollow.area_um2)
    assert united([hollow]) is hollow


def test_places_exclude_each_other_and_bad_plans_are_refused_at_the_door(slide):
    with pytest.raises(InputError, match="exclude each other"):
        Plan("fake", subspots=7, grid_um=20)
    with pytest.raises(InputError, match="no method 'fke'"):
        Plan("fke").prepare(slide)
    with pytest.raises(InputError, match="no preset 'slow'"):
        Plan("fake", "slow").prepare(slide)
    with pytest.raises(InputError, match="steps = 0"):
        Plan("fake", values={"steps": 0}).prepare(slide)
    with pytest.raises(InputError, match="into 5 subspots"):
        Plan("fake", subspots=5).prepare(slide)
    with pytest.raises(InputError, match="holds none"):
        Plan("fake", region=Region("far", shapely.box(-9e6, 0, -8e6, 1))).prepare(slide)
    with pytest.raises(InputError, match="no gene named 'NOPE'"):
        enhance(slide, "fake", genes=["NOPE"])


def test_support_tells_tissue_and_distance(slide):
    pitch = slide.lattice.pitch_um
    inside = slide.coordinates[np.flatnonzero(slide.in_tissue)[0]]
    empty = slide.coordinates[np.flatnonzero(~slide.in_tissue)[0]]
    corner = slide.coordinates.min(axis=0)
    far = corner - [0.9 * pitch, 0]
    beyond = corner - [1.1 * pitch, 0]
    in_tissue, supported = support(slide, points(np.array([inside, empty, far, beyond]), 10.0))
    assert in_tissue.tolist() == [True, False, False, False]
    assert supported.tolist() == [True, True, True, False]


PLANS = st.builds(
    dict,
    preset=st.sampled_from(["auto", "fast", "paper"]),
    values=st.dictionaries(st.just("steps"), st.integers(1, 99)),
    genes=st.none()
    | st.lists(st.sampled_from(["SIM001", "SIM002", "SIM003"]), min_size=1, unique=True).map(tuple),
    place=st.sampled_from(
        [{}, {"subspots": 7}, {"subspots": 6}, {"grid_um": 41.5}, {"grid_um": 1 / 3}]
    ),
    task=st.sampled_from(["enhance", "denoise", "impute"]),
    halo=st.floats(0.5, 9),
    seed=st.integers(0, 2**31),
)


def same(a: Plan, b: Plan) -> None:
    """Assert that two plans ask for the same."""
    for name in ("method", "preset", "genes", "subspots", "grid_um", "task"):
        assert getattr(a, name) == getattr(b, name)
    assert a.params() == b.params()
    assert (a.region is None) == (b.region is None)
    if a.region is not None:
        assert a.region.name == b.region.name
        assert a.region.outline.equals(b.region.outline)
        assert a.halo_pitches == b.halo_pitches


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(chosen=PLANS, hollow=st.booleans())
def test_copies_as_python_and_as_command_make_the_same_plan(
    slide, tmp_path, monkeypatch, chosen, hollow
):
    region = None
    if hollow:
        ring = shapely.Point(500.1, 1 / 3).buffer(77).difference(shapely.Point(500, 1).buffer(5))
        region = Region("it's a ring", ring)
        write_regions(tmp_path / "my region.geojson", [region])
    task = chosen["task"]
    place = chosen["place"] if task == "enhance" else {}
    plan = Plan(
        "fake", chosen["preset"], chosen["values"], chosen["genes"],
        **place, region=region, halo_pitches=chosen["halo"], task=task,
    )  # fmt: skip
    run = Run(seed=chosen["seed"], device="cpu")

    command = plan.as_command(
        "a slide's folder", "o.h5ad", run=run, region_path=str(tmp_path / "my region.geojson")
    )
    words = shlex.split(command)
    options = parser().parse_args(words[1:])
    assert (options.path, options.output) == ("a slide's folder", "o.h5ad")
    same(plan_of(options, slide), plan)
    assert run_of(options).described() == run.described()

    seen = {}

    def watched(verb):
        def verb_of(slide, method, preset, run=None, **fields):
            seen.update(plan=Plan(method, preset, **fields, task=verb), run=run)

        return verb_of

    monkeypatch.setattr(napari_stsr, "open_slide", lambda path: slide, raising=False)
    for verb in TASKS:
        monkeypatch.setattr(napari_stsr, verb, watched(verb), raising=False)
    exec(plan.as_python("a slide's folder", run=run), {})
    same(seen["plan"], plan)
    assert seen["run"].described() == run.described()


def test_copies_of_a_prediction_by_a_model_do_the_same(slide, square_mm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model(fit(slide, "fake", region=square_mm), "it's a model.stsr")
    write_regions("region.geojson", [square_mm])
    plan = Plan("fake", genes=("SIM002", "SIM001"), region=square_mm, task="impute")
    own = predict(
        load_model("it's a model.stsr"), slide, genes=plan.genes, region=square_mm, task="impute"
    )
    readers = importlib.import_module("napari_stsr.slides.readers")
    monkeypatch.setattr(readers, "open_slide", lambda path, **_: slide)
    monkeypatch.setattr(napari_stsr, "open_slide", lambda path: slide, raising=False)
    words = shlex.split(plan.as_command("outs", "c.h5ad", model="it's a model.stsr"))
    assert main(words[1:]) == 0
    exec(plan.as_python("outs", output="p.h5ad", model="it's a model.stsr"), {})
    for name in ("c.h5ad", "p.h5ad"):
        found = read_enhancement(name)
        np.testing.assert_array_equal(found.expression(), own.expression())
        assert found.provenance["model"] == own.provenance["model"]
        assert found.targets.ids.tolist() == own.targets.ids.tolist()


def test_copies_name_the_targets_file_and_how_the_slide_was_opened(slide, tmp_path, monkeypatch):
    table = tmp_path / "t.csv"
    table.write_text("target_id,x_um,y_um\na,500,600\nb,650.5,700\n")
    plan = Plan("fake", at=points(np.array([[500, 600], [650.5, 700]]), 55.0))
    how = {"image": "he.tif", "bin_um": 8.0, "targets_path": str(table)}
    options = parser().parse_args(shlex.split(plan.as_command("s", "o.csv", **how))[1:])
    assert (options.image, options.bin_um) == ("he.tif", 8.0)
    read = plan_of(options, slide).at
    np.testing.assert_array_equal(read.coordinates, plan.at.coordinates)

    opened = {}

    def open_slide(path, **more):
        opened.update(more, path=path)
        return slide

    monkeypatch.setattr(napari_stsr, "open_slide", open_slide, raising=False)
    space: dict = {}
    exec(plan.as_python("s", output=str(tmp_path / "o.csv"), **how), space)
    assert opened == {"path": "s", "image": "he.tif", "bin_um": 8.0}
    assert space["result"].targets.ids.tolist() == ["a", "b"]
    assert (tmp_path / "o.csv").is_file()
