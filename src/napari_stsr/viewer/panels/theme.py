"""Colours of the current napari theme, as text for rich labels."""

from __future__ import annotations

import html

import numpy as np
from napari.settings import get_settings
from napari.utils.theme import get_theme
from numpy.typing import NDArray
from qtpy.QtGui import QColor

_MARKS = {"good": "✔", "notice": "▲", "problem": "✖"}
_SAID = {"good": "Fine", "notice": "Notice", "problem": "Problem"}


def color(name: str) -> str:
    """Return a colour of the theme (``"text"``, ``"warning"``, ``"current"`` …) as ``#rrggbb``."""
    theme = get_theme(get_settings().appearance.theme)
    return str(getattr(theme, name).as_hex(format="long"))[:7]


def readable(name: str) -> str:
    """Return a theme colour, moved towards the text colour until it can be read on the panel."""
    shade, text, back = (_channels(color(n)) for n in (name, "text", "background"))
    for part in np.linspace(0.0, 1.0, 11):
        mixed = (1 - part) * shade + part * text
        if _contrast(mixed, back) >= 4.5:
            break
    return str(QColor.fromRgbF(*mixed.tolist()).name())


def _channels(shade: str) -> NDArray[np.float64]:
    return np.array([int(shade[at : at + 2], 16) / 255 for at in (1, 3, 5)])


def _contrast(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Contrast ratio of the web content accessibility guidelines."""
    dark, bright = sorted((_luminance(one), _luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def _luminance(shade: NDArray[np.float64]) -> float:
    linear = np.where(shade <= 0.03928, shade / 12.92, ((shade + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def finding(level: str, sentence: str, remedy: str = "") -> str:
    """Return one finding as rich text: a mark and a word for its level, never colour alone."""
    shade = {"good": readable("text"), "notice": readable("warning"), "problem": readable("error")}
    after = f" {html.escape(remedy)}" if remedy else ""
    word = "" if level == "good" else f"{_SAID[level]}: "
    return (
        f'<span style="color:{shade[level]}">{_MARKS[level]} {word}{html.escape(sentence)}</span>'
        f"{after}"
    )
