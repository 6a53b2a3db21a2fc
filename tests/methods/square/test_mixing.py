"""The mean of Square and a factor kernel, and the shares that held-out locations decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from napari_stsr.methods import Fitted
from napari_stsr.methods.square.fitted import SquareFitted
from napari_stsr.methods.square.mixing import best_depth_share, best_share
from napari_stsr.slides.simulate import Simulation
from napari_stsr.training import Run
from tests.methods.square.conftest import fit


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


def test_a_mixed_answer_lies_between_both_and_is_saved(
    square_simulation: Simulation, tmp_path: Path
) -> None:
    slide = square_simulation.slide
    fitted = fit(slide, embedding_steps=40, graph_steps=20, conserve="off")
    assert isinstance(fitted, SquareFitted)
    companion = fitted.learned.companion
    assert companion is not None
    assert 0 < companion.share < 1
    rows, genes = np.flatnonzero(slide.counts.totals > 0)[:20], np.arange(len(slide.genes))
    square = fitted.left_out(rows, Run())
    field = companion.kernel.left_out(rows, Run())
    mixed = companion.mixed(square, field)
    low = np.minimum(mixed.first.columns(genes), mixed.second.columns(genes))
    high = np.maximum(mixed.first.columns(genes), mixed.second.columns(genes))
    both = mixed.columns(genes)
    assert ((both >= low - 1e-4) & (both <= high + 1e-4)).all()
    depth = field.loadings @ companion.basis
    whole = companion.depth_share * square.depth + (1 - companion.depth_share) * depth
    np.testing.assert_allclose(mixed.first.depth, whole, rtol=1e-5)
    fitted.save(tmp_path / "square.pt")
    again = _loaded(tmp_path / "square.pt").predict(slide.subspots()).expression()
    np.testing.assert_array_equal(again, fitted.predict(slide.subspots()).expression())


def _loaded(path: Path) -> Fitted:
    from napari_stsr.methods import get_method

    return get_method("square").load(path)


def test_a_location_told_by_the_others_does_not_know_its_own_counts(
    square_simulation: Simulation,
) -> None:
    slide = square_simulation.slide
    fitted = fit(slide, embedding_steps=5, graph_steps=5)
    assert isinstance(fitted, SquareFitted)
    companion = fitted.learned.companion
    assert companion is not None
    kernel, row = companion.kernel, int(np.argmax(slide.counts.totals))
    told = kernel.left_out(np.array([row]), Run()).columns(np.arange(5))
    kernel.learned["amounts"] = kernel.learned["amounts"].copy()
    kernel.learned["amounts"][row] *= 50
    # Only the prior's mean, a thousandth of the weight, still sees it.
    changed = kernel.left_out(np.array([row]), Run()).columns(np.arange(5))
    np.testing.assert_allclose(changed, told, rtol=0.05)
