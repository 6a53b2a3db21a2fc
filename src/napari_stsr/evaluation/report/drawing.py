"""Figures as SVG that takes its colours from the page, so that light and dark both read well."""

from __future__ import annotations

import html
import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that nobody sees: each is replaced by a colour of the page.
INK, MUTED, FAINT, ME, OTHER = "#010101", "#020202", "#030303", "#040404", "#050505"
_OF_PAGE = {INK: "--ink", MUTED: "--muted", FAINT: "--faint", ME: "--me", OTHER: "--other"}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return an empty figure of the page's look, in inches, with axes side by side."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        made = Figure(figsize=(width, height), layout="constrained")
        axes = made.subplots(1, columns, squeeze=False)[0]
    return made, list(axes)


def svg(made: Figure, label: str) -> str:
    """Return a figure as SVG to put into a page, with words for those who do not see it."""
    import matplotlib

    held = io.StringIO()
    # A salt of its own keeps the ids of several figures on one page apart, and the file the same.
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": label}):
        made.savefig(held, format="svg", transparent=True, metadata={"Date": None})
    text = held.getvalue()
    text = text[text.index("<svg") :]
    for colour, name in _OF_PAGE.items():
        text = text.replace(colour, f"var({name})")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    title = f"<title>{html.escape(label)}</title>"
    text = re.sub(r'(<svg [^>]*?)width="[^"]*"', r'\1role="img"', text, count=1)
    text = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", text, count=1)
    return re.sub(r"(<svg [^>]*>)", lambda m: m.group(1) + title, text, count=1)
