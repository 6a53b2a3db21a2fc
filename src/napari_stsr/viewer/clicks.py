"""Telling a click from a drag, which moves the view."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STILL = 2


def clicked(event: Any) -> Generator[None, None, NDArray[np.float64] | None]:
    """Follow a press of the mouse to its end, inside a mouse-drag callback of napari.

    Returns
    -------
    (2,) float array or None
        Place (x, y) in µm of a click; None for a drag.
    """
    yield
    moved = 0
    while event.type == "mouse_move":
        moved += 1
        yield
    if moved > _STILL:
        return None
    return np.array([float(event.position[-1]), float(event.position[-2])])
