"""Space Ranger's outs: Visium, Visium HD, and Spatial Transcriptomics in the same layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.slides import checks as look
from napari_stsr.slides.image import Pyramid, image_size, metadata_um_per_px, open_pyramid
from napari_stsr.slides.readers.assemble import assemble, given, place
from napari_stsr.slides.readers.matrix import open_text, read_matrix, stored_size
from napari_stsr.slides.readers.positions import Positions, read_positions
from napari_stsr.slides.readers.recognise import Layout
from napari_stsr.slides.scale import check_isotropy, choose_scale, fiducial_scale, lattice_scale
from napari_stsr.slides.slide import Check, PixelScale, Slide, SlideKind


def open_spaceranger(
    layout: Layout, path: Path, image: Path | None, um_per_px: float | None
) -> Slide:
    """Open the slide of a layout that `recognise` found."""
    assert layout.matrix is not None
    assert layout.positions is not None
    findings = look.check_memory(*matrix_size(layout.matrix))
    if len(layout.bins) > 1:
        sizes = ", ".join(f"{size:g}" for size, _ in layout.bins)
        findings.append(Check("notice", f"Bins of {layout.bin_um:g} µm of {sizes} µm are shown."))
    scalefactors = _scalefactors(layout.scalefactors)
    positions = read_positions(layout.positions)
    kind, scale, found = _scale(layout, scalefactors, positions, um_per_px, image)
    findings += found
    placed = place(read_matrix(layout.matrix), positions, _word(kind))
    if image is not None:
        picture: Pyramid | None = open_pyramid(image, scale.um_per_px)
        findings += _compare(picture, layout, scalefactors)
    else:
        picture = small_picture(layout, scalefactors, scale.um_per_px, placed.coordinates_px)
        findings += _unusual(picture)
    matrix = layout.matrix
    parts = sorted(matrix.iterdir()) if matrix.is_dir() else [matrix]
    others = [layout.scalefactors] if layout.scalefactors else []
    others += [Path(picture.path)] if picture else []
    return assemble(
        layout.name,
        kind,
        placed,
        scale,
        picture,
        counted=[*parts, layout.positions],
        files=others,
        path=path,
        findings=findings,
        image_given=image is not None,
        bin_um=layout.bin_um,
    )


def _word(kind: SlideKind) -> str:
    return "bin" if kind == "visium-hd" else "spot"


def matrix_size(path: Path) -> tuple[int, int]:
    """Locations and stored values of a matrix, for mtx estimated from the size of its files."""
    if path.suffix != ".h5":
        parts = list(path.iterdir()) if path.is_dir() else [path]
        # A value takes about 4 bytes gzipped and 12 plain.
        return 0, sum(p.stat().st_size // (4 if p.suffix == ".gz" else 12) for p in parts)
    try:
        locations, _, stored = stored_size(path)
        return locations, stored
    except (OSError, KeyError) as error:
        raise InputError(
            f"The matrix {str(path)!r} cannot be read: {error}.",
            "The file is incomplete or damaged; copy or download it again.",
        ) from None


def _scalefactors(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    with open_text(path) as stream:
        content = json.load(stream)
    if not isinstance(content, dict):
        raise InputError(f"The scale factors {str(path)!r} are no table of names and numbers.")
    return content


def _scale(
    layout: Layout,
    scalefactors: dict[str, object],
    positions: Positions,
    um_per_px: float | None,
    image: Path | None,
) -> tuple[SlideKind, PixelScale, list[Check]]:
    """Platform and size of a pixel."""
    sources = {
        "user": um_per_px,
        "microns_per_pixel": given(scalefactors, "microns_per_pixel"),
        "image metadata": None if image is None else metadata_um_per_px(image),
    }
    assert positions.array is not None
    bin_um = layout.bin_um or given(scalefactors, "bin_size_um")
    if bin_um is not None:
        if sources["microns_per_pixel"] is None:
            array = lattice_scale(positions.array, positions.px, bin_um)
            sources["spot lattice"] = array[0] if array else None
        return "visium-hd", *choose_scale(sources)
    array = lattice_scale(positions.array, positions.px)
    kind: SlideKind = "st" if array is not None and array[2] == "square" else "visium"
    findings = []
    if array is not None:
        sources["spot lattice"] = array[0]
        findings = check_isotropy(array[1])
    if kind == "visium":
        # The 105 µm are those of Visium's frame; other arrays have other fiducials or none.
        sources["fiducial diameter"] = fiducial_scale(scalefactors)
    scale, found = choose_scale(sources)
    return kind, scale, [*found, *findings]


def small_picture(
    layout: Layout,
    scalefactors: dict[str, object],
    um_per_px: float,
    px: NDArray[np.float64],
) -> Pyramid | None:
    """Open the best picture that Space Ranger left, when its scale is known."""
    pictures = dict(layout.pictures)
    for name in ("hires", "lowres"):
        factor = given(scalefactors, f"tissue_{name}_scalef")
        if name in pictures and factor is not None:
            return open_pyramid(pictures[name], um_per_px / factor, full_resolution=factor > 0.999)
    # Pictures without a factor of their own are as large as hires or as the full image.
    factors = [given(scalefactors, "tissue_hires_scalef"), 1.0]
    for name in ("CytAssist", "aligned", "detected"):
        for factor in factors:
            if name in pictures and factor is not None:
                height, width = image_size(pictures[name])
                if look.inside(px * factor, (height, width)).mean() > 0.99:
                    return open_pyramid(
                        pictures[name], um_per_px / factor, full_resolution=factor > 0.999
                    )
    return None


def _unusual(picture: Pyramid | None) -> list[Check]:
    """Say so when neither the hires nor the lowres picture is shown."""
    name = "" if picture is None else Path(picture.path).name
    if not name or "tissue_hires_image" in name or "tissue_lowres_image" in name:
        return []
    return [Check("notice", f"{name} is shown: there is no other picture.")]


def _compare(
    picture: Pyramid | None, layout: Layout, scalefactors: dict[str, object]
) -> list[Check]:
    """Compare a given image with the small pictures, which tell the size of the true one."""
    pictures = dict(layout.pictures)
    for name in ("hires", "lowres"):
        factor = given(scalefactors, f"tissue_{name}_scalef")
        if picture is not None and name in pictures and factor is not None:
            return look.check_same_picture(picture, image_size(pictures[name]), factor)
    return []
