from __future__ import annotations

import io
import json
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import shapely

from napari_stsr.errors import InputError
from napari_stsr.methods import method_names
from napari_stsr.results.writers import export, read_enhancement
from napari_stsr.session import Plan, Workspace, fit, load_model, predict, read_card, save_model
from napari_stsr.session.models import fit_words
from napari_stsr.slides import Counts, Lattice, PixelScale, Region, points
from napari_stsr.slides.readers import open_slide
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome

QUICK = {
    "square": {"embedding_steps": 20, "graph_steps": 10, "hidden": 16, "width": 16, "latent": 4},
    "suica": {
        "members": 2,
        "autoencoder_steps": 20,
        "field_steps": 20,
        "decoder_steps": 20,
        "hidden": 16,
        "width": 32,
        "latent": 4,
    },
    "bayesspace": {"sweeps": 20, "domains": 2},
    "stage": {"steps": 10},
    "card": {"steps": 10},
}


@pytest.fixture
def model(slide, method):
    return fit(slide, "fake")


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "m.stsr"
    save_model(model, path)
    return path


def rewritten(path, **changes):
    """Write the parts of a model file again, some of them changed or left out (None)."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts.update({name.replace("__", "."): part for name, part in changes.items()})
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            if part is not None:
                archive.writestr(name, part)


def about(path, **changes):
    with zipfile.ZipFile(path) as archive:
        told = json.loads(archive.read("model.json"))
    rewritten(path, model__json=json.dumps({**told, **changes}))


@pytest.mark.parametrize("name", method_names())
def test_a_reloaded_model_of_any_method_predicts_the_same_numbers(slide, tmp_path, name):
    inside = {"at": points(slide.coordinates + 9.0, 20.0)}
    places = {"subspots": 7}, inside, {"task": "denoise"}, {"task": "impute"}
    model = fit(slide, name, "fast", values=QUICK.get(name, {}), genes=["SIM005", "SIM001"])
    save_model(model, tmp_path / "m.stsr")
    again = load_model(tmp_path / "m.stsr")
    assert again.method == name
    for place in places:
        before, after = predict(model, slide, **place), predict(again, slide, **place)
        np.testing.assert_array_equal(before.expression(), after.expression())
        np.testing.assert_array_equal(before.supported, after.supported)
        if before.uncertainty is not None:
            columns = np.arange(2)
            np.testing.assert_array_equal(
                before.uncertainty.columns(columns), after.uncertainty.columns(columns)
            )
        assert after.genes.ids.tolist() == ["SIM005", "SIM001"]
    alone = predict(again, **inside)
    np.testing.assert_array_equal(alone.expression(), predict(model, **inside).expression())


def test_a_model_predicts_what_its_own_run_did(slide, method):
    plan = Plan("fake", grid_um=70.0)
    space = Workspace()
    space.slide = slide
    job = space.enhance(plan, Run())
    assert job.wait(10)
    space.close()
    assert job.fitted is job.model.fitted
    assert space.models == [job.model]
    assert space.model_of(job.result) is job.model
    again = predict(job.model, slide, grid_um=70.0)
    np.testing.assert_array_equal(again.expression(), job.result.expression())
    assert space.model_of(again) is None


def test_single_cells_are_fitted_without_naming_a_place(slide):
    cells = replace(slide, lattice=Lattice.none(slide.coordinates))
    model = fit(cells, "kernel")
    assert predict(model, grid_um=80.0).expression().sum() > 0


def test_provenance_names_the_file_its_hash_and_the_fit(saved, model, slide, tmp_path):
    import hashlib

    result = predict(load_model(saved), slide, genes=["SIM003"], subspots=6)
    record = result.provenance
    assert record["model"]["file"] == "m.stsr"
    assert record["model"]["sha256"] == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert record["model"]["fit"] == model.fit
    assert record["params"] == model.fit["params"]
    assert (record["genes"], record["targets"]["subspots"]) == (["SIM003"], 6)
    export(result, tmp_path / "r.h5ad")
    assert read_enhancement(tmp_path / "r.h5ad").provenance == record
    assert "model" not in outcome(Plan("fake").enhancing(slide, Run())).provenance


def test_a_card_tells_what_the_file_is_without_loading_it(saved, model):
    card = read_card(saved)
    assert card.fit == model.fit
    assert fit_words(card.fit) == "fake, auto · simulated hex slide · 20 genes"


def test_the_model_of_a_region_flags_what_it_has_not_seen(slide, method, tmp_path):
    x, y = slide.coordinates[slide.in_tissue].mean(axis=0)
    region = Region("tumour", shapely.box(x - 250, y - 200, x + 250, y + 200))
    model = fit(slide, "fake", region=region)
    save_model(model, tmp_path / "m.stsr")
    again = load_model(tmp_path / "m.stsr")
    assert len(again.slide) < len(slide)
    inside = predict(again, slide, region=region)
    assert inside.supported.all()
    assert inside.name.endswith("tumour")
    with pytest.raises(InputError, match=r"region tumour\. .* Choose the region it learned from"):
        predict(again, slide, subspots=7)
    everywhere = predict(again, slide, grid_um=80.0)
    known = again.slide.coordinates
    away = np.linalg.norm(everywhere.targets.coordinates[:, None] - known, axis=2).min(axis=1)
    np.testing.assert_array_equal(everywhere.supported, away <= slide.lattice.pitch_um)
    assert not everywhere.supported.all()


def test_genes_the_model_lacks_are_named(model):
    with pytest.raises(InputError, match=r"1 gene asked is not .*: NOPE. It predicts 20"):
        predict(model, genes=["SIM001", "NOPE"])
    asked = ["SIM001", "A1", "B1", "C1", "D1"]
    with pytest.raises(InputError, match=r"4 of the 5 genes asked are not .*: A1, B1, C1, …"):
        predict(model, genes=asked)


def other(slide, **changes):
    return replace(slide, name="another", **changes)


def test_another_slide_is_told_apart_in_words(model, slide):
    lattice = slide.lattice
    wide = Lattice("hex", 2 * lattice.pitch_um, lattice.sites, lattice.origin, 2 * lattice.basis)
    learned = r"This model learned from simulated hex slide \(hex lattice, pitch 100 µm\)"
    cases = {
        rf"{learned}; another has hex lattice, pitch 200 µm": other(slide, lattice=wide),
        rf"{learned}; another has none of its 120 spots": other(
            slide, barcodes=np.char.add("other-", slide.barcodes)
        ),
        rf"{learned}; on another 120 of its 120 spots lie elsewhere, up to 30 µm": other(
            slide, coordinates=slide.coordinates + np.array([30.0, 0.0])
        ),
        rf"{learned} at 1 µm per pixel; here it is opened at 1.2": other(
            slide, scale=PixelScale(1.2, "user"), coordinates=slide.coordinates * 1.2
        ),
        rf"{learned}; on another 1 of its 120 spots hold other counts": other(
            slide, counts=Counts(_one_more(slide.counts.rows))
        ),
    }
    for words, there in cases.items():
        with pytest.raises(InputError, match=words):
            predict(model, there)
    assert len(predict(model, slide.take(slide.in_tissue))) == 7 * slide.in_tissue.sum()


def _one_more(rows):
    more = rows.copy()
    more.data[0] += 1
    return more


def test_two_real_slides_are_not_taken_for_each_other(data, tmp_path):
    c2, c3 = (open_slide(data(f"her2st_{name}/spaceranger_like")) for name in ("C2", "C3"))
    model = fit(c2, "kernel", genes=["ERBB2"])
    save_model(model, tmp_path / "m.stsr")
    with pytest.raises(InputError, match=r"learned from her2st_C2 .*200 µm.*; on her2st_C3"):
        predict(load_model(tmp_path / "m.stsr"), c3)
    again = open_slide(data("her2st_C2/spaceranger_like"))
    assert len(predict(load_model(tmp_path / "m.stsr"), again)) == 9 * len(c2)


def test_broken_foreign_and_older_files_are_refused_in_words(saved, tmp_path):
    whole = saved.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    foreign = io.BytesIO()
    np.savez(foreign, a=np.arange(3))
    files = {
        "empty": b"",
        "text": b"no model at all",
        "cut": whole[: len(whole) // 2],
        "damaged": bytes(damaged),
        "foreign": foreign.getvalue(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="is no model, or a damaged one"):
            load_model(tmp_path / name)
    with pytest.raises(InputError, match="There is no model"):
        load_model(tmp_path / "none.stsr")
    with pytest.raises(InputError, match="is a folder"):
        read_card(tmp_path)
    fit = read_card(saved).fit
    changes = {
        "of layout 0; this version reads": {"layout": 0},
        "is no model but 'novel'": {"format": "novel"},
        "of 'magic', which is not installed": {"fit": {**fit, "method": "magic"}},
        "damaged one": {"slide": {}},
        "damaged one: TypeError": {"fit": None},
        "damaged one: KeyError: 'run'": {"fit": {k: v for k, v in fit.items() if k != "run"}},
    }
    for words, change in changes.items():
        saved.write_bytes(whole)
        about(saved, **change)
        with pytest.raises(InputError, match=words):
            load_model(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda held: held.pop("barcodes"), "is damaged: KeyError"),
        (lambda held: held["coordinates"].fill(np.nan), "coordinates holds values that are no"),
        (lambda held: held.pop("learned/bandwidth"), "bandwidth is missing"),
    ],
)
def test_a_fit_that_lacks_something_is_told_as_damaged(slide, tmp_path, change, words):
    path = tmp_path / "m.stsr"
    save_model(fit(slide, "kernel"), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = next(one for one in parts if one.startswith("fitted"))
    with np.load(io.BytesIO(parts[name])) as arrays:
        held = dict(arrays)
    change(held)
    made = io.BytesIO()
    np.savez(made, **held)
    parts[name] = made.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    with pytest.raises(InputError, match=words):
        load_model(path)


class Trap:
    """Tells when its pickle is loaded."""

    sprung = False

    def __reduce__(self):
        return _spring, ()


def _spring():
    Trap.sprung = True


@pytest.mark.parametrize("method_name", ["square", "kernel"])
def test_no_code_is_run_from_a_file(slide, tmp_path, method_name):
    import torch

    path = tmp_path / "m.stsr"
    save_model(fit(slide, "kernel", genes=["SIM001"]), path)
    about(path, fit={**read_card(path).fit, "method": method_name})
    whole = path.read_bytes()
    trapped, packed, table = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"format": Trap()}, trapped)
    np.savez(packed, told=np.array([Trap()], dtype=object))
    np.savez(table, gene_ids=np.array([Trap()], dtype=object))
    traps = [{"fitted": pickle.dumps(Trap())}, {"fitted": trapped.getvalue()}]
    traps += [{"fitted": packed.getvalue()}, {"slide__npz": table.getvalue()}]
    for part in traps:
        path.write_bytes(whole)
        rewritten(path, **part)
        with pytest.raises(InputError):
            load_model(path)
        assert not Trap.sprung
    assert pickle.loads(pickle.dumps(Trap())) is None
    assert Trap.sprung
    Trap.sprung = False


def test_a_folder_in_the_way_and_a_failing_save_leave_nothing(model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="is a folder"):
        save_model(model, tmp_path)

    def broken(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model.fitted, "save", broken)
    with pytest.raises(Exception, match="No space left"):
        save_model(model, tmp_path / "m.stsr")
    assert list(tmp_path.iterdir()) == []


def test_filling_in_needs_the_slide_and_points_need_none(model, slide):
    with pytest.raises(InputError, match="which a model does not hold"):
        predict(model, task="impute")
    places = points(slide.coordinates[:3] + 5.0, slide.diameter_um)
    at = predict(model, at=places)
    np.testing.assert_array_equal(at.expression(), predict(model, slide, at=places).expression())
