"""How pictures are drawn: percentile limits, one scale or each its own, fading by confidence."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_stsr.viewer.layers.look import Percentiles
from napari_stsr.viewer.panels.kept import keep, kept
from napari_stsr.viewer.panels.panel import add_row, form
from napari_stsr.viewer.panels.parameter_form import FloatBox


class ContrastBox(QWidget):
    """Choices of contrast and fading, kept between starts.

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
        self.faded = QCheckBox("Fade &where uncertain")
        self.faded.setToolTip(
            "Enhanced and denoised pictures keep their colours, but the less certain a place is, "
            "the more shows through: half where the standard deviation is as large as the value"
        )
        self.faded.setChecked(kept("explore/faded", False))
        self.set_fading(False)
        column.addLayout(rows)
        column.addWidget(self.shared)
        column.addWidget(self.faded)
        self.low.valueChanged.connect(self._on_change)
        self.high.valueChanged.connect(self._on_change)
        self.shared.toggled.connect(self._on_change)
        self.faded.toggled.connect(self._on_change)

    def percentiles(self) -> Percentiles:
        """Limits chosen."""
        return Percentiles(self.low.value(), self.high.value())

    def set_fading(self, possible: bool) -> None:
        """Say whether the result in view knows how certain it is."""
        self.faded.setVisible(possible)

    def _on_change(self) -> None:
        keep("explore/percentiles", [self.low.value(), self.high.value()])
        keep("explore/shared", self.shared.isChecked())
        keep("explore/faded", self.faded.isChecked())
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
