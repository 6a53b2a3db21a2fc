"""SUICA as its users meet it: better than the mean, the same after reload, honest about doubt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from napari_stsr.errors import Cancelled, InputError
from napari_stsr.evaluation.metrics import probability_transform, transformed_coverage
from napari_stsr.methods import get_method
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.suica.fitted import SuicaFitted
from napari_stsr.methods.suica.lesson import Lesson
from napari_stsr.methods.suica.params import SuicaParams
from napari_stsr.methods.suica.stages import blind
from napari_stsr.slides import Counts, Lattice, Slide
from napari_stsr.slides.simulate import Simulation, simulate
from napari_stsr.slides.targets import points
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome

QUICK: dict[str, Any] = {
    "members": 3,
    "autoencoder_steps": 80,
    "field_steps": 60,
    "decoder_steps": 150,
    "batch": 64,
    "hidden": 32,
    "width": 64,
    "latent": 8,
    "autoencoder_rate": 2e-3,
    "learning_rate": 2e-3,
}
PUBLISHED: dict[str, Any] = {
    "autoencoder_steps": 40,
    "field_steps": 40,
    "decoder_steps": 40,
    "hidden": 64,
    "width": 64,
    "autoencoder_rate": 1e-3,
    "learning_rate": 1e-3,
    "batch": 64,
}


def fit(slide: Slide, preset: str = "auto", run: Run | None = None, **values: Any) -> SuicaFitted:
    """Fit SUICA to its end."""
    method = get_method("suica")
    quick = PUBLISHED if preset in ("paper", "vanilla") else QUICK
    params = method.parameters(preset, {**quick, **values})
    fitted = outcome(method.fit(slide, params, run or Run(device="cpu"), None))
    assert isinstance(fitted, SuicaFitted)
    return fitted


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate("realistic", "square", (16, 16), 60, 2, image=False, tissue=False)


@pytest.fixture(scope="module")
def fitted(simulation: Simulation) -> SuicaFitted:
    return fit(simulation.slide)


def _hidden_error(fitted: SuicaFitted, slide: Slide, hidden: np.ndarray) -> tuple[float, float]:
    """Squared error of square roots at hidden locations: of the fit, and of the gene means."""
    at = points(slide.coordinates[hidden], slide.diameter_um)
    truth = np.sqrt(slide.counts.rows.toarray()[hidden])
    mean = np.sqrt(slide.counts.rows.toarray()[~hidden].mean(axis=0))
    said = np.sqrt(fitted.predict(at).expression())
    return float(np.mean((said - truth) ** 2)), float(np.mean((mean - truth) ** 2))


@pytest.mark.parametrize("backbone", ["ffn", "siren", "ngp"])
def test_hidden_spots_are_told_better_than_by_the_mean(
    simulation: Simulation, backbone: str
) -> None:
    slide = simulation.slide
    hidden = np.random.default_rng(0).random(len(slide)) < 0.2
    taught = slide.take(np.flatnonzero(~hidden))
    own, mean = _hidden_error(fit(taught, backbone=backbone, mix="off"), slide, hidden)
    assert own < 0.95 * mean


ABLATIONS = ("autoencoder", "graph", "dice", "graph and dice", "autoencoder and dice")


@pytest.fixture(scope="module")
def published(simulation: Simulation) -> dict[str, SuicaFitted]:
    """The published form, whole and without its parts."""
    forms = ("none", *ABLATIONS)
    return {form: fit(simulation.slide, "paper", ablation=form) for form in forms}


@pytest.mark.parametrize("ablation", ["none", *ABLATIONS])
def test_the_published_form_and_its_ablations_answer(
    simulation: Simulation, published: dict[str, SuicaFitted], ablation: str
) -> None:
    slide = simulation.slide
    said = published[ablation].predict(slide.locations()).expression()
    assert np.isfinite(said).all()
    assert (said >= 0).all()
    assert np.corrcoef(said.sum(axis=0), slide.counts.gene_totals)[0, 1] > 0.5


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_every_ablation_says_something_else(
    simulation: Simulation, published: dict[str, SuicaFitted], ablation: str
) -> None:
    genes, at = np.arange(10), simulation.slide.locations()
    said = published[ablation].predict(at).expression_source.columns(genes)
    for other in published.keys() - {ablation}:
        beside = published[other].predict(at).expression_source.columns(genes)
        assert not np.allclose(said, beside, rtol=1e-6, atol=0)


def test_the_vanilla_network_goes_straight_to_genes(simulation: Simulation) -> None:
    """No embedding is learned, and twelve sine layers are trained as long as published."""
    method = get_method("suica")
    usual = method.parameters("vanilla")
    assert isinstance(usual, SuicaParams)
    assert (usual.decoder_steps, usual.learning_rate) == (2000, 1e-5)
    params = method.parameters("vanilla", PUBLISHED | {"backbone": "siren"})
    run = Run(device="cpu")
    reports = list(method.fit(simulation.slide, params, run, None))
    trained = {report.stage for report in reports if report.stage.startswith("learning")}
    assert trained == {"learning the expression"}
    fitted = fit(simulation.slide, "vanilla", backbone="siren")
    layers = [name for name in fitted.learned if name.endswith(".weight")]
    sines = [name for name in layers if "first" in name or "hidden" in name]
    assert len(sines) == 12


def test_parts_add_up_to_what_was_measured(fitted: SuicaFitted, simulation: Simulation) -> None:
    slide = simulation.slide
    result = fitted.predict(slide.subspots())
    k = result.targets.per_location
    sums = result.expression().reshape(len(slide), k, -1).sum(axis=1)
    np.testing.assert_allclose(sums, slide.counts.rows.toarray(), rtol=1e-4, atol=1e-4)
    assert result.denoised is not None


def test_the_field_is_continuous(fitted: SuicaFitted, simulation: Simulation) -> None:
    places = simulation.slide.coordinates[:40] + 10.0
    here, _ = fitted.field(places, Run())
    near, _ = fitted.field(places + 0.01, Run())
    genes = np.arange(60)
    np.testing.assert_allclose(here.columns(genes), near.columns(genes), rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("preset", ["auto", "paper"])
@pytest.mark.parametrize("backbone", ["ffn", "siren", "ngp"])
def test_a_saved_fit_says_the_same(
    simulation: Simulation, tmp_path: Path, preset: str, backbone: str
) -> None:
    slide = simulation.slide
    made = fit(slide, preset, backbone=backbone, field_steps=5, decoder_steps=5)
    made.save(tmp_path / "model")
    again = get_method("suica").load(tmp_path / "model")
    targets = slide.grid(37.0)
    first, second = made.predict(targets), again.predict(targets)
    np.testing.assert_array_equal(first.expression(), second.expression())
    if preset == "auto":
        genes = np.arange(5)
        assert first.uncertainty is not None
        assert second.uncertainty is not None
        np.testing.assert_array_equal(
            first.uncertainty.columns(genes), second.uncertainty.columns(genes)
        )


def test_the_same_seed_gives_the_same_and_another_does_not(simulation: Simulation) -> None:
    slide = simulation.slide
    some = {"field_steps": 5, "decoder_steps": 10, "autoencoder_steps": 10}
    one, two, other = (
        fit(slide, run=Run(seed=seed, device="cpu"), **some).predict(slide.locations()).expression()
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, other)


def test_doubt_holds_its_share_and_grows_off_the_tissue(simulation: Simulation) -> None:
    slide = simulation.slide
    hidden = np.random.default_rng(1).random(len(slide)) < 0.25
    made = fit(slide.take(np.flatnonzero(~hidden)))
    result = made.predict(points(slide.coordinates[hidden], slide.diameter_um))
    assert result.uncertainty is not None
    genes = np.argsort(-slide.counts.gene_totals)[:20]
    p = result.expression_source.columns(genes)
    sd = result.uncertainty.columns(genes)
    truth = slide.counts.rows.toarray()[hidden][:, genes]
    within = transformed_coverage(probability_transform(truth, p, sd))
    assert within[0.9] == pytest.approx(0.9, abs=0.05)
    assert within[0.5] == pytest.approx(0.5, abs=0.1)
    far = points(slide.coordinates[:1] - 20 * slide.lattice.pitch_um, slide.diameter_um)
    away = made.predict(far)
    assert away.uncertainty is not None
    relative = away.uncertainty.columns(genes) / away.expression_source.columns(genes)
    assert np.median(relative) > np.median(sd / p)


def test_genes_the_networks_did_not_see_are_decoded(simulation: Simulation) -> None:
    slide = simulation.slide
    made = fit(slide, variable_genes=30)
    assert made.learned["trained_bias"].shape == (QUICK["members"], 30)
    said = made.predict(slide.locations()).expression()
    share = said.sum(axis=0) / slide.counts.gene_totals
    assert share.min() > 0.7
    assert share.max() < 1.4


def test_a_member_learns_no_gene_from_locations_held_out_from_it(simulation: Simulation) -> None:
    """Two genes change places there: what the other member says of them changes, not the first."""
    slide, few = simulation.slide, {"variable_genes": 30, "members": 2, "decoder_steps": 40}
    params = get_method("suica").parameters("auto", {**QUICK, **few})
    assert isinstance(params, SuicaParams)
    lesson = Lesson.of(slide, Measured.of(slide), params, Run().seed)
    further = np.setdiff1d(np.arange(len(slide.genes)), lesson.genes)
    pair = further[np.argsort(slide.counts.gene_totals[further])[-2:]]
    held = lesson.rows[~lesson.seen(0)]
    counts = slide.counts.rows.toarray()
    counts[np.ix_(held, pair)] = counts[np.ix_(held, pair[::-1])]
    swapped = slide.with_counts(Counts(sparse.csr_matrix(counts)))
    before, after = (fit(one, **few).learned["weight"][:, pair] for one in (slide, swapped))
    np.testing.assert_allclose(after[0], before[0], rtol=1e-4, atol=1e-6)
    assert np.abs(after[1] - before[1]).max() > 1e-2 * np.abs(before[1]).max()


def test_batches_of_which_a_member_sees_one_location_or_none(simulation: Simulation) -> None:
    fitted = fit(simulation.slide, members=2, batch=4, autoencoder_steps=30, decoder_steps=20)
    assert np.isfinite(fitted.predict(simulation.slide.locations()).expression()).all()


def test_cancel_ends_it_at_the_next_report(simulation: Simulation) -> None:
    run, method = Run(device="cpu"), get_method("suica")
    work = method.fit(simulation.slide, method.parameters("auto", QUICK), run)
    while not next(work).losses:
        pass
    run.cancel.cancel()
    with pytest.raises(Cancelled):
        outcome(work)


def test_predicting_tells_how_far_it_is_and_can_be_cancelled(
    fitted: SuicaFitted, simulation: Simulation
) -> None:
    x, y = np.meshgrid(np.linspace(0, 3000, 300), np.linspace(0, 3000, 300))
    many = points(np.column_stack([x.ravel(), y.ravel()]), 50.0)
    run = Run(device="cpu")
    told = [report.fraction for report in fitted.predicting(many, run)]
    # Ten reports a second at most: a fast machine makes few.
    assert told == sorted(told)
    assert 0 < told[0] < 0.1
    work = fitted.predicting(many, run)
    next(work)
    run.cancel.cancel()
    with pytest.raises(Cancelled):
        outcome(work)


def test_what_cannot_be_is_refused_in_words(simulation: Simulation) -> None:
    slide, method = simulation.slide, get_method("suica")
    with pytest.raises(InputError, match="one field"):
        method.check(slide, slide.locations(), method.parameters("paper", {"members": 3}))
    with pytest.raises(InputError, match="holds nothing out"):
        method.check(slide, slide.locations(), method.parameters("paper", {"leak": True}))
    for without in ("dice", "graph and dice"):
        with pytest.raises(InputError, match="Dice"):
            method.check(slide, slide.locations(), method.parameters("auto", {"ablation": without}))
    with pytest.raises(InputError, match="filters to apply"):
        method.check(slide, slide.locations(), method.parameters("auto", {"filters": True}))
    for ablation in ("graph", "autoencoder"):
        leaky = method.parameters("auto", {"leak": True, "ablation": ablation})
        with pytest.raises(InputError, match="it needs a graph"):
            method.check(slide, slide.locations(), leaky)
    poor = simulate("realistic", "square", (6, 6), 8, 0, image=False, tissue=False).slide
    few = poor.with_counts(type(poor.counts)((poor.counts.rows > 0).astype(np.float32).tocsr()))
    with pytest.raises(InputError, match="left to learn from"):
        fit(few, "paper")


@pytest.mark.parametrize(
    ("name", "value"), [("mix", "kernel"), ("own_counts", True), ("jitter", 0.5)]
)
def test_the_published_form_refuses_what_it_would_ignore(
    simulation: Simulation, name: str, value: Any
) -> None:
    slide, method = simulation.slide, get_method("suica")
    with pytest.raises(InputError, match=f"knows no {name.replace('_', ' ')}"):
        method.check(slide, slide.locations(), method.parameters("paper", {name: value}))


def test_the_leak_lets_the_graph_see_what_a_member_is_held_out_from(simulation: Simulation) -> None:
    few = {"members": 2, "autoencoder_steps": 20, "field_steps": 5, "decoder_steps": 5}
    blind_fit, leaky = (fit(simulation.slide, leak=leak, **few) for leak in (False, True))
    changed = [
        name
        for name, array in blind_fit.learned.items()
        if name.startswith("decoder/") and not np.allclose(array, leaky.learned[name])
    ]
    assert changed


def test_genes_the_published_form_drops_are_told(simulation: Simulation) -> None:
    slide = simulation.slide
    counts = np.minimum(slide.counts.rows.toarray(), 150)
    quiet = slide.with_counts(Counts(sparse.csr_matrix(counts)))
    counts[3, 7] = 500
    loud = slide.with_counts(Counts(sparse.csr_matrix(counts)))
    label = slide.genes.label(7)
    made = fit(loud, "paper")
    notes = made.predict(loud.locations()).provenance["notes"]
    assert len(notes) == 1
    assert label in notes[0]
    assert "notes" not in fit(quiet, "paper").predict(slide.locations()).provenance
    method = get_method("suica")
    params = method.parameters("paper", PUBLISHED)
    with pytest.raises(InputError, match=label):
        outcome(method.fit(loud, params, Run(device="cpu"), np.array([3, 7])))


def test_an_ensemble_of_one_says_what_it_cannot_know(simulation: Simulation) -> None:
    at, few = simulation.slide.locations(), {"decoder_steps": 5, "field_steps": 5}
    for mix, words in (("kernel", "unjudged"), ("off", "no uncertainty.")):
        result = fit(simulation.slide, members=1, mix=mix, **few).predict(at)
        assert result.uncertainty is None
        (note,) = result.provenance["notes"]
        assert words in note


def test_without_its_filters_the_published_form_learns_every_gene(simulation: Simulation) -> None:
    counts = np.minimum(simulation.slide.counts.rows.toarray(), 150)
    counts[3, 7] = 500
    counts[5] = 0
    counts[5, 2] = 9
    loud = simulation.slide.with_counts(Counts(sparse.csr_matrix(counts)))
    learned = {
        filters: fit(loud, "paper", filters=filters, decoder_steps=2) for filters in (True, False)
    }
    assert not learned[True].learned["weight"][0, 7].any()
    assert learned[False].learned["weight"][0, 7].any()
    params = get_method("suica").parameters("paper", {"filters": False})
    assert isinstance(params, SuicaParams)
    assert 5 in Lesson.of(loud, Measured.of(loud), params, 0).rows


def test_without_an_autoencoder_the_field_keeps_its_steps(simulation: Simulation) -> None:
    method = get_method("suica")
    params = method.parameters(
        "paper", {**PUBLISHED, "ablation": "autoencoder", "decoder_steps": 12, "stride": 4}
    )
    steps = [
        report.total
        for report in method.fit(simulation.slide, params, Run(device="cpu"), None)
        if report.stage == "learning the expression"
    ]
    assert max(steps) == 12


def test_training_is_judged_all_over_the_slide() -> None:
    """Rows often stand in the order of their places."""
    many = 8000
    fold = np.random.default_rng(0).permutation(many) % 4
    nothing = sparse.csr_matrix((many, 1), dtype=np.float32)
    places = np.column_stack([np.arange(many), np.zeros(many)])
    lesson = Lesson(
        np.arange(many), np.arange(1), nothing, np.ones(many), np.ones(many), places, fold
    )
    for member in range(4):
        rows = blind(lesson, member)
        assert (fold[rows] == member).all()
        shares = np.bincount(rows * 5 // many, minlength=5) / len(rows)
        assert shares.min() > 0.15


def test_places_that_are_measured_twice_get_finite_answers() -> None:
    one = simulate("realistic", "square", (8, 8), 20, 0, image=False, tissue=False).slide
    both = np.tile(np.arange(len(one)), 2)
    twice = replace(
        one.take(both),
        barcodes=np.array([f"spot{number}" for number in range(len(both))]),
        lattice=Lattice.none(one.coordinates[both]),
    )
    assert np.isfinite(fit(twice, "fast").predict(twice.locations()).expression()).all()
