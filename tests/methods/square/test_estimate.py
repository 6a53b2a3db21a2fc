"""What is told before the start, about how long Square takes."""

from __future__ import annotations

from typing import Any

from napari_stsr.methods import get_method
from napari_stsr.slides import Slide
from napari_stsr.slides.simulate import simulate


def _slide(side: int) -> Slide:
    return simulate(lattice="square", shape=(side, side), genes=30, image=False, seed=1).slide


def _seconds(slide: Slide, **values: Any) -> float:
    method = get_method("square")
    params = method.parameters("auto", values)
    return method.estimate(slide, slide.subspots(), params).seconds


def test_a_small_slide_is_expected_to_stop_early_and_only_with_patience() -> None:
    small = _slide(13)
    assert _seconds(small, patience=0) > 2 * _seconds(small)
    assert _seconds(small, validation_share=0.0) == _seconds(small, patience=0)


def test_a_large_slide_is_expected_to_use_all_steps() -> None:
    large = _slide(100)
    assert _seconds(large, graph_steps=400, embedding_steps=400) == _seconds(
        large, graph_steps=400, embedding_steps=400, patience=0
    )


def test_a_slide_in_between_takes_longer_than_a_small_one_of_as_many_targets() -> None:
    method, params = get_method("square"), get_method("square").parameters("auto")
    small, large = _slide(13), _slide(40)
    targets = small.subspots()
    few, many = (method.estimate(one, targets, params).seconds for one in (small, large))
    assert many > 1.3 * few
