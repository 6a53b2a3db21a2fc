"""What can be wrong with a slide, said before it costs an afternoon.

Every function looks at one thing and answers with findings; none of them reads a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.slides.counts import Counts
from napari_stsr.slides.genes import Genes
from napari_stsr.slides.image import Pyramid
from napari_stsr.slides.lattice import Lattice
from napari_stsr.slides.slide import Check, Slide, SlideKind

_RANK = {"problem": 0, "notice": 1, "good": 2}
_RESIDUAL = 0.05
_HISTOLOGY_UM = (0.1, 1.2)
_FEW_LOCATIONS = 300
_WRONG_IMAGE = (
    "This is the hires or CytAssist picture, or that of another slide, not the full-resolution one."
)
_RIGHT_IMAGE = "Give the microscope image that was passed to Space Ranger."


def worst_first(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Sort findings: problems, notices, good news."""
    return tuple(sorted(checks, key=lambda check: _RANK[check.level]))


def check_counts(counts: Counts) -> list[Check]:
    """Counts are whole numbers ≥ 0, and locations without any are named."""
    data = counts.rows.data
    found = []
    if data.dtype.kind == "f":
        found.append(
            Check(
                "problem",
                "The values are not whole numbers: this is normalised data, not counts.",
                "Give the raw counts; likelihoods of counts and conservation do not hold here.",
            )
        )
    if data.dtype.kind != "u" and data.size and data.min() < 0:
        found.append(
            Check(
                "problem",
                f"{int((data < 0).sum()):,} values are negative: this is scaled data, not counts.",
                "Give the raw counts.",
            )
        )
    if not data.size or not data.any():
        found.append(Check("problem", "The matrix holds no count at all.", "Give another matrix."))
        return found
    empty = int((counts.totals == 0).sum())
    if empty:
        found.append(Check("notice", f"{empty:,} of {counts.shape[0]:,} locations have no count."))
    return found or [Check("good", f"{counts.totals.sum():,.0f} counts, whole numbers.")]


def check_genes(genes: Genes) -> list[Check]:
    """Symbols may repeat; the ids tell them apart."""
    names, many = np.unique(genes.symbols, return_counts=True)
    twice = names[(many > 1) & (names != "")]
    if not twice.size:
        return [Check("good", f"{len(genes):,} genes, every symbol once.")]
    shown = ", ".join(twice[:3]) + (" …" if twice.size > 3 else "")
    return [
        Check(
            "notice",
            f"{twice.size} gene symbols occur more than once ({shown}).",
            "Name such a gene by its id.",
        )
    ]


def check_positions(
    total: int, unplaced: int, without_number: int, unread: int, word: str
) -> list[Check]:
    """Barcodes of the matrix and of the positions agree, and all have coordinates.

    Parameters
    ----------
    total : int
        Barcodes of the matrix.
    unplaced, without_number : int
        Of them: without a line in the positions, with coordinates that are not numbers.
    unread : int
        Positions in the tissue that the matrix has no counts for.
    """
    found = []
    if unplaced:
        found.append(
            Check(
                "problem" if unplaced > 0.05 * total else "notice",
                f"{unplaced:,} of {total:,} barcodes have no position and were dropped.",
                "Check that matrix and positions belong to the same slide.",
            )
        )
    if without_number:
        found.append(
            Check(
                "notice",
                f"{without_number:,} of {total:,} {word}s have no coordinates (NaN) and were "
                "dropped.",
            )
        )
    if unread:
        found.append(
            Check("notice", f"{unread:,} {word}s in the tissue have no row in the matrix.")
        )
    return found or [Check("good", f"All {total:,} {word}s have a position.")]


def check_lattice(
    lattice: Lattice, kind: SlideKind, bin_um: float | None, locations: int
) -> list[Check]:
    """Locations lie on the lattice of their platform."""
    if lattice.kind == "none" and lattice.pitch_um == 0 and locations > 1:
        return [Check("problem", "Locations lie on top of each other.", "Check the coordinates.")]
    if lattice.kind == "none":
        expected = kind != "anndata"
        return [
            Check(
                "problem" if expected else "notice",
                f"The locations follow no lattice (neighbours {lattice.pitch_um:.3g} µm apart).",
                "Subspots need one; predict on a grid or at points."
                + (" The positions may be those of another slide." if expected else ""),
            )
        ]
    found = []
    if lattice.residual >= _RESIDUAL:
        found.append(
            Check(
                "problem" if kind in ("visium", "visium-hd") else "notice",
                f"The locations lie {lattice.residual:.2f} pitches off their lattice "
                f"(more than {_RESIDUAL}).",
                "The array places or the pixel positions may be wrong.",
            )
        )
    if bin_um is not None and abs(lattice.pitch_um / bin_um - 1) > 0.02:
        found.append(
            Check(
                "notice",
                f"Bins are {lattice.pitch_um:.4g} µm apart but {bin_um:g} µm wide by name.",
                "The size of a pixel may be wrong.",
            )
        )
    return found or [Check("good", f"{lattice}, locations {lattice.residual:.3f} pitches off.")]


def check_parity(array: NDArray[np.int64]) -> list[Check]:
    """On Visium's array (column, row), column + row is even."""
    odd = int((array.sum(axis=1) % 2).sum())
    odd = min(odd, len(array) - odd)
    if not odd:
        return []
    return [
        Check(
            "problem",
            f"{odd:,} of {len(array):,} array places break Visium's rule that row + column is "
            "even.",
            "The array places may be those of another slide.",
        )
    ]


