"""Running an evaluation: what is run, what is kept, what becomes of those that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from napari_stsr.errors import Cancelled, InputError, RunError
from napari_stsr.evaluation import Contender, Evaluation, EvaluationPlan, evaluate, evaluating
from napari_stsr.evaluation import bench as bench_module
from napari_stsr.evaluation.advice import why_not
from napari_stsr.evaluation.bench import Bench
from napari_stsr.evaluation.question import Question
from napari_stsr.evaluation.scores import score_answer
from napari_stsr.evaluation.store import Store
from napari_stsr.methods.variable_genes import variable_genes
from napari_stsr.slides import Counts, Slide
from napari_stsr.slides.simulate import simulate_slide
from napari_stsr.training import CancelToken
from napari_stsr.training.progress import outcome
from tests.evaluation.contestants import BAD, Ours, contestants


@pytest.fixture(scope="module")
def slide() -> Slide:
    return simulate_slide("realistic", "square", (10, 12), 40, seed=2, image=False)


@pytest.fixture(autouse=True)
def ours() -> Iterator[type[Ours]]:
    with contestants() as kind:
        yield kind


def plan(*methods: str | Contender, **more: object) -> EvaluationPlan:
    given = {"folds": 2, "scored": 20, "draws": 30, "protocols": ["hidden-spots"], **more}
    return EvaluationPlan(contenders=methods or ("ours", "gene_mean", "nearest"), **given)


def test_every_method_is_judged_on_every_fold(slide: Slide, ours: type[Ours]) -> None:
    found = evaluate(slide, plan())
    states = [(one.fold, one.contender, one.state) for one in found.outcomes]
    keys = ("ours", "gene_mean", "nearest")
    assert states == [(fold, key, "done") for fold in range(2) for key in keys]
    assert len(ours.fits) == 2
    assert all(len(one.scores[0].table()) == 20 for one in found.outcomes)
    assert all(one.seconds["fit"] > 0 for one in found.outcomes)


@pytest.fixture(scope="module")
def cells() -> Slide:
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 1500, (3000, 2))
    rate = 1 + np.sin(places[:, :1] / 300 + np.arange(8))
    made = simulate_slide("realistic", "square", (10, 10), 8, image=False)
    return Slide(
        "cells",
        "cells",
        Counts(sparse.csr_matrix(rng.poisson(rate).astype(np.int32))),
        made.genes,
        places,
        np.arange(3000).astype(str),
        replace(made.lattice.take(np.arange(0)), kind="none"),
        10.0,
        made.scale,
        np.ones(3000, dtype=bool),
    )


def test_one_fit_answers_all_tasks_of_a_fold_on_one_slide(cells: Slide, ours: type[Ours]) -> None:
    found = evaluate(cells, plan("ours", "nearest", protocols=["pseudo-visium"], folds=1))
    assert found.tasks == ("pseudo-visium-subspots", "pseudo-visium-bins")
    assert len(ours.fits) == 1
    assert found.forms("pseudo-visium-subspots") == ("conserved", "denoised")


def test_who_cannot_do_one_task_of_a_fold_still_answers_the_other(cells: Slide) -> None:
    found = evaluate(cells, plan("only_parts", "nearest", protocols=["pseudo-visium"], folds=1))
    assert found.scores("pseudo-visium-subspots", "only_parts")
    assert not found.scores("pseudo-visium-bins", "only_parts")
    said = found.refusals()
    assert said[["protocol", "method", "state"]].to_numpy().tolist() == [
        ["pseudo-visium-bins", "only_parts", "not applicable"]
    ]
    assert said["words"][0].startswith("These are no parts")


def test_the_same_plan_gives_the_same_figures(slide: Slide) -> None:
    first, second = (evaluate(slide, plan()).summary().drop(columns="seconds") for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_a_second_run_reads_what_the_first_one_kept(
    slide: Slide, tmp_path: Path, ours: type[Ours]
) -> None:
    first = evaluate(slide, plan(), tmp_path)
    again = evaluate(slide, plan(), tmp_path)
    assert len(ours.fits) == 2
    pd.testing.assert_frame_equal(first.summary(), again.summary())
    pd.testing.assert_frame_equal(first.genes("hidden-spots"), again.genes("hidden-spots"))
    one, two = (found.maps("hidden-spots", "ours")[0] for found in (first, again))
    np.testing.assert_array_equal(one.truth, two.truth)
    assert one.genes == two.genes


CHANGES = {
    "the seed": {"seed": 1},
    "the number of genes": {"variable": 30},
    "the genes scored": {"scored": 10},
    "a parameter": {"contenders": [Contender("ours", values={"steps": 2}), "gene_mean", "nearest"]},
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_depends_on_a_changed_plan_is_run_again(
    name: str, slide: Slide, tmp_path: Path, ours: type[Ours]
) -> None:
    evaluate(slide, plan(), tmp_path)
    changed = replace(plan(), **CHANGES[name])
    evaluate(slide, changed, tmp_path)
    assert len(ours.fits) == 4


def test_a_changed_slide_is_run_again(slide: Slide, tmp_path: Path, ours: type[Ours]) -> None:
    evaluate(slide, plan(), tmp_path)
    counts = slide.counts.rows.copy()
    counts.data[0] += 1
    evaluate(slide.with_counts(Counts(counts)), plan(), tmp_path)
    assert len(ours.fits) == 4


def test_a_broken_result_on_disk_is_run_again(
    slide: Slide, tmp_path: Path, ours: type[Ours]
) -> None:
    evaluate(slide, plan(), tmp_path)
    places = sorted(tmp_path.glob("hidden-spots-?-ours-*"))
    (places[0] / "outcome.json").write_text('{"protocol":')
    (places[1] / "maps.npz").write_bytes(b"PK\x03\x04 cut off")
    found = evaluate(slide, plan(), tmp_path)
    assert len(ours.fits) == 4
    assert {one.state for one in found.outcomes} == {"done"}


def test_a_cancelled_run_costs_only_its_unfinished_units(
    slide: Slide, tmp_path: Path, ours: type[Ours]
) -> None:
    token = CancelToken()
    work = evaluating(plan(), slide, token, folder=tmp_path)
    for report in work:
        # In the middle of the second fit of ours, after one whole fold.
        if len(ours.fits) == 2 and report.losses:
            token.cancel()
            break
    with pytest.raises(Cancelled):
        next(work)
    assert ours.fits == [3, 1]
    assert len(list(tmp_path.glob("hidden-spots-*"))) == 3
    found = evaluate(slide, plan(), tmp_path)
    assert len(ours.fits) == 3
    assert [one.state for one in found.outcomes] == ["done"] * 6


def test_a_run_cancelled_while_it_scores_does_not_wait_for_the_scores(slide: Slide) -> None:
    asked = plan("gene_mean", folds=2)
    bench, token = Bench(asked, asked.check(slide)), CancelToken()
    work = bench.working(asked.units(slide)[0], token)
    for report in work:
        if report.stage == "scoring":
            token.cancel()
            break
    with pytest.raises(Cancelled):
        next(work)


def test_reports_go_forward_and_carry_those_of_the_fit(slide: Slide) -> None:
    reports = list(evaluating(plan(), slide))
    fractions = [one.fraction for one in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    carried = [one for one in reports if one.losses]
    assert len(carried) == 6
    assert {one.stage for one in carried} == {
        "Ours, hidden-spots, fold 1",
        "Ours, hidden-spots, fold 2",
    }
    assert carried[-1].eta_s is not None


def test_who_cannot_or_fails_is_recorded_and_stops_nobody(slide: Slide) -> None:
    found = evaluate(slide, plan("ours", *(kind.name for kind in BAD), "nearest"))
    said = found.refusals().set_index("method")
    assert said.loc["refusing", "state"] == "not applicable"
    assert said.loc["refusing", "words"] == "There is no second slide. Open one."
    assert said.loc["breaking", ["state", "words"]].tolist() == [
        "failed",
        "RuntimeError: wires crossed",
    ]
    assert said.loc["not_a_number", "state"] == "failed"
    assert "no numbers" in said.loc["not_a_number", "words"]
    assert "lacks 1 of" in said.loc["other_genes", "words"]
    assert said["folds"].tolist() == [2] * 4
    assert set(found.summary()["method"]) == {"ours", "nearest"}


def test_a_failure_is_tried_again_and_a_refusal_is_not(slide: Slide, tmp_path: Path) -> None:
    evaluate(slide, plan("breaking", "refusing"), tmp_path)
    assert [path.name.split("-")[3] for path in tmp_path.glob("hidden-*")] == ["refusing"] * 2


def test_only_variable_and_named_genes_take_part_and_named_ones_are_scored(slide: Slide) -> None:
    asked = plan("nearest", variable=10, scored=5, folds=1)
    without = evaluate(slide, asked)
    assert without.slide["genes_evaluated"] == 10
    assert len(without.genes("hidden-spots")) == 5
    kept = variable_genes(slide.counts, 10)
    outside = slide.genes.ids[np.setdiff1d(np.arange(len(slide.genes)), kept)][:3].tolist()
    found = evaluate(slide, replace(asked, genes=outside))
    assert found.slide["genes_evaluated"] == 13
    assert set(outside) <= set(found.genes("hidden-spots").index)


def test_a_prediction_that_does_not_vary_scores_nothing_and_says_so(slide: Slide) -> None:
    found = evaluate(slide, plan())
    row = found.summary().set_index("method").loc["gene_mean"]
    assert row["r_log"] == 0
    assert (found.genes("hidden-spots")["gene_mean"] == 0).all()
    assert any(note.startswith("Gene mean: The prediction") for note in found.notes("hidden-spots"))


def test_labels_of_one_class_are_a_note_and_no_figure(slide: Slide) -> None:
    labelled = replace(slide, annotations=pd.DataFrame({"layer": ["L1"] * len(slide)}))
    found = evaluate(labelled, plan())
    assert found.summary()["ari"].isna().all()
    assert any("known labels" in note for note in found.notes("hidden-spots"))


def _zeros(slide: Slide) -> Slide:
    return slide.with_counts(Counts(sparse.csr_matrix(slide.counts.shape, dtype=np.float32)))


def _nan(slide: Slide) -> Slide:
    counts = slide.counts.rows.astype(np.float32)
    counts.data[5] = np.nan
    return slide.with_counts(Counts(counts))


UNFIT: dict[str, tuple[Callable[[Slide], Slide], dict[str, object], str]] = {
    "genes all zero": (_zeros, {}, "All counts are zero"),
    "counts that are no numbers": (_nan, {}, "1 counts that are no numbers"),
    "too few locations": (
        lambda s: s.take(np.arange(20)),
        {},
        "too few for hidden-spots, whatever",
    ),
    "an unknown gene": (lambda s: s, {"genes": ["NOPE"]}, "NOPE"),
    "bins of spots": (lambda s: s, {"protocols": ["hd-bins"]}, "bins"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_slide_that_cannot_be_evaluated_is_refused_at_the_door(
    name: str, slide: Slide, ours: type[Ours]
) -> None:
    change, more, said = UNFIT[name]
    with pytest.raises(InputError, match=said):
        evaluate(change(slide), plan(**more))
    assert not ours.fits


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "protocol": ({"protocols": ["hiden"]}, "'hiden'.*hidden-spots"),
    "no protocol": ({"protocols": []}, "No protocol"),
    "method": ({"contenders": ["sqare"]}, "'sqare'.*ours"),
    "no method": ({"contenders": []}, "No method.*ours"),
    "preset": ({"contenders": ["ours:slow"]}, "'slow'.*fast"),
    "parameter": ({"contenders": [Contender("ours", values={"stps": 1})]}, "'stps'.*steps"),
    "folds": ({"folds": 0}, "folds = 0"),
    "half a fold": ({"folds": 2.5}, "folds = 2.5 is no whole number"),
    "folds as word": ({"folds": "3"}, "folds = '3' is no whole number"),
    "yes": ({"draws": True}, "draws = True is no whole number"),
    "too many draws": ({"draws": 10**9}, "draws = 1000000000 .*Choose 10 to 1,000,000"),
    "few draws": ({"draws": 3}, "draws = 3 .*Choose 10 to"),
    "nan": ({"scored": float("nan")}, "scored = nan is no whole"),
    "number as gene": ({"genes": ["SIM001", 3]}, "genes holds 3"),
    "number as genes": ({"genes": 3}, "genes holds 3"),
    "no list": ({"protocols": None}, "protocols holds None"),
    "no contender": ({"contenders": ["ours", 2]}, "contenders holds 2"),
    "device": ({"device": 0}, "device = 0"),
    "precision": ({"precision": "8"}, "precision = '8'.*bf16"),
    "seed": ({"seed": -1}, "seed = -1"),
    "twice": ({"contenders": ["ours", Contender("ours", "fast")]}, "takes part twice"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_plan_that_cannot_be_is_refused_with_what_can(name: str) -> None:
    change, said = WRONG[name]
    with pytest.raises(InputError, match=said):
        replace(plan(), **change)


@pytest.mark.parametrize("name", ["hidden-spots", "hidden-blocks"])
def test_fewer_folds_are_advised_only_where_they_help(slide: Slide, name: str) -> None:
    tissue = np.flatnonzero(slide.in_tissue)
    some = {many: slide.take(tissue[:many]) for many in (24, 25, 30)}
    with pytest.raises(InputError, match=r"for 9 folds\. .* of at least 45, or fewer folds") as one:
        plan(protocols=[name], folds=9).check(some[30])
    assert why_not(some[30], 9)[name] == str(one.value)
    assert plan(protocols=[name], folds=6).check(some[30])
    with pytest.raises(InputError, match=r"24 .*too few for .*whatever the folds") as two:
        plan(protocols=[name], folds=9).check(some[24])
    assert why_not(some[24], 9)[name] == str(two.value)
    assert "at least 25." in two.value.remedy
    assert "fewer" not in two.value.remedy
    assert plan(protocols=[name], folds=1).check(some[25])


def test_a_device_that_is_not_there_is_refused_and_nothing_of_it_kept(
    slide: Slide, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="'warp' is no device"):
        evaluate(slide, plan(device="warp"), tmp_path)
    # A worker may lack what its client has: it fails, and the next run tries again.
    bench = Bench(plan(device="warp"), plan().check(slide))
    unit = plan(device="warp").units(slide)[0]
    found = outcome(bench.working(unit, CancelToken()))
    assert found.state == "failed"
    assert "'warp' is no device" in found.words


def test_a_task_that_cannot_be_scored_leaves_the_others(cells: Slide, monkeypatch) -> None:
    def picky(question: Question, *more: object) -> object:
        if question.task.protocol.endswith("bins"):
            raise InputError("All predictions are constant.")
        return score_answer(question, *more)

    monkeypatch.setattr(bench_module, "score_answer", picky)
    found = evaluate(cells, plan("nearest", protocols=["pseudo-visium"], folds=1))
    assert found.tasks == ("pseudo-visium-subspots",)
    assert found.refusals()["words"].tolist() == ["All predictions are constant."]


def test_no_ceiling_is_told_where_the_truth_holds_what_was_shown(slide: Slide) -> None:
    names = ["superspots", "superspots-split", "noise", "count-split"]
    found = evaluate(slide, plan("nearest", protocols=names, folds=1))
    told = {task: found.ceiling(task) for task in found.tasks}
    assert np.isnan(told["noise"])
    assert np.isnan(told["superspots-2x2"])
    assert told["count-split"] > 0
    assert told["superspots-split-2x2"] > 0
    assert "possible" not in found.sentence("noise")
    assert any("No noise ceiling" in note for note in found.notes("noise"))


def test_any_seed_that_is_taken_can_be_used(slide: Slide) -> None:
    labelled = replace(slide, annotations=pd.DataFrame({"domain": _halves(slide)}))
    found = evaluate(labelled, plan("nearest", folds=1, seed=2**62))
    assert np.isfinite(found.summary()["ari"]).all()


def _halves(slide: Slide) -> np.ndarray:
    left = slide.coordinates[:, 0] < np.median(slide.coordinates[:, 0])
    return np.where(left, "left", "right")


def test_names_stand_for_families_and_presets() -> None:
    chosen = plan("ours:fast", "baselines", "ours", "nearest").methods
    assert [one.key for one in chosen][:2] == ["ours:fast", "breaking"]
    assert [one.key for one in chosen].count("nearest") == 1
    assert chosen[0].params().as_dict()["steps"] == 1
    assert chosen[0].title == "Ours (fast)"


def test_results_go_into_a_folder_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        Store(tmp_path / "file")
    with pytest.raises(RunError, match="Cannot write"):
        Store(tmp_path / "file" / "below")


def test_baselines_on_a_real_slide(data: Callable[[str], Path]) -> None:
    from napari_stsr import open_slide

    slide = open_slide(data("her2st_C2/spaceranger_like"))
    found: Evaluation = evaluate(slide, plan("gene_mean", "nearest", folds=1, scored=100))
    r = found.summary().set_index("method")["r_log"]
    assert 0.03 < r["nearest"] < found.ceiling("hidden-spots") < 1
    assert r["gene_mean"] == 0
