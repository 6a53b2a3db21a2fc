"""What makes two fits the same: then one goes on from the other's checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_stsr.slides import Counts, Slide
from napari_stsr.slides.simulate import simulate
from napari_stsr.training import Run
from napari_stsr.training.checkpoint import identity
from napari_stsr.training.device import resolve_device

Parts = dict[str, Any]


def _parts() -> Parts:
    slide = simulate(lattice="square", shape=(6, 6), genes=8, image=False, seed=1).slide
    params = {"steps": 10, "likelihood": "nb"}
    return {
        "method": "square",
        "slide": slide,
        "genes": np.arange(5),
        "params": params,
        "run": Run(device="cpu"),
    }


def _one_count_more(slide: Slide) -> Slide:
    rows = slide.counts.rows.copy()
    rows.data[0] += 1
    return replace(slide, counts=Counts(rows))


CHANGES: dict[str, Callable[[Parts], Parts]] = {
    "method": lambda parts: {"method": "stage"},
    "counts": lambda parts: {"slide": _one_count_more(parts["slide"])},
    "places": lambda parts: {
        "slide": replace(parts["slide"], coordinates=parts["slide"].coordinates + 1.0)
    },
    "genes": lambda parts: {"genes": np.arange(6)},
    "params": lambda parts: {"params": {**parts["params"], "steps": 11}},
    "seed": lambda parts: {"run": Run(device="cpu", seed=1)},
    "precision": lambda parts: {"run": Run(device="cpu", precision="bf16")},
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_fit_that_differs_goes_on_from_no_other(what: str) -> None:
    parts = _parts()
    assert identity(**parts) != identity(**{**parts, **CHANGES[what](parts)})


def test_the_same_fit_set_up_again_is_known() -> None:
    assert identity(**_parts()) == identity(**_parts())


def test_the_device_found_is_the_device_named() -> None:
    parts = _parts()
    named = {**parts, "run": Run(device=resolve_device("auto"))}
    assert identity(**{**parts, "run": Run(device="auto")}) == identity(**named)
