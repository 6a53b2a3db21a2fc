"""Every gene as a mark: a method's r against that of the best baseline. A click shows the gene."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_stsr.viewer.panels.score_plot import shade_of
from napari_stsr.viewer.panels.theme import color

_REACH_PX = 9.0


class GenePlot(QWidget):
    """Scatter of genes; discs above the diagonal are ahead, crosses below are not.

    Signals
    -------
    chosen : (str)
        Id of the gene that was clicked.
    """

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(250)
        self.setAccessibleName("r of every gene")
        self._names = ("", "")
        self._gene = ""
        self.table = pd.DataFrame({"symbol": [], "me": [], "other": []})

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Preferred size."""
        return QSize(280, 250)

    def show_genes(self, table: pd.DataFrame, me: str, other: str) -> None:
        """Draw genes: a table with index id and columns symbol, me and other (both r)."""
        self.table, self._names = table, (me, other)
        self.update()

    def mark(self, gene: str) -> None:
        """Ring a gene."""
        self._gene = gene
        self.update()

    def _area(self) -> QRectF:
        """Square in which the genes stand, right of and above the numbers."""
        metrics = self.fontMetrics()
        left, line = metrics.horizontalAdvance("-0.00") + 6.0, float(metrics.height())
        side = min(self.width() - left - 10, self.height() - 3 * line - 14)
        return QRectF(left, line + 6, max(side, 1.0), max(side, 1.0))

    def _span(self) -> tuple[float, float]:
        values = self.table[["me", "other"]].to_numpy(dtype=np.float64)
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        return low, high if high > low else low + 1e-6

    def places(self) -> NDArray[np.float64]:
        """Where the genes stand in the widget, (g, 2) pixels."""
        area, (low, high) = self._area(), self._span()
        share = (self.table[["other", "me"]].to_numpy(dtype=np.float64) - low) / (high - low)
        x = area.left() + 4 + share[:, 0] * (area.width() - 8)
        y = area.bottom() - 4 - share[:, 1] * (area.height() - 8)
        return np.column_stack([x, y])

    def gene_at(self, point: QPointF) -> str:
        """Id of the gene nearest to a point of the widget, "" where none is near."""
        if self.table.empty:
            return ""
        away = np.hypot(*(self.places() - [point.x(), point.y()]).T)
        near = int(np.argmin(away))
        return str(self.table.index[near]) if away[near] <= _REACH_PX else ""

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Choose the gene under the pointer."""
        gene = self.gene_at(event.position())
        if gene:
            self.chosen.emit(gene)

    def event(self, event: QEvent) -> bool:
        """Name the gene under the pointer."""
        if isinstance(event, QHelpEvent):
            gene = self.gene_at(QPointF(event.pos()))
            if not gene:
                QToolTip.hideText()
                return True
            row, (me, other) = self.table.loc[gene], self._names
            said = f"{row['symbol']}: {me} {row['me']:.2f}, {other} {row['other']:.2f}"
            QToolTip.showText(event.globalPos(), said, self)
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Axes with their ends, the diagonal, marks, and the ring of the gene chosen."""
        if self.table.empty:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area, text = self._area(), QColor(color("text"))
        painter.setPen(QPen(QColor(color("highlight"))))
        painter.drawRect(area)
        painter.drawLine(area.bottomLeft(), area.topRight())
        self._write(painter, area, text)
        ahead = (self.table["me"] > self.table["other"]).to_numpy()
        for (x, y), above in zip(self.places(), ahead, strict=True):
            shade = QColor(shade_of("method" if above else "baseline"))
            shade.setAlpha(190)
            if above:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(shade)
                painter.drawEllipse(QPointF(x, y), 2.6, 2.6)
            else:
                painter.setPen(QPen(shade, 1.3))
                painter.drawLine(QPointF(x - 2.4, y - 2.4), QPointF(x + 2.4, y + 2.4))
                painter.drawLine(QPointF(x - 2.4, y + 2.4), QPointF(x + 2.4, y - 2.4))
        self._ring(painter, area, text)

    def _write(self, painter: QPainter, area: QRectF, text: QColor) -> None:
        """Write what the axes are, and their ends."""
        metrics, line = painter.fontMetrics(), painter.fontMetrics().height()
        (low, high), (me, other) = self._span(), self._names
        painter.setPen(text)
        above = QRectF(area.left(), 0, self.width() - area.left(), line + 4)
        said = metrics.elidedText(f"↑ r, {me}", Qt.TextElideMode.ElideRight, int(above.width()))
        painter.drawText(above, Qt.AlignmentFlag.AlignVCenter, said)
        for value, top in ((high, area.top()), (low, area.bottom() - line)):
            place = QRectF(0, top, area.left() - 4, line)
            painter.drawText(place, Qt.AlignmentFlag.AlignRight, f"{value:.2f}")
        below = QRectF(area.left(), area.bottom() + 2, area.width(), line)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, f"{low:.2f}")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{high:.2f}")
        under = QRectF(area.left(), area.bottom() + 2 + line, self.width() - area.left(), line + 2)
        said = metrics.elidedText(f"→ r, {other}", Qt.TextElideMode.ElideRight, int(under.width()))
        painter.drawText(under, Qt.AlignmentFlag.AlignLeft, said)

    def _ring(self, painter: QPainter, area: QRectF, text: QColor) -> None:
        """Ring the gene chosen, and name it on the side where there is room."""
        if self._gene not in self.table.index:
            return
        x, y = self.places()[self.table.index.get_loc(self._gene)]
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(text, 1.6))
        painter.drawEllipse(QPointF(x, y), 6, 6)
        name = str(self.table.loc[self._gene, "symbol"])
        wide = painter.fontMetrics().horizontalAdvance(name)
        room = x + 10 + wide < self.width()
        painter.drawText(QPointF(x + 9 if room else x - 9 - wide, y + 4), name)
