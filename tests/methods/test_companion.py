"""The mean of a method and a pair of kernels, and the shares that held-out locations decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from napari_stsr import simulate_slide
from napari_stsr.methods import get_method
from napari_stsr.methods.companion import (
    Companion,
    best_depth_share,
    best_share,
    fit_companion,
)
from napari_stsr.results.expression import DecodedExpression
from napari_stsr.slides import Counts
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


def test_many_programmes_take_the_poisson_kernel_and_keep_it() -> None:
    """Every gene has a pattern of its own: more than twenty programmes."""
    rng = np.random.default_rng(0)
    slide = simulate_slide(shape=(20, 20), genes=120, image=False, seed=3)
    place = (slide.coordinates / np.ptp(slide.coordinates, axis=0).max()) * 12
    turn, phase = rng.normal(size=(2, 120)), rng.random(120) * 6
    rate = 3 * np.exp(1.2 * np.sin(place @ turn + phase))
    slide = slide.with_counts(Counts(sparse.csr_matrix(rng.poisson(rate).astype(np.float32))))
    genes, held = np.arange(120), np.arange(0, 400, 5)
    mean = np.tile(rate.mean(axis=0), (len(held), 1))
    own = DecodedExpression(
        np.zeros((len(held), 1), np.float32),
        np.zeros((120, 1), np.float32),
        np.log(rate.mean(axis=0) / rate.mean(axis=0).sum()).astype(np.float32),
        np.zeros(len(held), np.float32),
        mean.sum(axis=1).astype(np.float32),
    )
    wanted = np.array([7, 50, 3])
    made = outcome(fit_companion(slide, wanted, genes, own, held, Run()))
    assert made.kernel.learned["share"].min() > 0.5
    assert made.share < 0.5
    again = Companion.again(made.kept(), made.kernel.measured, made.kernel.seed)
    three = np.arange(3)
    answers = []
    for companion in (made, again):
        field = companion.kernel.left_out(held, Run())
        of_wanted = replace(own, weight=own.weight[wanted], bias=own.bias[wanted])
        answers.append(companion.mixed(of_wanted, field).columns(three))
    np.testing.assert_array_equal(*answers)
    truth = rate[held][:, wanted]
    assert np.abs(answers[0] - truth).mean() < 0.7 * np.abs(mean[:, wanted] - truth).mean()


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
