"""Tables and sentences of evaluations whose outcome is made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.evaluation import (
    Contender,
    Evaluation,
    EvaluationPlan,
    Opening,
    evaluate_again,
)
from napari_stsr.evaluation.comparison import lowered, told_apart
from napari_stsr.evaluation.outcome import Outcome
from napari_stsr.evaluation.scores import Scores
from tests.evaluation.contestants import contestants

GENES = 100


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    with contestants():
        yield


def scores(
    r: NDArray[np.float64],
    fold: int,
    draws_seed: int = 0,
    forms: tuple[str, ...] = ("predicted",),
) -> Scores:
    """Scores with the given r per gene, whose bootstrap draws scatter by 0.01."""
    names = [f"g{number}" for number in range(len(r))]
    rng = np.random.default_rng([fold, draws_seed])
    parts, summary, draws = [], {}, {}
    for number, form in enumerate(forms):
        figures = {"r_log": r - 0.1 * number, "r_raw": r / 2, "rmse_sd": np.full(len(r), 0.9)}
        labels = {"form": form, "gene": names, "symbol": names}
        parts.append(pd.DataFrame({**labels, **figures, "ceiling": 0.55}))
        medians = {name: float(np.nanmedian(values)) for name, values in figures.items()}
        summary[form] = {**medians, "ceiling": 0.55, "r_log_of_ceiling": medians["r_log"] / 0.55}
        draws[form] = {
            name: medians[name] + 0.01 * rng.standard_normal(200) for name in ("r_log", "r_raw")
        }
    return Scores("made", "hidden-spots", fold, pd.concat(parts), summary, draws)


def evaluation(folds: int = 2, alike: bool = True, **r: object) -> Evaluation:
    """Evaluation of methods with the given r: a number, or a number for each fold.

    Their draws scatter alike, as they do for methods that err at the same places, or each its way.
    """
    outcomes = []
    for fold in range(folds):
        for number, (key, given) in enumerate(r.items()):
            value = np.broadcast_to(np.asarray(given, dtype=float), folds)[fold]
            spread = np.linspace(-0.2, 0.2, GENES)
            made = scores(value + spread, fold, 0 if alike else number)
            seconds = {"fit": 2.0 + fold, "predict": 1.0, "score": 9.0}
            outcomes.append(
                Outcome("hidden-spots", fold, key, "done", scores=(made,), seconds=seconds)
            )
    plan = EvaluationPlan(["hidden-spots"], list(r), folds)
    facts = {"name": "made", "path": ""}
    return Evaluation(plan, facts, tuple(outcomes), {}, "2026-01-01T00:00:00+00:00")


def test_the_sentence_says_who_wins_on_how_many_genes_and_of_what() -> None:
    found = evaluation(ours=0.41, nearest=0.3, gene_mean=0.1)
    assert found.sentence() == (
        "Ours beats the best baseline, nearest, on 100 of 100 genes; "
        "median r 0.41 against 0.30 of a possible 0.55."
    )
    assert found.in_counts("hidden-spots").startswith(
        "In raw counts Ours is better than the best baseline there, nearest: median r "
    )


def test_in_counts_the_best_baseline_may_be_another() -> None:
    found = evaluation(ours=0.41, nearest=0.3, gene_mean=0.1)
    for outcome in found.outcomes:
        if outcome.contender == "gene_mean":
            (made,) = outcome.scores
            made.summary["predicted"]["r_raw"] = 0.9
            made.draws["predicted"]["r_raw"] += 0.8
    assert found.best_baseline("hidden-spots").key == "nearest"
    assert "best baseline, nearest," in found.sentence()
    assert found.in_counts("hidden-spots").startswith(
        "In raw counts Ours is worse than the best baseline there, gene mean: median r "
    )


def test_a_method_that_gave_no_answer_does_not_hide_the_next() -> None:
    found = evaluation(ours=0.5, only_parts=0.41, nearest=0.3)
    found = replace(found, outcomes=tuple(o for o in found.outcomes if o.contender != "ours"))
    assert found.subject("hidden-spots").key == "only_parts"
    assert found.sentence() == (
        "Only parts beats the best baseline, nearest, on 100 of 100 genes; median r 0.41 against "
        "0.30 of a possible 0.55. Ours gave no answer that could be judged."
    )


def test_what_no_command_says_is_repeated_in_python() -> None:
    two = [Contender("ours"), Contender("ours", values={"steps": 2}, label="two steps")]
    opening = Opening("slide")
    assert evaluate_again(EvaluationPlan(contenders=["ours"]), opening).startswith("napari-stsr")
    assert "'two steps'" in evaluate_again(EvaluationPlan(contenders=two), opening)
    compile(evaluate_again(EvaluationPlan(contenders=two), opening), "again", "exec")


def test_the_sentence_is_as_plain_when_it_loses() -> None:
    assert evaluation(ours=0.3, nearest=0.41).sentence() == (
        "Ours loses to the best baseline, nearest, median r 0.30 against 0.41 of a possible 0.55; "
        "it is ahead on 0 of 100 genes."
    )


def test_a_difference_within_the_noise_is_no_victory() -> None:
    found = evaluation(alike=False, ours=0.401, nearest=0.4)
    comparison = found.compare("hidden-spots", "ours", "nearest")
    assert comparison.log.low <= 0 <= comparison.log.high
    assert found.sentence() == (
        "Ours and the best baseline, nearest, cannot be told apart: median r 0.401 and 0.400 of a "
        "possible 0.55, a difference within the noise; Ours is ahead on 100 of 100 genes."
    )


def test_draws_are_paired_fold_by_fold_and_never_pooled() -> None:
    found = evaluation(ours=[0.5, 0.3], nearest=[0.45, 0.35])
    comparison = found.compare("hidden-spots", "ours", "nearest")
    assert comparison.by_fold == pytest.approx((0.05, -0.05))
    # The same draws of both methods: their noise cancels, whatever the folds.
    assert comparison.log.value == pytest.approx(0)
    assert comparison.log.high - comparison.log.low == pytest.approx(0, abs=1e-9)
    assert (comparison.won, comparison.genes) == (50, 100)
    row = found.summary().set_index("method").loc["ours"]
    assert row["r_log"] == pytest.approx(0.4)
    assert row["r_log_spread"] == pytest.approx(np.std([0.5, 0.3], ddof=1))
    assert row["won_best"] == 0.5
    assert row["seconds"] == 3.5


def test_a_constant_prediction_counts_as_lost_and_a_constant_truth_not_at_all() -> None:
    plan = EvaluationPlan(["hidden-spots"], ["ours", "nearest"], 1)
    mine, theirs = np.full(4, 0.5), np.full(4, 0.4)
    one, two = scores(mine, 0), scores(theirs, 0)
    # Gene 0: ours does not vary; gene 1: the truth does not vary.
    one.genes.loc[[0, 1], "r_log"] = np.nan
    two.genes.loc[1, "r_log"] = np.nan
    for each in (one, two):
        each.genes.loc[1, "rmse_sd"] = np.nan
    outcomes = tuple(
        Outcome("hidden-spots", 0, key, "done", scores=(each,), seconds={"fit": 1, "predict": 0})
        for key, each in (("ours", one), ("nearest", two))
    )
    found = Evaluation(plan, {}, outcomes, {}, "")
    comparison = found.compare("hidden-spots", "ours", "nearest")
    assert (comparison.won, comparison.genes) == (2, 3)
    table = found.genes("hidden-spots")
    assert table.loc["g0", "ours"] == 0
    assert np.isnan(table.loc["g1", "ours"])


def test_methods_that_answer_once_stand_in_both_tables() -> None:
    plan = EvaluationPlan(["hidden-spots"], ["ours", "nearest"], 1)
    both = scores(np.full(5, 0.5), 0, forms=("conserved", "denoised"))
    once = scores(np.full(5, 0.45), 0)
    outcomes = tuple(
        Outcome("hidden-spots", 0, key, "done", scores=(each,), seconds={"fit": 1, "predict": 0})
        for key, each in (("ours", both), ("nearest", once))
    )
    found = Evaluation(plan, {}, outcomes, {}, "")
    assert found.forms("hidden-spots") == ("conserved", "denoised")
    rows = found.summary().set_index(["form", "method"])["r_log"]
    assert rows["conserved", "ours"] == pytest.approx(0.5)
    assert rows["denoised", "ours"] == pytest.approx(0.4)
    assert rows["denoised", "nearest"] == pytest.approx(0.45)
    assert found.sentence(form="conserved").startswith("Ours beats")
    assert found.sentence(form="denoised").startswith("Ours loses")
    with pytest.raises(InputError, match=r"'predicted'.*conserved and denoised"):
        found.sentence(form="predicted")


def test_without_a_baseline_or_a_method_the_sentence_says_only_what_is_known() -> None:
    assert "nothing says whether that is good" in evaluation(ours=0.4).sentence()
    assert evaluation(nearest=0.4, gene_mean=0.0).sentence() == (
        "The best baseline is nearest: median r 0.40 of a possible 0.55."
    )


def test_a_method_that_failed_is_named_with_its_words() -> None:
    made = evaluation(nearest=0.4)
    plan = EvaluationPlan(["hidden-spots"], ["ours", "nearest"], 2)
    failed = Outcome("hidden-spots", 0, "ours", "failed", "The disk is full.")
    found = Evaluation(plan, {}, (*made.outcomes, failed), {}, "")
    assert found.sentence() == "Ours gave no answer that could be judged. The disk is full."
    nothing = Evaluation(plan, {}, (failed,), {}, "")
    assert nothing.sentence() == "Nothing could be evaluated. The disk is full."
    assert nothing.summary().empty


def test_a_baseline_that_failed_in_a_fold_is_not_the_best_one() -> None:
    made = evaluation(ours=0.4, nearest=0.5, gene_mean=0.1)
    short = [o for o in made.outcomes if (o.contender, o.fold) != ("nearest", 1)]
    found = Evaluation(made.plan, {}, tuple(short), {}, "")
    best = found.best_baseline("hidden-spots")
    assert best is not None
    assert best.key == "gene_mean"
    assert found.summary().set_index("method").loc["nearest", "folds"] == 1


def test_everything_is_json() -> None:
    found = evaluation(ours=0.41, nearest=0.3)
    told = json.loads(found.to_json())
    assert told["sentence"] == found.sentence()
    assert told["summary"][0]["method"] == "ours"
    assert told["summary"][0]["ari"] is None
    form = told["tasks"]["hidden-spots"]["forms"]["predicted"]
    assert len(form["genes"]) == GENES
    assert len(form["folds"]) == 4


def test_an_unknown_task_is_told() -> None:
    with pytest.raises(InputError, match=r"'hiden'.*hidden-spots"):
        evaluation(ours=0.4).summary("hiden")


def test_titles_inside_a_sentence_and_figures_that_look_alike() -> None:
    assert lowered("Factor kernel") == "factor kernel"
    assert lowered("Gaussian kernel") == "Gaussian kernel"
    assert lowered("BayesSpace") == "BayesSpace"
    assert lowered("STAGE") == "STAGE"
    assert told_apart(0.41, 0.38) == ("0.41", "0.38")
    assert told_apart(0.4041, 0.4019) == ("0.404", "0.402")
