"""How layers look: units, colormaps whose lowest colour is clear, and contrast."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from napari.utils.colormaps import Colormap, ensure_colormap
from numpy.typing import ArrayLike, NDArray

# One `pixel` layer in the list would drop the units of all: every layer carries these.
WORLD: dict[str, Any] = {"units": ("um", "um"), "axis_labels": ("y", "x")}
OURS = "napari_stsr"

MEASURED_COLORMAP = "viridis"
ENHANCED_COLORMAP = "magma"
DIFFERENCE_COLORMAP = "difference"
ROI_COLOR = "#ffd166"
OUTLINE_COLOR = "#3d5a80"


@cache
def clear_low(name: str) -> Colormap:
    """Return a colormap whose lowest colour is clear, opaque from a fifth of the range on.

    Additive blending disappears on bright H&E; a translucent overlay needs zero to be clear.
    """
    colors = ensure_colormap(name).map(np.linspace(0.0, 1.0, 256))
    colors[:, 3] = np.clip(np.linspace(0.0, 5.0, 256), 0.0, 1.0)
    return Colormap(colors, name=f"{name}, clear at zero", nan_color=(0, 0, 0, 0))


@cache
def clear_middle() -> Colormap:
    """Blue for less than measured, clear for no difference, orange for more."""
    less, more = (0.13, 0.40, 0.67), (0.85, 0.37, 0.01)
    place = np.linspace(-1.0, 1.0, 257)
    colors = np.where(place[:, None] < 0, less, more)
    alpha = np.clip(2.0 * np.abs(place), 0.0, 1.0)
    return Colormap(
        np.column_stack([colors, alpha]), name=DIFFERENCE_COLORMAP, nan_color=(0, 0, 0, 0)
    )


@dataclass(frozen=True)
class Percentiles:
    """Contrast from the given percentiles of the values shown."""

    low: float = 0.0
    high: float = 99.5

    def limits(self, values: NDArray[np.float32]) -> tuple[float, float]:
        """Return contrast limits; the upper one lies above the lower one even for empty genes."""
        finite = values[np.isfinite(values)]
        if not finite.size:
            return 0.0, 1.0
        low, high = (float(v) for v in np.percentile(finite, [self.low, self.high]))
        # A gene seen in fewer places than the upper percentile leaves out still has a maximum.
        if high <= low:
            high = float(finite.max())
        return (low, high) if high > low else (low, low + 1.0)

    def symmetric(self, values: NDArray[np.float32]) -> tuple[float, float]:
        """Return limits of equal size around zero, for differences."""
        _, high = Percentiles(0.0, self.high).limits(np.abs(values))
        return -high, high


def certainty(expected: NDArray[np.float32], deviation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Opacity by confidence, 0 … 1: a half where the deviation is as large as the value.

    ``expected² / (expected² + deviation²)``; nothing expected without deviation is certain.
    """
    square = np.square(expected, dtype=np.float32)
    whole = square + np.square(deviation, dtype=np.float32)
    return np.asarray(np.divide(square, whole, out=np.ones_like(square), where=whole > 0))


def row_column_affine(basis: ArrayLike, origin: ArrayLike) -> NDArray[np.float64]:
    """Affine from image (row, column) to world (y, x) in µm.

    Parameters
    ----------
    basis : (2, 2)
        Steps (x, y) in µm of one column, and of one row.
    origin : (2,)
        Position (x, y) in µm of pixel (0, 0)'s centre.
    """
    column, row = np.asarray(basis, dtype=np.float64)
    x, y = np.asarray(origin, dtype=np.float64)
    return np.array([[row[1], column[1], y], [row[0], column[0], x], [0.0, 0.0, 1.0]])


def kind_of(layer: Any) -> str | None:
    """What a layer of ours shows; None for layers of others."""
    found: str | None = layer.metadata.get(OURS, {}).get("kind")
    return found
