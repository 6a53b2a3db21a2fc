"""The live curve of training and validation loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_stsr.training import Progress
from napari_stsr.viewer.panels.theme import color

# Colour and line style differ: told apart without colour as well.
_LINES = {
    "training": ("#4fc3f7", Qt.PenStyle.SolidLine),
    "validation": ("#ffca28", Qt.PenStyle.DashLine),
}
_OTHER = ("#ce93d8", Qt.PenStyle.DotLine)


class LossCurve(QWidget):
    """Loss by step, one line a kind of loss, of the stage that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(110)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Loss by step")
        self._lines: dict[str, np.ndarray] = {}
        self._stage = ""

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Preferred size."""
        return QSize(280, 120)

    @property
    def lines(self) -> dict[str, np.ndarray]:
        """Points (step, loss) of every line, each (p, 2)."""
        return self._lines

    def show_history(self, history: Sequence[Progress]) -> None:
        """Draw the reports of the newest stage."""
        self._stage = history[-1].stage if history else ""
        points: dict[str, list[tuple[float, float]]] = {}
        for report in history:
            if report.stage == self._stage:
                for name, loss in report.losses.items():
                    if np.isfinite(loss):
                        points.setdefault(name, []).append((report.step, loss))
        self._lines = {name: np.array(line, dtype=np.float64) for name, line in points.items()}
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Axes, numbers at their ends, lines and legend."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = painter.fontMetrics()
        left, line = metrics.horizontalAdvance("0000.0") + 6, metrics.height()
        area = QRectF(left, line + 4, self.width() - left - 8, self.height() - 2 * line - 10)
        painter.setPen(QPen(QColor(color("highlight"))))
        painter.drawRect(area)
        text = QPen(QColor(color("text")))
        painter.setPen(text)
        if not self._lines:
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, "loss, once a run has begun")
            return
        every = np.concatenate(list(self._lines.values()))
        low, high = every.min(axis=0), every.max(axis=0)
        # Early losses would flatten the rest: the axis ends at the 98th percentile.
        high[1] = max(np.percentile(every[:, 1], 98), low[1] + 1e-9)
        for value, top in ((high[1], area.top()), (low[1], area.bottom() - line)):
            place = QRectF(0, top, left - 4, line)
            painter.drawText(place, Qt.AlignmentFlag.AlignRight, f"{value:.4g}")
        below = QRectF(area.left(), area.bottom() + 2, area.width(), line + 2)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, f"{self._stage}, step {low[0]:g}")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{high[0]:g}")
        span = np.maximum(high - low, 1e-12)
        at = area.left()
        for name, points in self._lines.items():
            shade, style = _LINES.get(name, _OTHER)
            place = (points - low) / span
            x = area.left() + place[:, 0] * area.width()
            y = area.bottom() - np.clip(place[:, 1], 0, 1) * area.height()
            painter.setPen(QPen(QColor(shade), 1.6, style))
            painter.drawPolyline(QPolygonF([QPointF(a, b) for a, b in zip(x, y, strict=True)]))
            painter.drawLine(QPointF(at, line / 2 + 2), QPointF(at + 18, line / 2 + 2))
            painter.setPen(text)
            said = f"{name} {points[-1, 1]:.4g}"
            painter.drawText(QPointF(at + 22, metrics.ascent() + 1), said)
            at += 34 + metrics.horizontalAdvance(said)
