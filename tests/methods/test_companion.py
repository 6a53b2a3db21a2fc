"""The mean of a method and a factor kernel, and the shares that held-out locations decide."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from napari_stsr import simulate_slide
from napari_stsr.methods import get_method
from napari_stsr.methods.companion import best_depth_share, best_share
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome

SMALL = {
    "square": {"embedding_steps": 60, "graph_steps": 25, "hidden": 64, "width": 32},
    "suica": {"members": 3, "autoencoder_steps": 40, "field_steps": 30, "decoder_steps": 60},
}


def _two_predictions(rows: int) -> tuple[np.ndarray, np.ndarray, sparse.csr_matrix]:
    rng = np.random.default_rng(0)
    right = rng.gamma(2.0, 2.0, (rows, 40)).astype(np.float32)
    return right, rng.permutation(right), sparse.csr_matrix(rng.poisson(right))


def test_the_prediction_that_is_right_gets_the_share() -> None:
    right, wrong, truth = _two_predictions(400)
    assert best_share(right, wrong, truth, votes=0) > 0.97
    assert best_share(wrong, right, truth, votes=0) < 0.03


def test_the_share_is_the_best_on_a_grid() -> None:
    right, wrong, truth = _two_predictions(200)
    first, second = 0.7 * right + 0.3 * wrong, wrong
    grid = np.linspace(0, 1, 201)
    y = truth.toarray()
    likelihood = [
        float((y * np.log(w * first + (1 - w) * second) - (w * first + (1 - w) * second)).sum())
        for w in grid
    ]
    found = best_share(first, second, truth, votes=0)
    assert found == pytest.approx(grid[int(np.argmax(likelihood))], abs=0.01)


def test_few_locations_cannot_decide_alone() -> None:
    right, wrong, truth = _two_predictions(3)
    assert best_share(right, wrong, truth, votes=30) < 0.6
    assert best_share(right[:0], wrong[:0], truth[:0]) == 0.5


def test_the_depth_that_is_right_gets_the_share() -> None:
    rng = np.random.default_rng(1)
    right = rng.gamma(5.0, 200.0, 500).astype(np.float32)
    wrong = np.full(500, right.mean(), dtype=np.float32)
    totals = rng.poisson(right).astype(np.float64)
    assert best_depth_share(right, wrong, totals) > 0.9
    assert best_depth_share(wrong, right, totals) < 0.1


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_gene_asked_alone_is_told_as_among_all(name: str) -> None:
    slide = simulate_slide(shape=(14, 14), genes=60, image=False, seed=3)
    method, told = get_method(name), []
    wanted = np.array([41, 7])
    for genes in (None, wanted):
        params = method.parameters("auto", {**SMALL[name], "own_counts": False})
        fitted = outcome(method.fit(slide, params, Run(device="cpu"), genes))
        at = np.arange(2) if genes is not None else wanted
        told.append(fitted.predict(slide.locations()).expression_source.columns(at))
    np.testing.assert_allclose(told[1], told[0], rtol=2e-3)
