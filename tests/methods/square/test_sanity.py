"""The three attention checks, with their control."""

from __future__ import annotations

import numpy as np

from napari_stsr.methods import Fitted
from napari_stsr.methods.square.sanity import attention_checks
from napari_stsr.slides.simulate import Simulation


def test_attention_beats_its_controls_on_a_simulated_slide(
    square_simulation: Simulation, square_fit: Fitted
) -> None:
    domain = np.array(
        [np.bincount(parts + 1).argmax() for parts in square_simulation.domain.reshape(-1, 9)]
    )
    checks = attention_checks(square_fit, square_simulation.slide, domains=domain)  # type: ignore[arg-type]
    assert checks.centre_first > 2 * checks.centre_first_by_chance
    assert checks.distance_correlation < 0
    assert checks.loss_without_top > checks.loss_without_random
    assert checks.ari_whole > 0.2
    assert len(checks.sentences()) == 4
