"""How another process comes by the slide: from its files, or as a copy."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path

from napari_stsr.errors import RunError
from napari_stsr.slides import Slide


@dataclass(frozen=True)
class Opening:
    """Path of a slide, or of a table of single cells, and how it is opened.

    Parameters
    ----------
    path : str
    image : str, optional
    bin_um, um_per_px : float, optional
    """

    path: str
    image: str | None = None
    bin_um: float | None = None
    um_per_px: float | None = None

    def open(self) -> Slide:
        """Open it; raises InputError where there is no slide."""
        from napari_stsr.slides.readers import open_slide_or_cells

        return open_slide_or_cells(self.path, self.image, self.bin_um, self.um_per_px)


@dataclass(frozen=True)
class Copy:
    """A slide that was never in a file, as bytes."""

    pickled: bytes

    def open(self) -> Slide:
        """Unpack it."""
        slide: Slide = pickle.loads(self.pickled)
        return slide


def reopening(slide: Slide, opening: Opening | None = None) -> Opening | Copy:
    """Return how a worker opens this slide: as said, from its path, or as a copy.

    Raises
    ------
    RunError
        When it has no path and cannot be copied.
    """
    if opening is not None:
        image = opening.image and str(Path(opening.image).resolve())
        return replace(opening, path=str(Path(opening.path).resolve()), image=image)
    if slide.source.path and Path(slide.source.path).exists():
        return Opening(str(Path(slide.source.path).resolve()))
    try:
        return Copy(pickle.dumps(slide))
    except Exception as error:
        raise RunError(
            f"{slide.name!r} has no path and cannot be copied to other processes: {error}.",
            "Evaluate it with one job.",
        ) from error
