"""How large a full-resolution pixel is in µm, and how well the sources agree.

The order is that of trust: what Space Ranger measured, then the known geometry of the array, then
the fiducials, then the image file; a value the user gives beats them all.
``spot_diameter_fullres`` is no source: on real slides it stands for 65 or 70 µm, not 55.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.slides.slide import Check, PixelScale

FIDUCIAL_UM = 105.0
_AGREE = 0.02
_ISOTROPIC = 0.01
_ORDER = ("user", "microns_per_pixel", "spot lattice", "fiducial diameter", "image metadata")


def lattice_scale(
    array: NDArray[np.int64], px: NDArray[np.float64], bin_um: float | None = None
) -> tuple[float, float, str] | None:
    """Size of a pixel from the array's geometry.

    Parameters
    ----------
    array : (n, 2) int array
        Array column and row.
    px : (n, 2) float array
        Centres in full-resolution pixels.
    bin_um : float, optional
        Side of a Visium HD bin; without it the array is one of spots.

    Returns
    -------
    um_per_px : float
        Geometric mean over the two axes of the array.
    anisotropy : float
        µm/px along the array's rows over µm/px along its columns.
    array_kind : {"hex", "square"}
        Visium's doubled hexagonal places, or the squares of Spatial Transcriptomics.
        None when the places do not span a plane.
    """
    good = np.isfinite(px).all(axis=1)
    array, px = array[good], px[good]
    if len(px) < 4:
        return None
    design = np.column_stack([array, np.ones(len(px))]).astype(np.float64)
    affine, _, rank, _ = np.linalg.lstsq(design, px, rcond=None)
    per_column, per_row = np.linalg.norm(affine[:2], axis=1)
    if rank < 3 or min(per_column, per_row) <= 0:
        return None
    # A few wrong places must not turn a Visium slide into another platform.
    odd = float(np.mean(array.sum(axis=1) % 2))
    doubled = min(odd, 1 - odd) < 0.1
    kind = "square"
    if bin_um is not None:
        um = np.array([bin_um, bin_um])
    elif doubled and per_row / per_column > 1.4:
        # The 11 mm array is a little denser than the 6.5 mm one (78 rows, 128 columns).
        large = array[:, 1].max() > 77 or array[:, 0].max() > 127
        um = np.array([50.0, 86.5 if large else 87.0])
        kind = "hex"
    else:
        # 200 µm between neighbouring spots; doubled places name only every second one.
        um = np.array([100.0, 100.0]) if doubled else np.array([200.0, 200.0])
    sizes = um / np.array([per_column, per_row])
    return float(np.sqrt(sizes.prod())), float(sizes[0] / sizes[1]), kind


def fiducial_scale(scalefactors: Mapping[str, object]) -> float | None:
    """Size of a pixel from the fiducial spots, 105 µm wide."""
    wide = scalefactors.get("fiducial_diameter_fullres")
    return FIDUCIAL_UM / wide if isinstance(wide, int | float) and wide > 0 else None


def choose_scale(sources: Mapping[str, float | None]) -> tuple[PixelScale, list[Check]]:
    """Take the most trusted size of a pixel and compare the others with it.

    Parameters
    ----------
    sources : mapping
        µm per px by the name of its source (see `PixelScale`); None where it says nothing.

    Raises
    ------
    InputError
        When no source says anything, or the user's value is no length.
    """
    known = {name: sources[name] for name in _ORDER if sources.get(name) is not None}
    values = {name: float(value) for name, value in known.items() if value is not None}
    if not values:
        raise InputError(
            "Nothing says how large a pixel is.", "Give the size of a full-resolution pixel in µm."
        )
    source, chosen = next(iter(values.items()))
    if not (np.isfinite(chosen) and chosen > 0):
        raise InputError(f"A pixel of {chosen} µm cannot be.", "Give a positive length in µm.")
    checks = [
        Check(
            "notice",
            f"The {source} says {chosen:.4g} µm/px, the {other} {value:.4g} "
            f"({100 * (value / chosen - 1):+.0f} %); the {source} is used.",
            "Give the size of a pixel yourself if you know it better.",
        )
        for other, value in values.items()
        if other != source and abs(value / chosen - 1) > _AGREE
    ]
    if not checks:
        checks = [Check("good", f"A pixel is {chosen:.4g} µm ({source}).")]
    return PixelScale(chosen, source), checks


def check_isotropy(anisotropy: float) -> list[Check]:
    """Notice a picture that is stretched along one axis of the array."""
    if abs(anisotropy - 1) <= _ISOTROPIC:
        return []
    return [
        Check(
            "notice",
            f"Pixels are {100 * abs(anisotropy - 1):.1f} % longer along one axis of the array; "
            "their geometric mean is used.",
        )
    ]
