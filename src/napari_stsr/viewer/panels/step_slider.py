"""A distance in µm on a logarithmic slider, with a number box and marks to click."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QSlider, QToolButton, QVBoxLayout, QWidget

from napari_stsr.viewer.panels.panel import add_row, form
from napari_stsr.viewer.panels.parameter_form import FloatBox

COARSE, FINE = 200.0, 2.0
MARKS = (200, 100, 50, 20, 10, 5, 2)
_PLACES = 200


class StepSlider(QWidget):
    """Coarse at the left, fine at the right.

    Parameters
    ----------
    step_um : float
    label : str
        Of the number box, with its mnemonic.
    tip : str

    Signals
    -------
    changed : (float)
        The step in µm.
    """

    changed = Signal(float)

    def __init__(self, step_um: float, label: str, tip: str) -> None:
        super().__init__()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, _PLACES)
        self.slider.setPageStep(_PLACES // 10)
        self.box = FloatBox()
        self.box.setRange(0.5, 1000.0)
        self.box.setDecimals(2)
        self.box.setSuffix(" µm")
        self.box.setStepType(FloatBox.StepType.AdaptiveDecimalStepType)
        # A number on its way to another one is no wish.
        self.box.setKeyboardTracking(False)
        self.slider.setToolTip(tip)
        self.slider.setAccessibleName("Step")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        rows = form()
        add_row(rows, label, self.box, tip=tip)
        column.addLayout(rows)
        column.addWidget(self.slider)
        column.addLayout(self._marks())
        self.set_value(step_um)
        self.slider.valueChanged.connect(self._on_slider)
        self.box.valueChanged.connect(self._on_box)

    def _marks(self) -> QHBoxLayout:
        line = QHBoxLayout()
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(0)
        self.marks: dict[int, QToolButton] = {}
        for mark, after in zip(MARKS, (*MARKS[1:], MARKS[-1]), strict=True):
            button = QToolButton()
            button.setText(str(mark))
            button.setAutoRaise(True)
            button.setMinimumWidth(1)
            button.setToolTip(f"Evaluate the field every {mark} µm")
            button.setAccessibleName(f"{mark} µm")
            button.clicked.connect(lambda _=False, mark=mark: self.box.setValue(mark))
            line.addWidget(button)
            # As far apart as on the slider.
            line.addStretch(_place(after) - _place(mark))
            self.marks[mark] = button
        return line

    def value(self) -> float:
        """Step in µm."""
        return float(self.box.value())

    def set_value(self, step_um: float) -> None:
        """Show a step without reporting it."""
        for part in (self.box, self.slider):
            part.blockSignals(True)
        self.box.setValue(step_um)
        self.slider.setValue(_place(step_um))
        for part in (self.box, self.slider):
            part.blockSignals(False)

    def _on_slider(self, place: int) -> None:
        step = COARSE * (FINE / COARSE) ** (place / _PLACES)
        # Two digits: what is read off, and tiles of few sizes that are found again.
        self.set_value(float(f"{step:.2g}"))
        self.changed.emit(self.value())

    def _on_box(self, step_um: float) -> None:
        self.set_value(step_um)
        self.changed.emit(step_um)


def _place(step_um: float) -> int:
    share = np.log(COARSE / step_um) / np.log(COARSE / FINE)
    return int(np.rint(np.clip(share, 0.0, 1.0) * _PLACES))
