"""Scores of enhancements whose quality is known, on simulated and on real slides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from napari_stsr import open_slide
from napari_stsr.errors import Cancelled, InputError
from napari_stsr.evaluation import judging, question
from napari_stsr.evaluation.metrics import expected_log, measured_log
from napari_stsr.evaluation.question import Question
from napari_stsr.evaluation.scores import Scores, genes_to_score, score, score_answer
from napari_stsr.evaluation.task import Task, halves
from napari_stsr.methods.variable_genes import variable_genes
from napari_stsr.results import ConservedExpression, Enhancement, StoredExpression
from napari_stsr.results.expression import LoggedExpression
from napari_stsr.slides import Counts, Slide
from napari_stsr.slides.simulate import simulate

GENES = 60
EVERY = np.arange(GENES)


@pytest.fixture(scope="module")
def known() -> tuple[Task, np.ndarray]:
    """Subspots of a simulated slide, and their noise-free means."""
    made = simulate("realistic", "square", (12, 12), GENES, seed=3, tissue=False, image=False)
    slide = made.slide
    targets = slide.subspots(9)
    rng = np.random.default_rng(0)
    mean = np.asarray(made.mean, dtype=np.float64)
    truth, second = (Counts(sparse.csr_matrix(rng.poisson(mean).astype("f4"))) for _ in range(2))
    labels = np.char.add("domain ", np.asarray(made.domain).astype(str))
    task = Task("made", 0, slide, targets, truth, targets.parent, None, labels, second)
    return task, mean


def answer(task: Task, values: object, **more: object) -> Enhancement:
    source = values if hasattr(values, "columns") else StoredExpression(np.asarray(values, "f4"))
    m = len(task.targets)
    everywhere = np.ones(m, dtype=bool)
    return Enhancement(
        "by hand",
        task.targets,
        task.slide.genes,
        source,
        task.slide.scale,
        everywhere,
        everywhere,
        np.full(m, ""),
        **more,
    )


def uniform(task: Task) -> np.ndarray:
    return task.slide.counts.rows.toarray()[task.parent] / 9


def test_the_noise_free_mean_reaches_the_ceiling(known):
    task, mean = known
    scores = score(task, answer(task, mean))
    found = scores.summary["predicted"]
    assert scores.ceiling_by == "second measurement"
    assert found["r_log_of_ceiling"] == pytest.approx(1, abs=0.05)
    assert found["r_raw_of_ceiling"] == pytest.approx(1, abs=0.05)
    assert found["r_log_low"] < found["r_log"] < found["r_log_high"]
    assert found["within_r_raw"] > 0.1
    assert found["ari"] > 0.3
    assert found["location_r"] > found["location_r_of_gene_mean"]


def test_without_a_second_measurement_the_truth_is_split(known):
    task, mean = known
    scores = score(replace(task, second=None), answer(task, mean))
    assert scores.ceiling_by == "count splitting"
    assert scores.summary["predicted"]["r_raw_of_ceiling"] == pytest.approx(1, abs=0.06)


def test_figures_of_a_gene_are_those_of_scipy(known):
    task, mean = known
    table = score(task, answer(task, mean), np.array([4, 9])).table()
    truth = task.truth.rows.toarray()
    logs = measured_log(truth, truth.sum(axis=1))
    guess = expected_log(mean, mean.sum(axis=1))
    for gene in (4, 9):
        row = table.loc[task.slide.genes.ids[gene]]
        assert row.r_log == pytest.approx(
            stats.pearsonr(logs[:, gene], guess[:, gene])[0], abs=1e-5
        )
        assert row.r_raw == pytest.approx(
            stats.pearsonr(truth[:, gene], mean[:, gene])[0], abs=1e-5
        )
        error = np.sqrt(np.mean((truth[:, gene] - mean[:, gene]) ** 2))
        assert row.rmse_sd_raw == pytest.approx(error / truth[:, gene].std(), abs=1e-5)


def test_a_uniform_split_conserves_and_knows_nothing_within_spots(known):
    task, _ = known
    found = score(task, answer(task, uniform(task)), EVERY).summary["predicted"]
    assert found["within_r"] == found["within_r_raw"] == 0
    assert found["conservation_max"] < 1e-5
    assert found["r_raw"] > 0.2


def test_both_forms_are_scored_under_their_names(known):
    task, mean = known
    conserved = ConservedExpression(
        StoredExpression(mean.astype("f4")), task.parent, task.slide.counts, 9
    )
    scores = score(task, answer(task, conserved, denoised=StoredExpression(mean.astype("f4"))))
    assert scores.forms == ("conserved", "denoised")
    assert scores.summary["conserved"]["conservation_max"] < 1e-4
    assert scores.summary["denoised"]["conservation_mean"] > 0.01
    assert scores.genes.groupby("form", sort=False).size().tolist() == [GENES, GENES]
    assert scores.table("denoised").r_raw.median() == pytest.approx(
        scores.summary["denoised"]["r_raw"]
    )
    with pytest.raises(InputError, match="no form 'predicted'"):
        scores.table("predicted")


def test_a_method_that_predicts_logs_is_judged_by_its_logs(known):
    task, mean = known
    logs = expected_log(mean, mean.sum(axis=1))
    logged = LoggedExpression(StoredExpression(logs), np.full(len(mean), 1e-3))
    found = score(task, answer(task, logged)).table()
    want = score(task, answer(task, mean)).table()
    np.testing.assert_allclose(found.r_log, want.r_log, atol=1e-5)


def test_a_constant_prediction_scores_nothing_and_says_so(known):
    task, mean = known
    flat = np.broadcast_to(mean.mean(axis=0), mean.shape)
    scores = score(task, answer(task, flat))
    assert scores.summary["predicted"]["r_log"] == 0
    assert scores.table().r_log.isna().all()
    assert scores.notes == (f"The prediction is constant in {GENES} of {GENES} genes.",)
    assert scores.summary["predicted"]["rmse_sd_raw"] == pytest.approx(1, abs=0.05)


def test_a_shuffled_prediction_wins_nothing(known):
    task, mean = known
    order = np.random.default_rng(0).permutation(len(mean))
    shuffled, right = score(task, answer(task, mean[order])), score(task, answer(task, mean))
    assert abs(shuffled.summary["predicted"]["r_log"]) < 0.05
    gain = right.minus(shuffled)
    assert 0 < gain.low < gain.value < gain.high
    assert right.minus(right).high == 0
    assert right.share_won(shuffled) > 0.95
    assert shuffled.share_won(right) < 0.05
    flat = score(task, answer(task, np.broadcast_to(mean.mean(axis=0), mean.shape)))
    assert right.share_won(flat) == 1
    assert flat.share_won(flat) == 0.5


def test_scores_of_other_tasks_are_not_compared(known):
    task, mean = known
    scores = score(task, answer(task, mean))
    with pytest.raises(InputError, match="different tasks"):
        scores.minus(score(replace(task, fold=1), answer(task, mean)))
    with pytest.raises(InputError, match="different tasks"):
        scores.minus(score(task, answer(task, mean), EVERY[:5]))
    with pytest.raises(InputError, match="cannot be paired"):
        scores.minus(score(task, answer(task, mean), draws=20))


def test_json_gives_back_everything(known):
    task, mean = known
    mean = mean.copy()
    mean[:, 3] = 1
    source = StoredExpression(mean.astype("f4"))
    scores = score(task, answer(task, source, denoised=source), EVERY)
    back = Scores.from_json(scores.to_json())
    pd.testing.assert_frame_equal(back.genes, scores.genes, check_exact=True)
    assert back.genes.isna().sum().sum() > 0
    for form, figures in scores.summary.items():
        np.testing.assert_equal(back.summary[form], figures)
        for figure, drawn in scores.draws[form].items():
            np.testing.assert_array_equal(back.draws[form][figure], drawn)
    assert (back.name, back.protocol, back.fold) == ("by hand", "made", 0)
    assert (back.notes, back.ceiling_by) == (scores.notes, scores.ceiling_by)


@pytest.mark.parametrize("text", ["{}", "[]", "no json", '{"name": "x", "genes": 3}'])
def test_another_json_is_refused(text):
    with pytest.raises(InputError, match="no table of scores"):
        Scores.from_json(text)


def test_a_question_prepared_once_gives_every_answer_its_own_scores(known):
    task, mean = known
    asked = Question.of(task, EVERY, 0, 200)
    for values in (mean, uniform(task), mean):
        once = score_answer(asked, answer(task, values))
        assert once.to_json() == score(task, answer(task, values), EVERY).to_json()


def test_scoring_stops_wherever_it_is_asked_to(known):
    task, mean = known
    doubt = StoredExpression(np.full(mean.shape, 0.5, "f4"))
    asked = Question.of(task, EVERY, 0, 20)
    left = 0

    def checked() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Cancelled

    stopped = 0
    while True:
        left = stopped + 1
        try:
            score_answer(asked, answer(task, mean, uncertainty=doubt), checked)
        except Cancelled:
            stopped += 1
        else:
            break
    # Before totals, blocks of genes, profiles and each of their measures, domains, uncertainty.
    assert stopped >= 9


def test_blocks_of_genes_do_not_change_the_figures(known, monkeypatch):
    task, mean = known
    mean = mean.copy()
    mean[:, 0] = 1
    whole = score(task, answer(task, mean), EVERY)
    monkeypatch.setattr(question, "_BLOCK_VALUES", 7 * len(task))
    monkeypatch.setattr(judging, "_MAPS", 10)
    blocks = score(task, answer(task, mean), EVERY)
    pd.testing.assert_frame_equal(
        blocks.genes.drop(columns="ssim"), whole.genes.drop(columns="ssim"), atol=1e-5
    )
    assert blocks.genes.ssim.notna().sum() == 10
    assert blocks.summary["predicted"]["conservation_max"] == pytest.approx(
        whole.summary["predicted"]["conservation_max"]
    )


def test_only_scored_entries_count(known):
    task, mean = known
    rng = np.random.default_rng(0)
    scored = sparse.csr_matrix(rng.random(mean.shape) < 0.7)
    wild = np.where(scored.toarray(), mean, 1e3 * rng.random(mean.shape))
    logged = LoggedExpression(
        StoredExpression(expected_log(wild, mean.sum(axis=1))), np.ones(len(mean))
    )
    masked = replace(task, scored=scored)
    clean = LoggedExpression(
        StoredExpression(expected_log(mean, mean.sum(axis=1))), np.ones(len(mean))
    )
    found, want = (score(masked, answer(task, values), EVERY).table() for values in (logged, clean))
    np.testing.assert_allclose(found.r_log, want.r_log, atol=1e-6)
    assert "moran_predicted" not in found


def test_empty_targets_are_left_out_and_counted(known):
    task, mean = known
    rows = task.truth.rows.toarray()
    rows[[0, 5, 77]] = 0
    emptied = replace(task, truth=Counts(sparse.csr_matrix(rows)))
    scores = score(emptied, answer(task, mean))
    assert scores.notes == (f"3 of {len(task):,} targets hold no molecule and are left out.",)
    kept = np.flatnonzero(rows.sum(axis=1))
    smaller = Task(
        "made",
        0,
        task.slide,
        task.targets.take(kept),
        Counts(sparse.csr_matrix(rows[kept])),
        task.parent[kept],
    )
    want = score(smaller, answer(smaller, mean[kept])).table()
    np.testing.assert_allclose(scores.table().r_log, want.r_log, atol=1e-6)


def test_uncertainty_of_a_right_method_covers_what_it_says(known):
    task, mean = known
    off = np.random.default_rng(1).gamma(16, mean / 16)
    right = answer(task, off, uncertainty=StoredExpression((off / 4).astype("f4")))
    found = score(task, right).summary["predicted"]
    assert found["coverage_90"] == pytest.approx(0.9, abs=0.03)
    assert found["risk_area_best"] < found["risk_area"]


def test_the_same_seed_gives_the_same_scores(known):
    task, mean = known
    first, second = (score(task, answer(task, mean), EVERY[:8], seed=5) for _ in range(2))
    assert first.to_json() == second.to_json()


def test_genes_may_come_in_another_order(known):
    task, mean = known
    order = np.random.default_rng(0).permutation(GENES)
    turned = replace(answer(task, mean[:, order]), genes=task.slide.genes.take(order))
    want = score(task, answer(task, mean))
    pd.testing.assert_frame_equal(score(task, turned).genes, want.genes)


def test_bad_answers_are_a_sentence(known):
    task, mean = known
    holed = mean.copy()
    holed[3, 7] = np.nan
    for columns in (EVERY, EVERY[:3]):
        with pytest.raises(InputError, match="1 values that are no numbers, at 1 of"):
            score(task, answer(task, holed), columns)
    with pytest.raises(InputError, match="finite and not negative"):
        score(task, answer(task, -mean), EVERY)
    with pytest.raises(InputError, match="targets, the prediction"):
        score(task, answer(task, mean).take(np.arange(5)), EVERY)
    fewer = answer(task, mean)
    fewer = replace(
        fewer,
        genes=fewer.genes.take(EVERY[1:]),
        expression_source=StoredExpression(mean[:, 1:].astype("f4")),
    )
    with pytest.raises(InputError, match=f"lacks 1 of {GENES} genes"):
        score(task, fewer, EVERY)
    with pytest.raises(InputError, match="0 genes to score"):
        score(task, answer(task, mean), EVERY[:0])


def test_bad_truth_is_a_sentence(known):
    task, mean = known
    nothing = replace(task, truth=Counts(sparse.csr_matrix(mean.shape, dtype="f4")))
    with pytest.raises(InputError, match="measured at 0 of"):
        score(nothing, answer(task, mean), EVERY)
    holed = task.truth.rows.copy()
    holed.data[0] = np.nan
    with pytest.raises(InputError, match="truth holds values that are no numbers"):
        score(replace(task, truth=Counts(holed)), answer(task, mean), EVERY)
    flat = replace(task, truth=Counts(sparse.csr_matrix(np.ones(mean.shape, "f4"))))
    with pytest.raises(InputError, match="constant in all"):
        score(flat, answer(task, mean), EVERY)
    seen = task.slide
    empty = seen.with_counts(Counts(sparse.csr_matrix(seen.counts.shape, dtype="f4")))
    with pytest.raises(InputError, match="None of the 60 genes varies"):
        genes_to_score(empty)


def test_a_label_too_rare_for_the_sample_leaves_the_other_figures(known, monkeypatch):
    task, mean = known
    labels = np.full(len(task), "cortex")
    labels[np.flatnonzero(task.truth.totals > 0)[-1]] = "rare"
    monkeypatch.setattr(question, "_SAMPLED", 200)
    scores = score(replace(task, labels=labels), answer(task, mean), EVERY[:6])
    assert "200 targets with 1 known labels: no domains compared." in scores.notes
    assert scores.summary["predicted"]["r_log"] > 0


def test_one_known_label_is_said_not_scored(known):
    task, mean = known
    same = replace(task, labels=np.where(np.arange(len(task)) < 50, "cortex", ""))
    scores = score(same, answer(task, mean))
    assert "50 targets with 1 known labels: no domains compared." in scores.notes
    assert "ari" not in scores.summary["predicted"]


def test_normalised_truth_has_no_ceiling(known):
    task, mean = known
    half = replace(task, truth=Counts(task.truth.rows * np.float32(0.5)), second=None)
    scores = score(half, answer(task, mean))
    assert scores.ceiling_by == ""
    assert "The truth holds no whole counts, so the noise ceiling is not known." in scores.notes


@pytest.fixture(scope="module")
def cortex(data: Callable[[str], Path]) -> Slide:
    slide = open_slide(data("dlpfc_151673"))
    return slide.with_genes(variable_genes(slide.counts, 400))


def test_on_a_real_slide_the_other_half_of_the_molecules_is_the_ceiling(cortex):
    seen, truth = halves(cortex.counts, 1)
    task = Task(
        "count-split",
        0,
        cortex.with_counts(seen),
        cortex.locations(),
        truth,
        np.full(len(cortex), -1),
        second=seen,
    )
    columns = genes_to_score(task.slide)
    assert len(columns) == 300
    measured = score(task, answer(task, seen.rows.toarray()), columns)
    found = measured.summary["predicted"]
    assert 0.2 < found["ceiling"] < 0.9
    # What is measured again is a noisy guess: it reaches the square of the ceiling.
    assert found["r_raw"] == pytest.approx(found["ceiling_raw"] ** 2, abs=0.02)
    ranked = measured.table().moran_truth
    assert ranked[:50].median() > ranked[-50:].median()
