"""Square as its users meet it: every lattice, conservation, attention, hidden and odd targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_stsr.errors import Cancelled, InputError
from napari_stsr.methods import Fitted, get_method
from napari_stsr.session import enhance
from napari_stsr.slides import Region, Slide, points
from napari_stsr.slides.simulate import Simulation, simulate
from napari_stsr.training import Run
from tests.methods.square.conftest import QUICK, fit


def _sums(slide: Slide, values: np.ndarray, parts: int) -> np.ndarray:
    return values.reshape(len(slide), parts, -1).sum(axis=1)


@pytest.mark.parametrize("k", [4, 9, 16])
def test_parts_of_a_square_lattice_sum_to_the_measured_counts(
    square_simulation: Simulation, square_fit: Fitted, k: int
) -> None:
    slide = square_simulation.slide
    result = square_fit.predict(slide.subspots(k))
    sums = _sums(slide, result.expression(), k)
    np.testing.assert_allclose(sums, slide.counts.rows.toarray(), rtol=1e-4, atol=1e-4)
    assert (result.expression() >= 0).all()


@pytest.mark.parametrize("k", [7, 6])
def test_parts_of_a_hex_lattice_sum_to_the_measured_counts(
    hex_simulation: Simulation, hex_fit: Fitted, k: int
) -> None:
    slide = hex_simulation.slide
    sums = _sums(slide, hex_fit.predict(slide.subspots(k)).expression(), k)
    np.testing.assert_allclose(sums, slide.counts.rows.toarray(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rule", ["multinomial", "largest remainder"])
def test_whole_number_conservation(square_simulation: Simulation, rule: str) -> None:
    slide = square_simulation.slide
    fitted = fit(slide, conserve=rule, embedding_steps=2, graph_steps=2)
    values = fitted.predict(slide.subspots()).expression()
    assert np.array_equal(values, np.rint(values))
    assert np.array_equal(_sums(slide, values, 9), slide.counts.rows.toarray())
    again = fitted.predict(slide.subspots()).expression()
    assert np.array_equal(values, again)


def test_without_conservation_the_networks_own_amounts_come_out(
    square_simulation: Simulation,
) -> None:
    slide = square_simulation.slide
    fitted = fit(slide, conserve="off")
    values = fitted.predict(slide.subspots()).expression()
    assert not np.allclose(_sums(slide, values, 9), slide.counts.rows.toarray(), rtol=0.01)
    total = values.sum() / slide.counts.totals.sum()
    assert 0.5 < total < 2
    # A conserving fit carries the same amounts beside the conserved ones.
    conserving = fit(slide).predict(slide.subspots())
    assert conserving.denoised is not None
    every = np.arange(len(slide.genes))
    np.testing.assert_array_equal(conserving.denoised.columns(every), values)


def test_prediction_reports_and_stops(square_simulation: Simulation, square_fit: Fitted) -> None:
    slide, run = square_simulation.slide, Run()
    predicting = square_fit.predicting(slide.subspots(), run)
    progress = next(predicting)
    assert progress.stage == "predicting"
    assert 0 < progress.step <= progress.total == 2 * 9 * len(slide)
    run.cancel.cancel()
    with pytest.raises(Cancelled):
        next(predicting)


def test_it_resolves_within_spots_where_a_uniform_split_cannot() -> None:
    """Against the noise-free truth: within-spot correlation of the median gene."""
    truth = simulate(lattice="square", shape=(20, 20), genes=120, image=False, seed=2)
    slide = truth.slide
    fitted = fit(
        slide, embedding_steps=400, graph_steps=150, batch=64, hidden=64, width=32, latent=12
    )
    values = fitted.predict(slide.subspots()).expression().astype(float)
    within = [_within(v, 9)[np.repeat(slide.counts.totals > 0, 9)] for v in (values, truth.mean)]
    own, true = (w - w.mean(axis=0) for w in within)
    norm = np.sqrt((own**2).sum(axis=0) * (true**2).sum(axis=0))
    seen = norm > 0
    correlation = (own * true).sum(axis=0)[seen] / norm[seen]
    assert np.median(correlation) > 0.3


def _within(values: np.ndarray, parts: int) -> np.ndarray:
    groups = np.asarray(values).reshape(-1, parts, values.shape[1])
    return (groups - groups.mean(axis=1, keepdims=True)).reshape(values.shape)


def test_attention_sums_to_one_over_measured_sources(
    hex_simulation: Simulation, hex_fit: Fitted
) -> None:
    slide = hex_simulation.slide
    attention = hex_fit.predict(slide.subspots()).attention
    assert attention is not None
    assert (attention.layers, attention.heads) == (2, 4)
    full = np.repeat(slide.counts.totals > 0, 7)
    for weights in attention.weights.values():
        sums = np.asarray(weights.sum(axis=1)).ravel()
        np.testing.assert_allclose(sums[full], 1, atol=1e-5)
        # An empty location among empty ones has nothing to draw on.
        assert set(np.unique(sums[~full].round(5))) <= {0, 1}
        assert weights.shape == (7 * len(slide), len(slide))
    # Sources are neighbours, never farther than the ring of context.
    sources, _ = attention.sources(7 * 50)
    away = np.linalg.norm(slide.coordinates[sources] - slide.coordinates[50], axis=1)
    assert away.max() < 1.2 * slide.lattice.pitch_um


def test_a_region_of_targets_conserves_whole_locations(
    square_simulation: Simulation, square_fit: Fitted
) -> None:
    slide = square_simulation.slide
    everything = slide.subspots()
    whole = square_fit.predict(everything).expression()
    some = np.arange(len(everything)) % 5 == 0
    part = square_fit.predict(everything.take(some)).expression()
    np.testing.assert_allclose(part, whole[some], rtol=1e-5, atol=1e-6)


def test_hidden_locations_are_predicted_from_their_neighbours_alone() -> None:
    truth = simulate(lattice="square", shape=(20, 20), genes=120, image=False, seed=2)
    slide = truth.slide
    full = np.flatnonzero(slide.counts.totals > 0)
    hidden = np.zeros(len(slide), dtype=bool)
    hidden[np.random.default_rng(0).choice(full, len(full) // 5, replace=False)] = True
    fitted = fit(
        slide.take(~hidden),
        embedding_steps=400,
        graph_steps=150,
        batch=64,
        hidden=64,
        width=32,
        latent=12,
    )
    result = fitted.predict(points(slide.coordinates[hidden], slide.diameter_um))
    predicted, seen = result.expression(), slide.counts.rows[hidden].toarray()
    # On the scale of whole locations, and following the hidden pattern.
    assert 0.7 < predicted.sum() / seen.sum() < 1.4
    varying = (seen.std(axis=0) > 0) & (predicted.std(axis=0) > 0)
    each = [np.corrcoef(predicted[:, g], seen[:, g])[0, 1] for g in np.flatnonzero(varying)]
    assert np.median(each) > 0.3


def test_a_grid_is_finer_than_spots_and_off_lattice_points_work(
    hex_simulation: Simulation, hex_fit: Fitted
) -> None:
    slide = hex_simulation.slide
    result = hex_fit.predict(slide.grid(slide.lattice.pitch_um / 4))
    values = result.expression(list(slide.genes.ids[:3]))
    assert np.isfinite(values).all()
    # A grid over the whole tissue holds about the molecules of the tissue.
    total = result.expression().sum() / slide.counts.totals.sum()
    assert 0.5 < total < 2


def test_the_field_itself_is_of_whole_locations_and_sees_the_one_it_lies_in(
    hex_simulation: Simulation, hex_fit: Fitted
) -> None:
    slide, genes = hex_simulation.slide, np.arange(10)
    # Some inside measured cells, some beyond the edge of the tissue.
    places = np.concatenate([slide.coordinates[60:70] + 20.0, slide.coordinates[:3] - 250.0])
    whole = hex_fit.predict(points(places, slide.diameter_um)).expression_source.columns(genes)
    np.testing.assert_array_equal(hex_fit.at(places).columns(genes), whole)
    half = points(places, slide.diameter_um / np.sqrt(2))
    smaller = hex_fit.predict(half).expression_source.columns(genes)
    np.testing.assert_allclose(smaller, whole / 2, rtol=1e-4)
    run = Run()
    run.cancel.cancel()
    with pytest.raises(Cancelled):
        hex_fit.at(places, run)


def test_genes_are_predicted_in_the_order_asked(square_simulation: Simulation) -> None:
    slide = square_simulation.slide
    wanted = np.array([41, 3, 17])
    result = fit(slide, genes=wanted).predict(slide.subspots())
    assert list(result.genes.ids) == list(slide.genes.ids[wanted])
    sums = _sums(slide, result.expression(), 9)
    np.testing.assert_allclose(sums, slide.counts.rows.toarray()[:, wanted], rtol=1e-4, atol=1e-4)


def test_genes_beyond_the_variable_ones_are_decoded_too(square_simulation: Simulation) -> None:
    slide = square_simulation.slide
    fitted = fit(slide, variable_genes=20, conserve="off", embedding_steps=200)
    values = fitted.predict(slide.locations()).expression()
    seen = slide.counts.rows.toarray()
    further = np.setdiff1d(np.arange(60), fitted.learned.trained_columns)  # type: ignore[attr-defined]
    assert len(further) == 40
    ratio = values[:, further].sum(axis=0) / np.maximum(seen[:, further].sum(axis=0), 1)
    assert np.median(np.abs(np.log(ratio))) < 0.5


@pytest.mark.parametrize("ablation", ["virtual nodes", "vae", "attention"])
def test_every_ablation_runs_and_differs(square_simulation: Simulation, ablation: str) -> None:
    slide = square_simulation.slide
    whole = fit(slide).predict(slide.subspots()).expression()
    without = fit(slide, ablation=ablation).predict(slide.subspots()).expression()
    assert np.isfinite(without).all()
    assert not np.allclose(whole, without)


@pytest.mark.parametrize("values", [{"context": "ring"}, {"rings": 2}, {"likelihood": "zinb"}])
def test_options_run(hex_simulation: Simulation, values: dict[str, object]) -> None:
    slide = hex_simulation.slide
    result = fit(slide, **values).predict(slide.subspots())
    assert np.isfinite(result.expression()).all()


def test_the_paper_preset_runs(square_simulation: Simulation) -> None:
    slide = square_simulation.slide
    result = fit(slide, preset="paper").predict(slide.subspots())
    assert np.isfinite(result.expression()).all()


def test_mixed_precision_trains_too(square_simulation: Simulation) -> None:
    slide = square_simulation.slide
    fitted = fit(slide, Run(device="cpu", precision="bf16"))
    assert np.isfinite(fitted.predict(slide.subspots()).expression()).all()


def test_same_seed_same_result(square_simulation: Simulation) -> None:
    slide = square_simulation.slide
    first, second = (
        enhance(slide, preset="fast", values=QUICK, run=Run(seed=5, device="cpu")).expression()
        for _ in range(2)
    )
    other = enhance(slide, preset="fast", values=QUICK, run=Run(seed=6, device="cpu")).expression()
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_saved_fit_predicts_the_same(
    hex_simulation: Simulation, hex_fit: Fitted, tmp_path: Path
) -> None:
    targets = hex_simulation.slide.subspots()
    hex_fit.save(tmp_path / "model.pt")
    again = get_method("square").load(tmp_path / "model.pt")
    assert np.array_equal(
        hex_fit.predict(targets).expression(), again.predict(targets).expression()
    )
    (tmp_path / "other.pt").write_bytes(b"no model")
    with pytest.raises(InputError, match="no saved Square"):
        get_method("square").load(tmp_path / "other.pt")


def test_holes_and_a_turned_mirrored_lattice_do_not_matter(square_simulation: Simulation) -> None:
    slide = square_simulation.slide
    kept = slide.take(np.random.default_rng(0).random(len(slide)) < 0.85)
    result = fit(kept).predict(kept.subspots())
    sums = _sums(kept, result.expression(), 9)
    np.testing.assert_allclose(sums, kept.counts.rows.toarray(), rtol=1e-4, atol=1e-4)


def test_locations_without_counts_give_parts_without_counts(square_simulation: Simulation) -> None:
    slide = square_simulation.slide
    empty = slide.counts.totals == 0
    assert empty.any()
    values = fit(slide).predict(slide.subspots()).expression()
    assert values[np.repeat(empty, 9)].sum() == 0


def _message(slide: Slide, **values: object) -> str:
    with pytest.raises(InputError) as caught:
        enhance(slide, preset="fast", values=values)
    return str(caught.value)


def test_slides_it_cannot_learn_from_are_refused_in_words(square_simulation: Simulation) -> None:
    slide = square_simulation.slide
    assert "at least 12" in _message(slide.take(np.array([0])))
    full = np.flatnonzero(slide.counts.totals > 0)
    assert "All counts are zero" in _message(slide.take(slide.counts.totals == 0))
    sites = slide.lattice.sites[full]
    sparse_rows = full[(sites % 3 == 0).all(axis=1)]
    assert "neighbour" in _message(slide.take(sparse_rows))
    assert "rings = 9" in _message(slide, rings=9)
    assert "no parameter 'ring'" in _message(slide, ring=2)
    with pytest.raises(InputError, match="cannot be split into 7"):
        enhance(slide, subspots=7)
    with pytest.raises(InputError, match="no point on the tissue"):
        enhance(slide, grid_um=1e6)
    with pytest.raises(InputError, match="halo"):
        enhance(slide, halo_pitches=-1)
    outside = Region.from_polygons("far", [np.array([(1e6, 1e6), (1e6 + 9, 1e6), (1e6, 1e6 + 9)])])
    with pytest.raises(InputError, match="holds none"):
        enhance(slide, region=outside)


def test_a_device_that_is_not_there_is_told(
    square_fit: Fitted, square_simulation: Simulation
) -> None:
    with pytest.raises(InputError, match="cuda:7' is not there"):
        square_fit.predict(square_simulation.slide.subspots(), Run(device="cuda:7"))
