"""Square's uncertainty: right on other hidden locations, larger where less is known, kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_stsr.evaluation.metrics import probability_transform, transformed_coverage
from napari_stsr.methods import Fitted, get_method
from napari_stsr.results import Enhancement
from napari_stsr.slides import points
from napari_stsr.slides.simulate import Simulation, simulate
from napari_stsr.training import Run
from tests.methods.square.conftest import fit

LEARNING = {
    "embedding_steps": 300,
    "graph_steps": 100,
    "batch": 64,
    "hidden": 64,
    "width": 32,
    "latent": 12,
}


def deviation(result: Enhancement) -> np.ndarray:
    assert result.uncertainty is not None
    return result.uncertainty.columns(np.arange(len(result.genes)))


def relative(result: Enhancement) -> np.ndarray:
    expected = (result.denoised or result.expression_source).columns(np.arange(len(result.genes)))
    return deviation(result) / np.maximum(expected, 1e-9)


@pytest.fixture(scope="module")
def truth() -> Simulation:
    return simulate(lattice="square", shape=(22, 22), genes=120, image=False, seed=4)


@pytest.fixture(scope="module")
def hidden(truth: Simulation) -> np.ndarray:
    full = truth.slide.counts.totals > 0
    return full & (np.random.default_rng(0).random(len(full)) < 0.2)


@pytest.fixture(scope="module")
def fitted(truth: Simulation, hidden: np.ndarray) -> Fitted:
    return fit(truth.slide.take(~hidden), **LEARNING)


def coverage(counts: np.ndarray, result: Enhancement, common: np.ndarray) -> dict[float, float]:
    expected = (result.denoised or result.expression_source).columns(np.arange(len(result.genes)))
    u = probability_transform(counts[:, common], expected[:, common], deviation(result)[:, common])
    return transformed_coverage(u)


def test_intervals_hold_their_share_of_hidden_counts(
    truth: Simulation, hidden: np.ndarray, fitted: Fitted
) -> None:
    slide = truth.slide
    result = fitted.predict(slide.locations().take(hidden))
    counts = slide.counts.rows[hidden].toarray()
    # Rare genes are right whatever is stated: the common ones tell.
    common = np.argsort(-counts.sum(axis=0))[:40]
    held = coverage(counts, result, common)
    assert held[0.9] == pytest.approx(0.9, abs=0.03)
    assert held[0.5] == pytest.approx(0.5, abs=0.06)
    plain = probability_transform(
        counts[:, common], result.expression()[:, common], np.zeros((len(counts), 40))
    )
    assert transformed_coverage(plain)[0.9] < 0.85


def test_intervals_hold_their_share_of_the_parts_true_counts(
    truth: Simulation, hidden: np.ndarray, fitted: Fitted
) -> None:
    slide = truth.slide
    kept = slide.take(~hidden)
    full = np.repeat(kept.counts.totals > 0, 9)
    result = fitted.predict(kept.subspots()).take(full)
    fine = truth.truth[np.repeat(~hidden, 9)].toarray()
    common = np.argsort(-fine.sum(axis=0))[:40]
    held = coverage(fine[full], result, common)
    assert held[0.9] == pytest.approx(0.9, abs=0.05)


def test_a_hidden_place_is_less_certain_than_the_same_place_measured(
    truth: Simulation, hidden: np.ndarray, fitted: Fitted
) -> None:
    slide = truth.slide
    others = slide.take(~hidden)
    full = others.counts.totals > 0
    hidden_sd = np.median(relative(fitted.predict(slide.locations().take(hidden))), axis=0)
    measured_sd = np.median(relative(fitted.predict(others.locations().take(full))), axis=0)
    assert (measured_sd < hidden_sd).mean() > 0.8


def test_certainty_fades_with_distance_from_measurements(fitted: Fitted, truth: Simulation) -> None:
    slide, pitch = truth.slide, truth.slide.lattice.pitch_um
    full = slide.coordinates[slide.counts.totals > 0]
    away = full[np.argmax(full[:, 0])] + pitch * np.array([[1, 0], [4, 0], [8, 0], [30, 0]])
    told = np.median(relative(fitted.predict(points(away, slide.diameter_um))), axis=1)
    assert (told[1:] > 1.1 * told[0]).all()


def test_same_seed_same_deviation_and_a_saved_fit_keeps_it(
    hex_simulation: Simulation, hex_fit: Fitted, tmp_path: Path
) -> None:
    targets = hex_simulation.slide.subspots()
    first = deviation(hex_fit.predict(targets))
    assert np.isfinite(first).all()
    assert (first[hex_simulation.slide.counts.totals[targets.parent] > 0] > 0).all()
    again = fit(hex_simulation.slide, Run(device="cpu"))
    np.testing.assert_array_equal(deviation(again.predict(targets)), first)
    hex_fit.save(tmp_path / "model.pt")
    loaded = get_method("square").load(tmp_path / "model.pt")
    np.testing.assert_array_equal(deviation(loaded.predict(targets)), first)
    # Genes and targets are computed alone as among all.
    some = np.array([5, 100, 17])
    part = hex_fit.predict(targets).take(some)
    assert part.uncertainty is not None
    np.testing.assert_allclose(
        part.uncertainty.columns(np.array([7]))[:, 0], first[some, 7], rtol=1e-5
    )


def test_the_deviation_belongs_to_the_denoised_values(
    square_fit: Fitted, square_simulation: Simulation
) -> None:
    """It is in proportion to them, not to the conserved counts, and zero nowhere they are not."""
    result = square_fit.predict(square_simulation.slide.subspots())
    assert result.denoised is not None
    every = np.arange(len(result.genes))
    share = deviation(result) / np.maximum(result.denoised.columns(every), 1e-9)
    assert share.min() > 0.01
    assert share.max() < 10


@pytest.mark.parametrize("values", [{"mix": "off"}, {"ablation": "vae"}, {"validation_share": 0.0}])
def test_every_form_of_the_method_states_its_uncertainty(
    square_simulation: Simulation, values: dict[str, object]
) -> None:
    slide = square_simulation.slide
    sd = deviation(fit(slide, **values).predict(slide.locations()))
    assert np.isfinite(sd).all()
    assert sd.max() > 0
