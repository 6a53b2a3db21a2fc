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
    """Refuse a result of another slide: other files, other genes, other places.

    The files a result was made from decide where their hashes are known; a slide read from copies
    of another kind has others, and is told by its places. Barcodes alone do not tell slides apart:
    all Visium slides of a kind share them.

    Raises
    ------
    InputError
        With what differs.
    """
    made = f"{result.name} is not a result of {slide.name}"
    if not np.isin(result.genes.ids, slide.genes.ids).any():
        raise InputError(f"{made}: they have no gene in common.", _REMEDY)
    same = _same_files(result, slide)
    if same:
        return
    if same is False:
        raise InputError(f"{made}: it was made from other files.", _REMEDY)
    away = int((_distances(result, slide) > slide.lattice.pitch_um).sum())
    located = result.targets.kind == "subspots" or _at_locations(result)
    if not (away if located else away == len(result)):
        return
    before, now = result.scale.um_per_px, slide.scale.um_per_px
    remedy = _REMEDY
    if abs(now / before - 1) > _SAME_SCALE:
        remedy += f" If it is this one, open it with --um-per-px {before:.4g}, not {now:.4g}."
    word = slide.location_word
    if located:
        which = f"{away:,} of its {len(result):,} places do not lie in their {word}s"
    else:
        which = f"none of its places lies near a {word}"
    raise InputError(f"{made}: {which}.", remedy)


def _same_files(result: Enhancement, slide: Slide) -> bool | None:
    """Whether the files of one name are the same; None where none or only some are."""
    before: dict[str, str] = result.provenance.get("slide", {}).get("hashes", {})
    now = slide.source.hashes
    equal = {before[name] == now[name] for name in before if name in now}
    return equal.pop() if len(equal) == 1 else None


def _at_locations(result: Enhancement) -> bool:
    """Whether its targets are the measured locations themselves, named by their barcodes."""
    return bool(result.provenance.get("task", "enhance") != "enhance")


def _distances(result: Enhancement, slide: Slide) -> NDArray[np.float64]:
    """From every target to its location, or to the nearest one, in µm; (m,)."""
    places = result.targets.coordinates
    if result.targets.kind == "subspots":
        owners = result.parents
    elif _at_locations(result):
        owners = result.targets.ids
    else:
        return np.asarray(cKDTree(slide.coordinates).query(places)[0])
    rows = pd.Index(slide.barcodes).get_indexer(pd.Index(owners))
    far = np.linalg.norm(places - slide.coordinates[rows], axis=1)
    return np.where(rows >= 0, far, np.inf)
