from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.evaluation.protocols import (
    available,
    leave_slide_out,
    protocol,
    protocol_names,
)
from napari_stsr.evaluation.protocols.hidden import patches
from napari_stsr.slides import Counts, Slide
from napari_stsr.slides.pooling import pool_cells
from napari_stsr.slides.readers import open_slide, read_cells
from napari_stsr.slides.simulate import simulate_slide
from tests.slides.cells import cell_table, cells_of

SPOTS = ("hidden-spots", "hidden-blocks", "superspots", "superspots-split", "muted-genes",
         "noise", "count-split")  # fmt: skip
CELLS = ("pseudo-visium", "pseudo-visium-split")


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> dict[str, Slide]:
    made = {
        kind: simulate_slide(lattice=kind, shape=(20, 18), genes=8, image=False, tissue=False)
        for kind in ("square", "hex")
    }
    cells = cells_of(cell_table(2500), tmp_path_factory.mktemp("cells"))
    return made | {"cells": cells, "bins": pool_cells(cells, "bins", 20).slide}


def dense(counts: Counts) -> np.ndarray:
    return counts.rows.toarray().astype(float)


def on(slides: dict[str, Slide], name: str) -> Slide:
    """The slide a protocol is meant for."""
    return slides["cells" if name in CELLS else "bins" if name == "hd-bins" else "hex"]


def test_the_names_are_those_of_the_documentation():
    assert set(protocol_names()) == {*SPOTS, *CELLS, "hd-bins"}
    with pytest.raises(InputError, match="no protocol 'magic'"):
        protocol("magic")


def test_every_slide_says_what_it_can_do_and_why_not(slides):
    spots = available(slides["hex"])
    assert [name for name, why in spots.items() if not why] == list(SPOTS)
    assert "pools single cells" in spots["pseudo-visium"]
    assert "bins without gaps" in spots["hd-bins"]
    cells = available(slides["cells"])
    assert not any(cells[name] for name in (*CELLS, "hidden-spots", "count-split"))
    assert "no lattice" in cells["superspots"]
    assert not available(slides["bins"])["hd-bins"]


@pytest.mark.parametrize("name", protocol_names())
def test_the_same_seed_makes_the_same_tasks_and_a_fold_can_be_made_alone(slides, name):
    slide, chosen = on(slides, name), protocol(name)
    tasks, again = (chosen.tasks(slide, folds=2, seed=4) for _ in range(2))
    alone = chosen.fold(slide, 1, folds=2, seed=4)
    assert {task.fold for task in tasks} == {0, 1}
    for one, same in [*zip(tasks, again), *zip([t for t in tasks if t.fold == 1], alone)]:
        assert one.protocol == same.protocol
        assert one.protocol.startswith(name)
        np.testing.assert_array_equal(one.targets.coordinates, same.targets.coordinates)
        np.testing.assert_array_equal(dense(one.truth), dense(same.truth))
        np.testing.assert_array_equal(dense(one.slide.counts), dense(same.slide.counts))
    other = chosen.tasks(slide, folds=2, seed=5)
    assert any(
        one.truth.shape != o.truth.shape
        or (dense(one.truth) != dense(o.truth)).any()
        or (dense(one.slide.counts) != dense(o.slide.counts)).any()
        for one, o in zip(tasks, other)
    )


@pytest.mark.parametrize("name", protocol_names())
def test_the_slide_of_a_task_is_a_proper_slide_and_parents_hold_their_targets(slides, name):
    for task in protocol(name).tasks(on(slides, name), folds=2):
        assert np.unique(task.slide.barcodes).size == len(task.slide)
        owned = task.parent >= 0
        if owned.any() and task.slide.lattice.kind != "none":
            sites = task.slide.lattice.nearest_site(task.targets.coordinates[owned])
            np.testing.assert_array_equal(task.slide.lattice.location_at(sites), task.parent[owned])


@pytest.mark.parametrize("name", ["hidden-spots", "hidden-blocks"])
@pytest.mark.parametrize("kind", ["hex", "cells"])
def test_folds_hide_every_location_once_and_never_show_it(slides, name, kind):
    slide = slides[kind]
    tasks = protocol(name).tasks(slide)
    hidden = [task.targets.ids.tolist() for task in tasks]
    assert sorted(chain.from_iterable(hidden)) == sorted(slide.barcodes.tolist())
    for task, ids in zip(tasks, hidden):
        assert not set(ids) & set(task.slide.barcodes.tolist())
        assert len(ids) + len(task.slide) == len(slide)
        assert 0.1 < len(ids) / len(slide) < 0.3
        rows = [slide.barcodes.tolist().index(i) for i in ids]
        np.testing.assert_array_equal(dense(task.truth), dense(slide.counts)[rows])
        np.testing.assert_array_equal(task.targets.coordinates, slide.coordinates[rows])
        assert (task.parent == -1).all()


