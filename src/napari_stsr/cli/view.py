"""``napari-stsr view``: the window, with a slide and its enhancement in it."""

from __future__ import annotations

import argparse


def run(options: argparse.Namespace) -> None:
    """Open the window and wait until it is closed."""
    from napari_stsr.viewer.launch import view

    view(options.path, options.result)
