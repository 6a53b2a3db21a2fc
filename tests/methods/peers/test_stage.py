"""STAGE: what its network learns, and that its decoder needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from napari_stsr.errors import Cancelled
from napari_stsr.methods.baselines.gene_mean import GeneMean
from napari_stsr.methods.peers import Stage
from napari_stsr.methods.peers.stage import hidden
from napari_stsr.methods.peers.stage_network import AutoEncoder, sliced_wasserstein
from napari_stsr.slides.simulate import Simulation, simulate
from napari_stsr.slides.targets import points
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome
from tests.methods.peers.conftest import fit


@pytest.fixture(scope="module")
def smooth() -> tuple[Simulation, np.ndarray]:
    simulation = simulate("realistic", "square", (16, 16), 60, 2, image=False, tissue=False)
    return simulation, np.random.default_rng(0).random(256) < 0.2


def test_the_loss_falls() -> None:
    slide = simulate("realistic", "square", (12, 12), 40, 2, image=False, tissue=False).slide
    method, losses = Stage(), []
    values = {"steps": 80, "hidden": 32, "patience": 0}
    for progress in method.fit(slide, method.parameters("auto", values), Run(device="cpu")):
        losses += [progress.losses["training"]] if progress.losses else []
    assert losses[-1] < 0.8 * losses[0]


def test_hidden_spots_are_predicted_better_than_by_the_mean(
    smooth: tuple[Simulation, np.ndarray],
) -> None:
    slide, left_out = smooth[0].slide, smooth[1]
    taught = slide.take(np.flatnonzero(~left_out))
    targets = points(slide.coordinates[left_out], slide.diameter_um)
    totals = slide.counts.totals[left_out, None]
    truth = np.log1p(slide.counts.rows.toarray()[left_out] * 1e4 / totals)
    values = {"steps": 400, "hidden": 64, "patience": 12}
    made = fit("stage", taught, **values).predict(targets).expression_source
    flat = outcome(GeneMean().fit(taught, GeneMean().parameters(), Run())).predict(targets)
    mean = flat.expression()
    mean = np.log1p(mean * 1e4 / mean.sum(axis=1, keepdims=True))
    logs = made.logs(np.arange(60))  # type: ignore[attr-defined]
    # The log of the mean is too high for a log; without its level it is the fair opponent.
    mean += (np.log1p(_rates(taught)).mean(axis=0) - mean[0])[None]
    assert np.mean((logs - truth) ** 2) < 0.95 * np.mean((mean - truth) ** 2)


def _rates(slide: object) -> np.ndarray:
    counts = slide.counts.rows.toarray()  # type: ignore[attr-defined]
    rates: np.ndarray = counts * 1e4 / counts.sum(axis=1, keepdims=True)
    return rates


def test_the_plain_decoder_is_the_trained_one() -> None:
    torch.manual_seed(0)
    network = AutoEncoder(30, 24)
    with torch.no_grad():
        for _ in range(5):
            network.decode(torch.rand(64, 2))
    network.eval()
    places = np.random.default_rng(0).random((10, 2)).astype(np.float32)
    states = hidden(places, network.plain_decoder())
    with torch.no_grad():
        expected = network.decoder(torch.from_numpy(places)).numpy()
    np.testing.assert_allclose(states, expected, rtol=1e-4, atol=1e-5)


def test_sliced_wasserstein_is_that_of_sorted_projections() -> None:
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(50, 2)).astype(np.float32)
    moved = cloud[rng.permutation(50)] + np.array([0.3, 0.0], dtype=np.float32)
    line = torch.tensor([[1.0], [0.0]])
    made = sliced_wasserstein(torch.from_numpy(cloud), torch.from_numpy(moved), line)
    assert float(made) == pytest.approx(0.3, abs=1e-4)
    assert float(made) == pytest.approx(wasserstein_distance(cloud[:, 0], moved[:, 0]), abs=1e-4)


def test_genes_it_was_not_taught_are_decoded_too(clear: Simulation) -> None:
    slide = clear.slide
    few = fit("stage", slide, variable_genes=50, steps=200, patience=0)
    taught = np.flatnonzero(few.learned["weight"].any(axis=0))
    assert len(taught) > 140
    made = few.predict(slide.locations()).expression()
    measured = slide.counts.rows.toarray()
    r = [np.corrcoef(made[:, g], measured[:, g])[0, 1] for g in range(150)]
    assert np.mean(r) > 0.2


def test_a_stopped_run_goes_on_to_the_same_end(clear: Simulation, tmp_path: Path) -> None:
    slide, method = clear.slide, Stage()
    params = method.parameters("auto", {"steps": 60, "hidden": 24, "patience": 0})
    unbroken = outcome(method.fit(slide, params, Run(device="cpu")))
    first = Run(device="cpu", checkpoints=tmp_path)
    fitting = method.fit(slide, params, first)
    for progress in fitting:
        if 0 < progress.step < 60 and progress.losses:
            first.cancel.cancel()
            break
    with pytest.raises(Cancelled):
        next(fitting)
    resumed = outcome(method.fit(slide, params, Run(device="cpu", checkpoints=tmp_path)))
    for name, values in unbroken.learned.items():
        np.testing.assert_array_equal(resumed.learned[name], values)


def test_previews_are_predictions_of_the_fit_so_far(clear: Simulation) -> None:
    seen = []

    def preview(fitted: object) -> np.ndarray:
        assert fitted.field  # type: ignore[attr-defined]
        seen.append(fitted)
        targets = clear.slide.locations()
        return fitted.predict(targets).expression_source.columns(np.array([0]))[:, 0]  # type: ignore[attr-defined,no-any-return]

    run = Run(device="cpu", preview=preview)
    fitting = Stage().fit(clear.slide, Stage().parameters("auto", {"steps": 4000}), run)
    shown = next(p.preview for p in fitting if p.preview is not None)
    run.cancel.cancel()
    assert shown.shape == (len(clear.slide),)
    assert seen
