"""Small simulated slides and one fit of Square that the tests of this folder share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_stsr.methods import Fitted, get_method
from napari_stsr.slides import Slide
from napari_stsr.slides.simulate import Simulation, simulate
from napari_stsr.training import Run

QUICK: dict[str, Any] = {
    "embedding_steps": 60,
    "graph_steps": 30,
    "batch": 32,
    "hidden": 32,
    "width": 16,
    "latent": 8,
}


def fit(
    slide: Slide,
    run: Run | None = None,
    genes: NDArray[np.int64] | None = None,
    preset: str = "fast",
    **values: Any,
) -> Fitted:
    """Fit Square to its end."""
    method = get_method("square")
    params = method.parameters(preset, {**QUICK, **values})
    fitting = method.fit(slide, params, run or Run(device="cpu"), genes)
    while True:
        try:
            next(fitting)
        except StopIteration as end:
            fitted: Fitted = end.value
            return fitted


@pytest.fixture(scope="session")
def square_simulation() -> Simulation:
    return simulate(lattice="square", shape=(14, 14), genes=60, image=False, seed=1)


@pytest.fixture(scope="session")
def hex_simulation() -> Simulation:
    return simulate(lattice="hex", shape=(14, 14), genes=60, image=False, seed=1)


@pytest.fixture(scope="session")
def square_fit(square_simulation: Simulation) -> Fitted:
    return fit(square_simulation.slide)


@pytest.fixture(scope="session")
def hex_fit(hex_simulation: Simulation) -> Fitted:
    return fit(hex_simulation.slide)