def test_fewer_folds_still_hide_a_fifth_and_more_hide_less(slides):
    assert len(protocol("hidden-spots").tasks(slides["hex"], folds=1)[0]) == 72
    assert len(protocol("hidden-spots").tasks(slides["hex"], folds=10)[0]) == 36


def test_blocks_are_compact_and_spots_are_not(slides):
    def lonely(name: str) -> float:
        """Share of hidden locations with a shown one beside them."""
        task = protocol(name).tasks(slides["hex"])[0]
        sites = slides["hex"].lattice.nearest_site(task.targets.coordinates)
        around = task.slide.lattice.location_at(sites[:, None] + task.slide.lattice.steps)
        return float((around >= 0).any(axis=1).mean())

    assert lonely("hidden-spots") > 0.99
    assert lonely("hidden-blocks") < 0.7


def test_patches_are_of_about_one_size():
    places = np.random.default_rng(0).random((4000, 2)) * (3000, 1500)
    size = np.bincount(patches(places, 20, seed=3), minlength=20)
    assert size.min() > 80
    assert size.max() < 400


@pytest.mark.parametrize(
    ("kind", "called"), [("square", ["2x2", "3x3"]), ("hex", ["flower"]), ("bins", ["2x2", "3x3"])]
)
def test_superspots_ask_for_exactly_what_was_pooled(slides, kind, called):
    tasks = protocol("superspots").tasks(slides[kind], folds=9)
    assert sorted({task.protocol for task in tasks}) == [f"superspots-{c}" for c in called]
    per_fold = {"2x2": 4, "3x3": 9, "flower": 7}
    for name, k in per_fold.items():
        some = [task for task in tasks if task.protocol.endswith(name)]
        assert [task.fold for task in some] == (list(range(k)) if name in called else [])
        for task in some:
            pooled = np.zeros(task.slide.counts.shape)
            np.add.at(pooled, task.parent, dense(task.truth))
            np.testing.assert_array_equal(pooled, dense(task.slide.counts))


def test_split_superspots_share_no_molecule_with_the_truth(slides):
    slide = slides["hex"]
    whole = {tuple(place): row for row, place in enumerate(slide.coordinates.round(3).tolist())}
    for task in protocol("superspots-split").tasks(slide, folds=2):
        rows = [whole[tuple(place)] for place in task.targets.coordinates.round(3).tolist()]
        assert task.second is not None
        np.testing.assert_array_equal(
            dense(task.truth) + dense(task.second), dense(slide.counts)[rows]
        )
        pooled = np.zeros(task.slide.counts.shape)
        np.add.at(pooled, task.parent, dense(task.second))
        np.testing.assert_array_equal(pooled, dense(task.slide.counts))


@pytest.mark.parametrize("name", CELLS)
def test_pseudo_visium_asks_under_and_between_the_spots(slides, name):
    cells = slides["cells"]
    parts, bins = protocol(name).tasks(cells, folds=1)
    assert (parts.protocol, bins.protocol) == (f"{name}-subspots", f"{name}-bins")
    assert parts.slide is bins.slide
    assert parts.slide.lattice.kind == "hex"
    shown = parts.slide.counts.totals.sum()
    seen = parts if parts.second is None else replace(parts, truth=parts.second)
    # What was pooled is the sum over a spot's parts, of the molecules shown.
    pooled = np.zeros(parts.slide.counts.shape)
    np.add.at(pooled, seen.parent, dense(seen.truth))
    np.testing.assert_array_equal(pooled, dense(parts.slide.counts))
    between = bins.truth.totals.sum() - parts.truth.totals.sum()
    assert between > shown
    if name.endswith("split"):
        assert bins.second is not None
        both = bins.truth.totals.sum() + bins.second.totals.sum()
        assert 0.8 * cells.counts.totals.sum() < both <= cells.counts.totals.sum()


def test_hd_bins_ask_for_the_finer_bins(slides):
    task = protocol("hd-bins").tasks(slides["bins"], folds=1)[0]
    assert (task.protocol, task.slide.lattice.pitch_um) == ("hd-bins", pytest.approx(40))
    assert task.slide.diameter_um == 40
    known = {tuple(place) for place in slides["bins"].coordinates.round(3).tolist()}
    assert {tuple(place) for place in task.targets.coordinates.round(3).tolist()} <= known


def test_muted_entries_are_gone_scored_and_all_others_are_shown(slides):
    slide = slides["hex"]
    first, second = protocol("muted-genes").tasks(slide, folds=2)
    assert first.scored is not None
    muted = first.scored.toarray()
    assert muted.mean() == pytest.approx(0.7, abs=0.03)
    shown, truth = dense(first.slide.counts), dense(first.truth)
    assert not shown[muted].any()
    np.testing.assert_array_equal(shown[~muted], truth[~muted])
    np.testing.assert_array_equal(truth, dense(slide.counts))
    assert second.scored is not None
    assert (second.scored != first.scored).nnz > 0


