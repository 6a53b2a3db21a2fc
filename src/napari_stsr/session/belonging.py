"""Whether a result that was exported once belongs to the slide in view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stsr.errors import InputError
from napari_stsr.results import Enhancement
from napari_stsr.results.writers import read_enhancement
from napari_stsr.slides import Slide

# One slide, opened twice, agrees at least so far.
_SAME_SCALE = 0.01
_REMEDY = "Open the slide it was made from."


def read_result(path: str | Path, slide: Slide) -> Enhancement:
    """Read an exported result of a slide.

    Raises
    ------
    InputError
        When it cannot be read, or was made from another slide.
    """
    result = read_enhancement(path)
    check_result(result, slide)
    return result


def check_result(result: Enhancement, slide: Slide) -> None:
    """Refuse a result of another slide: other genes, other places.

    Barcodes alone do not tell slides apart: all Visium slides of a kind share them.

    Raises
    ------
    InputError
        With what differs.
    """
    made = f"{result.name} is not a result of {slide.name}"
    if not np.isin(result.genes.ids, slide.genes.ids).any():
        raise InputError(f"{made}: they have no gene in common.", _REMEDY)
    away = int((_distances(result, slide) > slide.lattice.pitch_um).sum())
    parts = result.targets.kind == "subspots"
    if not (away if parts else away == len(result)):
        return
    before, now = result.scale.um_per_px, slide.scale.um_per_px
    remedy = _REMEDY
    if abs(now / before - 1) > _SAME_SCALE:
        remedy += f" If it is this one, open it with --um-per-px {before:.4g}, not {now:.4g}."
    word = slide.location_word
    if parts:
        which = f"{away:,} of its {len(result):,} subspots do not lie in their {word}s"
    else:
        which = f"none of its places lies near a {word}"
    raise InputError(f"{made}: {which}.", remedy)


def _distances(result: Enhancement, slide: Slide) -> NDArray[np.float64]:
    """From every target to its location, or to the nearest one, in µm; (m,)."""
    places = result.targets.coordinates
    if result.targets.kind != "subspots":
        return np.asarray(cKDTree(slide.coordinates).query(places)[0])
    rows = pd.Index(slide.barcodes).get_indexer(pd.Index(result.parents))
    far = np.linalg.norm(places - slide.coordinates[rows], axis=1)
    return np.where(rows >= 0, far, np.inf)
