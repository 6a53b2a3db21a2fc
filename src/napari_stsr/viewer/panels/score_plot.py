"""Median r of every method with its interval, and the noise ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_stsr.viewer.panels.theme import color, readable

_RADIUS = 4.0


class ScorePlot(QWidget):
    """One line a method: mark, interval, and a dashed line for the ceiling."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Median r of the methods")
        self.rows: list[Mapping[str, Any]] = []
        self.ceiling = np.nan

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as its methods."""
        return QSize(280, self._height())

    def _height(self) -> int:
        return (len(self.rows) + 3) * self._line() + 4

    def _line(self) -> int:
        return self.fontMetrics().height() + 3

    def show_rows(self, rows: Sequence[Mapping[str, Any]], ceiling: float) -> None:
        """Draw rows of `Evaluation.summary`, best first, and the ceiling (nan for none)."""
        self.rows, self.ceiling = list(rows), ceiling
        self.setFixedHeight(self._height())
        self.update()

    def reach(self) -> tuple[float, float]:
        """Values at the left and right end of the axis."""
        values = [row[f"r_log{end}"] for row in self.rows for end in ("", "_low", "_high")]
        known = np.array([0.0, *values, self.ceiling], dtype=np.float64)
        known = known[np.isfinite(known)]
        low, high = float(known.min()), float(known.max())
        return low, high if high > low else low + 1.0

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Names, intervals, marks, ceiling and the ends of the axis."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics, line = painter.fontMetrics(), self._line()
        text = QColor(color("text"))
        names = max([metrics.horizontalAdvance(str(r["title"])) for r in self.rows], default=0)
        left = min(names + 8, 0.42 * self.width())
        low, high = self.reach()
        # Half of the last number stands outside the axis.
        width = self.width() - left - metrics.horizontalAdvance("0.00") / 2 - 4

        def at(value: float) -> float:
            return float(left + 6 + (value - low) / (high - low) * (width - 12))

        bottom = (len(self.rows) + 1) * line
        painter.setPen(QPen(QColor(color("highlight"))))
        painter.drawLine(QPointF(left, bottom), QPointF(left + width, bottom))
        painter.drawLine(QPointF(at(0), line), QPointF(at(0), bottom))
        if np.isfinite(self.ceiling):
            painter.setPen(QPen(text, 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(at(self.ceiling), line), QPointF(at(self.ceiling), bottom))
            painter.setPen(text)
            place = QRectF(0, 0, min(at(self.ceiling) + 20, self.width()), line)
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(place, right, f"noise ceiling {self.ceiling:.2f}")
        for number, row in enumerate(self.rows):
            y = (number + 1.5) * line
            painter.setPen(text)
            place = QRectF(0, y - line / 2, left - 4, line)
            said = metrics.elidedText(
                str(row["title"]), Qt.TextElideMode.ElideMiddle, int(left - 4)
            )
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, said)
            if np.isfinite(row["r_log"]):
                ends = [at(row[f"r_log{end}"]) for end in ("_low", "", "_high")]
                _mark(painter, ends, y, str(row["family"]))
        painter.setPen(text)
        for value in (low, 0.0, high) if low < 0 else (0.0, high):
            place = QRectF(at(value) - 24, bottom + 1, 48, line)
            painter.drawText(place, Qt.AlignmentFlag.AlignHCenter, f"{value:.2f}".rstrip("0."))
            if value == 0:
                painter.drawText(place, Qt.AlignmentFlag.AlignHCenter, "0")
        below = QRectF(left, bottom + line, width, line)
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, "median r of logs, 95 %")


def _mark(painter: QPainter, ends: Sequence[float], y: float, family: str) -> None:
    """Draw an interval and its mark: disc, square or triangle, as in the list of methods."""
    shade = QColor(shade_of(family))
    low, value, high = ends
    painter.setPen(QPen(shade, 2))
    if np.isfinite(low) and np.isfinite(high):
        painter.drawLine(QPointF(low, y), QPointF(high, y))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(shade)
    middle, r = QPointF(value, y), _RADIUS
    if family == "method":
        painter.drawEllipse(middle, r + 0.5, r + 0.5)
    elif family == "peer":
        ends_ = [(0, -r - 1), (r + 1, r), (-r - 1, r)]
        painter.drawPolygon(QPolygonF([middle + QPointF(x, dy) for x, dy in ends_]))
    else:
        painter.drawRect(QRectF(value - r, y - r, 2 * r, 2 * r))
    painter.setBrush(Qt.BrushStyle.NoBrush)


def shade_of(family: str) -> str:
    """Colour of a family's marks, readable on the theme; its shape tells it as well."""
    return readable("current") if family == "method" else color("text")
