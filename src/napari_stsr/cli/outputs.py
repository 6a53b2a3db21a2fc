"""Where a verb writes: never over what it reads, and known to work before the work begins."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from napari_stsr.errors import InputError
from napari_stsr.files import check_writable


def check_output(path: str | Path, inputs: Iterable[str | Path | None]) -> None:
    """Refuse an output that would replace an input, or that could not be written later.

    Parameters
    ----------
    path : path
        What is to be written.
    inputs : iterable of path
        Files and folders that are read; None and what does not exist are passed over. A new file
        inside a folder that is read is allowed.

    Raises
    ------
    InputError
        When it is an input, or a file that is there already inside a folder that is read.
    RunError
        When its folder cannot be written.
    """
    place = Path(path).resolve()
    for read in _existing(inputs):
        inside = read.is_dir() and read in place.parents and place.exists()
        if place == read or place in read.parents or inside:
            raise InputError(
                f"{str(path)!r} would replace what is read from {str(read)!r}.",
                "Choose another name for the output.",
            )
    check_writable(Path(path).parent)


def _existing(inputs: Iterable[str | Path | None]) -> Iterable[Path]:
    for one in inputs:
        try:
            if one and Path(one).exists():
                yield Path(one).resolve()
        except OSError:  # a list of genes is no path
            continue
