"""Square mixed with its companion: between both, saved with both, blind to its own counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_stsr.methods import Fitted
from napari_stsr.methods.square.fitted import SquareFitted
from napari_stsr.slides.simulate import Simulation
from napari_stsr.training import Run
from tests.methods.square.conftest import fit


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
    depth = field.factor.loadings @ companion.basis
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
    amounts = kernel.factor.learned["amounts"].copy()
    amounts[row] *= 50
    kernel.factor.learned["amounts"] = amounts
    # Only the prior's mean, a thousandth of the weight, still sees it.
    changed = kernel.left_out(np.array([row]), Run()).columns(np.arange(5))
    np.testing.assert_allclose(changed, told, rtol=0.05)
