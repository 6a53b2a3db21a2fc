"""Small slides and finished fits for the tests of fields."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.methods.field import FieldFitted, FieldMethod
from napari_stsr.slides import Counts, Genes, Lattice, PixelScale, Slide
from napari_stsr.training import Run


def fit(
    method: FieldMethod, slide: Slide, genes: NDArray[np.int64] | None = None, **values: Any
) -> FieldFitted:
    """Check and fit to the end."""
    params = method.parameters("auto", values)
    method.check(slide, slide.locations(), params)
    fitting = method.fit(slide, params, Run(), genes)
    while True:
        try:
            next(fitting)
        except StopIteration as end:
            fitted: FieldFitted = end.value
            return fitted


def slide_of(coordinates: NDArray[np.float64], counts: NDArray[Any]) -> Slide:
    """Return a slide of these counts (n, g) at these places in µm."""
    n, g = counts.shape
    names = np.array([f"gene{number}" for number in range(g)])
    return Slide(
        "made",
        "simulated",
        Counts(sparse.csr_matrix(counts.astype(np.float32))),
        Genes(names, names),
        coordinates,
        np.array([f"spot{number}" for number in range(n)]),
        Lattice.from_coordinates(coordinates),
        55.0,
        PixelScale(1.0, "simulator"),
        np.ones(n, dtype=bool),
    )


def hexagonal(rows: int, columns: int, pitch: float = 100.0) -> NDArray[np.float64]:
    """Places of a hexagonal lattice in µm."""
    j, i = np.mgrid[:rows, :columns]
    places = np.column_stack([(i + 0.5 * (j % 2)).ravel(), np.sqrt(0.75) * j.ravel()])
    return pitch * places


def smooth_slide(rows: int = 14, columns: int = 14, genes: int = 6, seed: int = 0) -> Slide:
    """Return a hexagonal slide whose genes follow waves, the last without any count."""
    rng = np.random.default_rng(seed)
    places = hexagonal(rows, columns)
    waves = np.stack(
        [np.sin(places @ rng.normal(0, 0.006, 2) + phase) for phase in range(genes - 1)], axis=1
    )
    counts = rng.poisson(40 * np.exp(waves))
    return slide_of(places, np.column_stack([counts, np.zeros(len(places))]))
