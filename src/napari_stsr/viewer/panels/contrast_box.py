"""Contrast: percentile limits, and one scale for measured and enhanced or each its own."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_stsr.viewer.layers.look import Percentiles
from napari_stsr.viewer.panels.kept import keep, kept
from napari_stsr.viewer.panels.panel import add_row, form
from napari_stsr.viewer.panels.parameter_form import FloatBox


class ContrastBox(QWidget):
    """Choices of contrast, kept between starts.

    Signals
    -------
    changed : ()
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        low, high = kept("explore/percentiles", [0.0, 99.5])
        self.low, self.high = _percent(low, 0.0, 50.0), _percent(high, 50.0, 100.0)
        rows = form()
        tip = "Percentiles shown as the lowest and highest colour"
        add_row(rows, "&Contrast", self.low, self.high, tip=tip)
        self.shared = QCheckBox("One &scale for measured and enhanced")
        self.shared.setToolTip("The same shade is then the same count per area")
        self.shared.setChecked(kept("explore/shared", False))
        column.addLayout(rows)
        column.addWidget(self.shared)
        self.low.valueChanged.connect(self._on_change)
        self.high.valueChanged.connect(self._on_change)
        self.shared.toggled.connect(self._on_change)

    def percentiles(self) -> Percentiles:
        """Limits chosen."""
        return Percentiles(self.low.value(), self.high.value())

    def _on_change(self) -> None:
        keep("explore/percentiles", [self.low.value(), self.high.value()])
        keep("explore/shared", self.shared.isChecked())
        self.changed.emit()


def _percent(value: float, low: float, high: float) -> FloatBox:
    box = FloatBox()
    box.setRange(low, high)
    box.setDecimals(2)
    box.setSingleStep(0.5)
    box.setSuffix(" %")
    box.setValue(value)
    box.setAccessibleName("Percentile")
    return box
