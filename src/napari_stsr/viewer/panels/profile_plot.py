"""Genes at one place: what was predicted there, and what was measured nearest to it."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QBrush, QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_stsr.viewer.field import Profile
from napari_stsr.viewer.panels.score_plot import shade_of
from napari_stsr.viewer.panels.theme import color


class ProfilePlot(QWidget):
    """Two bars a gene with their numbers: filled for predicted, hatched for measured.

    Bars are as long as ``log(1 + counts)``, so that rare genes are seen beside abundant ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Profile of the clicked place")
        self.profile: Profile | None = None
        self._height()

    def _line(self) -> int:
        return self.fontMetrics().height()

    def _height(self) -> None:
        genes = 0 if self.profile is None else len(self.profile.labels)
        self.setFixedHeight((2 * genes + 2) * self._line() + 8 * genes + 8 if genes else 0)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as its genes."""
        return QSize(280, self.height())

    def show_profile(self, profile: Profile | None) -> None:
        """Draw a profile; None empties the plot."""
        self.profile = profile
        self._height()
        self.setAccessibleDescription("" if profile is None else described(profile))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw the legend, then two bars a gene."""
        profile = self.profile
        if profile is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        line, metrics = self._line(), painter.fontMetrics()
        looks = self._looks()
        for number, words in enumerate(("predicted here", f"measured, {profile.barcode}")):
            self._bar(painter, 0.0, number * line, 16.0, looks[number])
            place = QRectF(22.0, number * line, self.width() - 22.0, line)
            said = metrics.elidedText(words, Qt.TextElideMode.ElideRight, int(place.width()))
            self._write(painter, place, said)
        names = max(metrics.horizontalAdvance(label) for label in profile.labels) + 8.0
        left = min(names, 0.35 * self.width())
        room = self.width() - left - metrics.horizontalAdvance("00000.0") - 6
        both = np.stack([profile.predicted, profile.measured])
        longest = max(float(np.log1p(np.nanmax(both))), 1e-6)
        for gene, label in enumerate(profile.labels):
            top = (2 * gene + 2) * line + 8.0 * (gene + 1)
            said = metrics.elidedText(label, Qt.TextElideMode.ElideMiddle, int(left - 4))
            self._write(painter, QRectF(0, top, left, 2 * line), said)
            for number, value in enumerate(both[:, gene]):
                y = top + number * line
                width = max(float(np.log1p(max(value, 0.0))) / longest * room, 1.0)
                self._bar(painter, left, y, width, looks[number])
                text = f"{value:.3g}" if number == 0 else f"{value:g}"
                self._write(painter, QRectF(left + width + 5, y, self.width(), line), text)

    def _looks(self) -> tuple[QBrush, QBrush]:
        """Fill of predicted and of measured bars; they differ in more than their colour."""
        return (
            QBrush(QColor(shade_of("method"))),
            QBrush(QColor(color("text")), Qt.BrushStyle.BDiagPattern),
        )

    def _bar(self, painter: QPainter, x: float, y: float, width: float, look: QBrush) -> None:
        painter.setPen(QPen(look.color(), 1))
        painter.setBrush(look)
        painter.drawRect(QRectF(x + 0.5, y + 3, width, self._line() - 6))

    def _write(self, painter: QPainter, place: QRectF, text: str) -> None:
        painter.setPen(QColor(color("text")))
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, text)


def described(profile: Profile) -> str:
    """Say a profile in words, for those who do not see the plot."""
    pairs = zip(profile.labels, profile.predicted, profile.measured, strict=True)
    return "; ".join(f"{name}: predicted {p:.3g}, measured {m:g}" for name, p, m in pairs)
