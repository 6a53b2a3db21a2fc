"""What an evaluation is told to take before it starts."""

from __future__ import annotations

from typing import Any

import pytest

from napari_stsr.evaluation import EvaluationPlan
from napari_stsr.slides import Slide
from napari_stsr.slides.simulate import simulate_slide


@pytest.fixture(scope="module")
def slide() -> Slide:
    return simulate_slide("realistic", "square", (10, 12), 40, seed=2, image=False)


def seconds(slide: Slide, protocol: str = "hidden-spots", folds: int = 1, **more: Any) -> float:
    return EvaluationPlan([protocol], ["nearest"], folds, **more).estimate(slide).seconds


def test_every_fold_adds_its_fit_and_its_scores(slide: Slide) -> None:
    assert seconds(slide, folds=2) == pytest.approx(2 * seconds(slide))


def test_what_is_judged_costs_too(slide: Slide) -> None:
    assert seconds(slide, scored=1) < seconds(slide, scored=10)
    # A fifth of the locations is judged there, and all of them here.
    assert seconds(slide) < seconds(slide, "count-split")