def test_noise_hits_non_zeros_only_and_is_clipped(slides):
    task = protocol("noise").tasks(slides["hex"], folds=1)[0]
    noisy, truth = dense(task.slide.counts), dense(task.truth)
    assert not noisy[truth == 0].any()
    assert noisy.min() == 0
    assert not task.slide.counts.whole
    high = truth > 6
    assert (noisy - truth)[high].std() == pytest.approx(1, abs=0.1)


def test_count_split_shows_one_half_and_asks_for_the_other(slides):
    task = protocol("count-split").tasks(slides["hex"], folds=1)[0]
    np.testing.assert_array_equal(
        dense(task.slide.counts) + dense(task.truth), dense(slides["hex"].counts)
    )


def test_locations_off_the_tissue_are_never_asked_for():
    slide = simulate_slide(shape=(20, 20), genes=6, image=False)
    assert not slide.in_tissue.all()
    outside = set(slide.barcodes[~slide.in_tissue].tolist())
    for name in ("hidden-spots", "hidden-blocks", "count-split"):
        for task in protocol(name).tasks(slide):
            assert not outside & {*task.targets.ids.tolist(), *task.slide.barcodes.tolist()}


def test_labels_come_from_the_annotations(slides):
    slide = slides["hex"]
    task = protocol("hidden-spots").tasks(slide)[0]
    domains = dict(zip(slide.barcodes.tolist(), slide.annotations["domain"].tolist()))
    assert task.labels is not None
    assert task.labels.tolist() == [domains[i] for i in task.targets.ids.tolist()]
    layers = pd.DataFrame({"layer": [None, *["L1"] * (len(slide) - 1)]})
    whole = protocol("count-split").tasks(replace(slide, annotations=layers), folds=1)[0]
    assert whole.labels is not None
    assert set(whole.labels.tolist()) == {"", "L1"}
    none = replace(slide, annotations=pd.DataFrame())
    assert protocol("count-split").tasks(none, folds=1)[0].labels is None


def test_bad_input_is_a_sentence(slides):
    slide = slides["hex"]
    few = slide.take(np.arange(20))
    with pytest.raises(InputError, match="too few for 5 folds"):
        protocol("hidden-spots").tasks(few)
    with pytest.raises(InputError, match="complete blocks"):
        protocol("superspots").tasks(few)
    with pytest.raises(InputError, match="0 folds"):
        protocol("hidden-spots").tasks(slide, folds=0)
    with pytest.raises(InputError, match="seed of -1"):
        protocol("noise").tasks(slide, seed=-1)
    with pytest.raises(InputError, match="no fold 5"):
        protocol("hidden-spots").fold(slide, 5)
    scaled = slide.with_counts(Counts(slide.counts.rows * 0.3))
    for name in ("superspots-split", "count-split"):
        with pytest.raises(InputError, match="not whole numbers"):
            protocol(name).tasks(scaled)
        assert "not whole" in available(scaled)[name]
    assert protocol("hidden-spots").tasks(scaled)
    empty = slide.with_counts(Counts(sparse.csr_matrix(slide.counts.shape, dtype=np.uint8)))
    assert all("no counts" in why for why in available(empty).values())


def test_a_slide_left_out_keeps_its_places_and_loses_its_counts(slides):
    first = slides["hex"]
    second = replace(slides["square"].with_genes(np.array([5, 2, 1])), name="other")
    folds = leave_slide_out([first, second])
    assert [task.fold for _, task in folds] == [0, 1]
    (train,), task = folds[0]
    assert (train.name, task.slide.counts.nnz) == ("other", 0)
    assert task.slide.genes.ids.tolist() == train.genes.ids.tolist()
    columns = first.genes.columns(task.slide.genes.ids.tolist())
    np.testing.assert_array_equal(dense(task.truth), dense(first.counts)[:, columns])
    with pytest.raises(InputError, match="several slides"):
        leave_slide_out([first])


@pytest.mark.parametrize("name", ["st_mob1/spaceranger_like", "her2st_C2/spaceranger_like"])
def test_real_sections_do_every_protocol_of_spots(data, name):
    slide = open_slide(data(name))
    slide = slide.with_genes(np.argsort(-slide.counts.gene_totals)[:200])
    assert [p for p, why in available(slide).items() if not why] == list(SPOTS)
    tasks = [task for p in SPOTS for task in protocol(p).tasks(slide, folds=2)]
    assert {t.protocol for t in tasks} >= {"superspots-2x2", "superspots-split-2x2"}
    assert all(task.truth.nnz and task.slide.counts.nnz for task in tasks)


def test_real_cells_become_pseudo_visium(data):
    cells = read_cells(data("xenium_breast_patch_a/pikachu.csv.gz"))
    parts, bins = protocol("pseudo-visium").tasks(cells, folds=1)
    assert 600 < len(parts.slide) < 720
    # 158 molecules a cell, and about four cells under a disc.
    assert 500 < np.median(parts.slide.counts.totals) < 800
    assert len(bins) > 20_000
    assert bins.truth.totals.sum() / cells.counts.totals.sum() > 0.9
