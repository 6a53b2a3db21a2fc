"""The door: recognise what a path holds and open it."""

from __future__ import annotations

from pathlib import Path

from napari_stsr.errors import InputError
from napari_stsr.slides.checks import memory_estimate
from napari_stsr.slides.readers.recognise import recognise
from napari_stsr.slides.slide import Slide


def open_slide(
    path: str | Path,
    image: str | Path | None = None,
    bin_um: float | None = None,
    um_per_px: float | None = None,
) -> Slide:
    """Open a slide, recognised by its content.

    Parameters
    ----------
    path : path
        Space Ranger's ``outs`` (or the folder around it, or a file inside), Visium HD's ``outs``,
        ``binned_outputs`` or ``square_XXXum``, an h5ad, or the tables of Spatial Transcriptomics.
    image : path, optional
        Full-resolution histology: the file that was passed to Space Ranger.
    bin_um : float, optional
        Side of a Visium HD bin; the default is 8 µm or the size closest to it.
    um_per_px : float, optional
        Size of a full-resolution pixel, when the slide does not tell or tells wrongly.

    Raises
    ------
    InputError
        When the path holds no slide or the slide cannot be used; the message says what is wrong.
    """
    path = Path(path)
    layout = recognise(path, bin_um)
    picture = None if image is None else Path(image)
    if picture is not None and not picture.is_file():
        raise InputError(f"There is no image {str(picture)!r}.", "Check the path.")
    if layout.format == "h5ad":
        from napari_stsr.slides.readers.h5ad import open_h5ad

        return open_h5ad(layout, path, picture, um_per_px)
    if layout.format == "legacy":
        from napari_stsr.slides.readers.legacy import open_legacy

        return open_legacy(layout.folder, layout.name, path, picture, um_per_px)
    from napari_stsr.slides.readers.spaceranger import open_spaceranger

    return open_spaceranger(layout, path, picture, um_per_px)


def bins_available(path: str | Path) -> list[tuple[float, int]]:
    """Bin sizes (µm) of a Visium HD slide and the bytes its counts would take; else empty.

    Raises
    ------
    InputError
        When the path holds no slide.
    """
    from napari_stsr.slides.readers.recognise import bin_matrix
    from napari_stsr.slides.readers.spaceranger import matrix_size

    layout = recognise(Path(path))
    sizes = []
    for size, folder in layout.bins:
        matrix = bin_matrix(folder)
        if matrix is not None:
            sizes.append((size, memory_estimate(*matrix_size(matrix))))
    return sizes
