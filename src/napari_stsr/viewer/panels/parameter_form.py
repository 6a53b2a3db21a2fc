"""A form drawn from a method's `Params`: one field each, with range and tooltip."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QLineEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_stsr.methods import Described, Params
from napari_stsr.viewer.panels.panel import Fold, add_row, form

_WHOLE = 2_000_000_000


class FloatBox(QDoubleSpinBox):
    """Shows 0.001 as it is written, not padded with zeros."""

    def textFromValue(self, value: float) -> str:  # noqa: N802 - Qt's name
        """Shortest text of a value."""
        return f"{value:g}"


class ParameterForm(QWidget):
    """Parameters of a method; the rare ones are folded away once more.

    Signals
    -------
    changed : ()
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._fields: dict[str, QWidget] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._body: QWidget | None = None

    def show_params(self, params: Params) -> None:
        """Draw the form anew for a parameter class, filled with its values."""
        if self._body is not None:
            self._column.removeWidget(self._body)
            self._body.deleteLater()
        self._body = QWidget()
        column = QVBoxLayout(self._body)
        column.setContentsMargins(0, 0, 0, 0)
        usual, rare = form(), form()
        self._fields = {}
        for name, kind, described in params.fields():
            field = self._field(kind, described, getattr(params, name))
            self._fields[name] = field
            rows = rare if described.advanced else usual
            add_row(rows, described.label, field, tip=_tip(described))
        column.addLayout(usual)
        if rare.rowCount():
            inside = QWidget()
            inside.setLayout(rare)
            column.addWidget(Fold("Advanced", inside))
        self._column.addWidget(self._body)

    def _field(self, kind: type, described: Described, value: Any) -> QWidget:
        field = make_field(kind, described)
        set_value(field, value)
        if isinstance(field, QCheckBox):
            field.toggled.connect(self.changed)
        elif isinstance(field, QComboBox):
            field.currentIndexChanged.connect(self.changed)
        elif isinstance(field, (QSpinBox, QDoubleSpinBox)):
            field.valueChanged.connect(self.changed)
        elif isinstance(field, QLineEdit):
            field.editingFinished.connect(self.changed)
        return field

    def values(self) -> dict[str, Any]:
        """Value of every field."""
        return {name: value_of(field) for name, field in self._fields.items()}

    def field(self, name: str) -> QWidget:
        """Return the field of one parameter."""
        return self._fields[name]


def make_field(kind: type, described: Described) -> QWidget:
    """Make the field for a type, bounded by the range it is described with."""
    if described.choices is not None:
        box = QComboBox()
        for choice in described.choices:
            box.addItem(str(choice), choice)
        return box
    if kind is bool:
        return QCheckBox()
    if kind is int:
        whole = QSpinBox()
        whole.setRange(
            -_WHOLE if described.low is None else int(described.low),
            _WHOLE if described.high is None else int(described.high),
        )
        whole.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
        return whole
    if kind is float:
        number = FloatBox()
        number.setDecimals(8)
        number.setRange(
            -1e12 if described.low is None else described.low,
            1e12 if described.high is None else described.high,
        )
        number.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
        return number
    return QLineEdit()


def set_value(field: QWidget, value: Any) -> None:
    """Fill a field."""
    if isinstance(field, QCheckBox):
        field.setChecked(bool(value))
    elif isinstance(field, QComboBox):
        field.setCurrentIndex(field.findData(value))
    elif isinstance(field, (QSpinBox, QDoubleSpinBox)):
        field.setValue(value)
    elif isinstance(field, QLineEdit):
        field.setText(str(value))


def value_of(field: QWidget) -> Any:
    """Read a field."""
    if isinstance(field, QCheckBox):
        return field.isChecked()
    if isinstance(field, QComboBox):
        return field.currentData()
    if isinstance(field, (QSpinBox, QDoubleSpinBox)):
        return field.value()
    assert isinstance(field, QLineEdit)
    return field.text()


def _tip(described: Described) -> str:
    """Help and range; a paragraph, so that Qt wraps it."""
    reach = ""
    if described.low is not None and described.high is not None:
        reach = f" Between {described.low:g} and {described.high:g}."
    return f"<p>{described.help}{reach}</p>"
