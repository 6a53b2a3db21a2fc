"""``napari-stsr view``: the window, with a slide and its enhancement in it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from napari_stsr.errors import InputError, RunError


def run(options: argparse.Namespace) -> None:
    """Open the window and wait until it is closed."""
    if options.result is not None and not Path(options.result).exists():
        raise InputError(f"There is no result {options.result!r}.")
    lacking = not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if sys.platform.startswith("linux") and lacking:
        # Qt would abort the process.
        raise RunError("There is no display to open a window on.", "Use info or enhance.")

    from napari_stsr.viewer.launch import view

    view(options.path, options.result)