def check_size(locations: int, word: str) -> list[Check]:
    """Very small sections need another validation."""
    if locations >= _FEW_LOCATIONS:
        return []
    return [
        Check(
            "notice",
            f"Only {locations:,} {word}s: one validation block says little.",
            "Validate with 5 folds.",
        )
    ]


def check_image(
    image: Pyramid | None, px: NDArray[np.float64], um_per_px: float, *, given: bool
) -> list[Check]:
    """The spots lie inside the picture, and the picture is fit for histology.

    Parameters
    ----------
    image : Pyramid or None
    px : (n, 2) float array
        Centres (x, y) in full-resolution pixels.
    um_per_px : float
        Of full-resolution pixels.
    given : bool
        The user chose this file as the full-resolution image.

    Raises
    ------
    InputError
        When the user gave an image that most spots lie outside of.
    """
    if image is None:
        return [Check("notice", "There is no image.", _RIGHT_IMAGE)]
    height, width = (side * image.um_per_px / um_per_px for side in image.shape)
    outside = int((~inside(px, (height, width))).sum())
    if outside and given and 2 * outside > len(px):
        raise InputError(
            f"{outside:,} of {len(px):,} locations lie outside the image {image.path!r} "
            f"({image.shape[1]:,} × {image.shape[0]:,} px). {_WRONG_IMAGE}",
            _RIGHT_IMAGE,
        )
    found = []
    if outside:
        found.append(
            Check(
                "problem",
                f"{outside:,} of {len(px):,} locations lie outside the image. "
                + (_WRONG_IMAGE if given else "It may be that of another slide."),
                _RIGHT_IMAGE,
            )
        )
    refusal = histology_refusal(image)
    if um_per_px > _HISTOLOGY_UM[1]:
        refusal = (
            f"Full-resolution pixels are {um_per_px:.3g} µm wide, as in a CytAssist image without "
            f"a microscope image; histology needs {_HISTOLOGY_UM[0]} to {_HISTOLOGY_UM[1]}."
        )
    if refusal:
        found.append(Check("notice", f"{refusal} Methods that learn from it refuse it.",
                           _RIGHT_IMAGE))  # fmt: skip
    return found or [Check("good", f"All locations lie inside the image ({width:,.0f} × "
                                   f"{height:,.0f} px).")]  # fmt: skip


def inside(px: NDArray[np.float64], shape: tuple[float, float]) -> NDArray[np.bool_]:
    """Which centres (x, y) in px lie inside a picture of this height and width."""
    return np.asarray(np.all((px >= -0.5) & (px <= np.array(shape[::-1]) - 0.5), axis=1))


def histology_refusal(image: Pyramid | None) -> str | None:
    """Why a picture cannot serve methods that learn from histology, or None when it can."""
    low, high = _HISTOLOGY_UM
    if image is None:
        return "There is no image."
    if not low <= image.um_per_px <= high:
        what = "hires or lowres picture" if not image.full_resolution else "image"
        about = " as a CytAssist image has" if image.full_resolution and image.um_per_px > 3 else ""
        return (
            f"The {what} has {image.um_per_px:.3g} µm/px{about}; histology needs {low} to {high}."
        )
    return "The image has no colour." if image.greyscale else None


def require_histology(slide: Slide) -> Pyramid:
    """Return the image of a slide for a method that learns from histology.

    Raises
    ------
    InputError
        When there is none, or it is too coarse or grey (CytAssist).
    """
    refusal = histology_refusal(slide.image)
    if refusal is not None or slide.image is None:
        raise InputError(
            f"This method learns from histology. {refusal}", f"{_RIGHT_IMAGE} (image=…)"
        )
    return slide.image


def check_same_picture(
    image: Pyramid,
    small: tuple[int, int],
    factor: float,
) -> list[Check]:
    """A given full-resolution image has the size that the small picture and its factor imply.

    Parameters
    ----------
    small : (height, width)
        Size of Space Ranger's hires or lowres picture.
    factor : float
        Its pixels per full-resolution pixel.

    Raises
    ------
    InputError
        When the given image is that small picture itself.
    """
    expected = np.array(small) / factor
    if factor < 0.98 and tuple(image.shape) == small:
        raise InputError(
            f"The image {image.path!r} has {image.shape[1]:,} × {image.shape[0]:,} px like the "
            f"small picture; full resolution has {expected[1]:,.0f} × {expected[0]:,.0f}. "
            f"{_WRONG_IMAGE}",
            _RIGHT_IMAGE,
        )
    if np.all(np.abs(np.array(image.shape) / expected - 1) < 0.02):
        return []
    return [
        Check(
            "problem",
            f"The image has {image.shape[1]:,} × {image.shape[0]:,} px, but Space Ranger saw "
            f"{expected[1]:,.0f} × {expected[0]:,.0f}.",
            _RIGHT_IMAGE,
        )
    ]


def memory_estimate(locations: int, stored: int) -> int:
    """Bytes that the counts of a slide take: one to two a value, four its column, and names."""
    return 6 * stored + 300 * locations


def check_memory(locations: int, stored: int) -> list[Check]:
    """Enough memory for the counts, asked before they are read.

    Raises
    ------
    InputError
        When they exceed the memory of this computer.
    """
    need = memory_estimate(locations, stored)
    have = _physical_memory()
    if have is not None and need > have:
        raise InputError(
            f"The counts need about {need / 1e9:.1f} GB; this computer has {have / 1e9:.1f} GB.",
            "Choose larger bins.",
        )
    if have is not None and need > have / 2:
        return [
            Check("notice", f"The counts need about {need / 1e9:.1f} of {have / 1e9:.1f} GB.",
                  "Choose larger bins if the computer slows down.")
        ]  # fmt: skip
    return []


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
