"""Small simulated slides the tests of this folder share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_stsr.methods.field import FieldFitted, FieldMethod
from napari_stsr.methods.peers import BayesSpace, Card, Stage
from napari_stsr.slides import Slide
from napari_stsr.slides.simulate import Simulation, simulate
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome

PEERS: dict[str, tuple[FieldMethod, dict[str, Any]]] = {
    "bayesspace": (BayesSpace(), {"sweeps": 30, "domains": 4}),
    "stage": (Stage(), {"steps": 30, "hidden": 24, "batch": 64}),
    "card": (Card(), {"steps": 40, "factors": 5}),
}


def fit(
    name: str,
    slide: Slide,
    run: Run | None = None,
    genes: NDArray[np.int64] | None = None,
    **values: Any,
) -> FieldFitted:
    """Fit a peer, quickly, to its end."""
    method, quick = PEERS[name]
    params = method.parameters("auto", {**quick, **values})
    return outcome(method.fit(slide, params, run or Run(device="cpu"), genes))


@pytest.fixture(scope="session")
def clear() -> Simulation:
    """Domains that differ in many genes, no tissue outline."""
    return simulate("slides_like", "square", (18, 18), 150, 3, image=False, domains=4, tissue=False)


@pytest.fixture(scope="session")
def flowers() -> Simulation:
    """A hexagonal slide with an outline: some spots hold nothing."""
    return simulate("slides_like", "hex", (14, 14), 60, 1, image=False, domains=4)
