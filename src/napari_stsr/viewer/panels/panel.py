"""What every panel is: a scrolling column over the desk of its viewer."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_stsr.viewer.desk import Desk, desk_of

MIN_WIDTH = 280


class Panel(QScrollArea):
    """Scrolls when the window is low; `column` takes the widgets.

    Parameters
    ----------
    viewer : Viewer
    """

    _docked = False

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.desk: Desk = desk_of(viewer)
        self.body = body = QWidget()
        self.column = QVBoxLayout(body)
        self.column.setContentsMargins(6, 6, 6, 6)
        self.column.setSpacing(6)
        self.setWidget(body)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(MIN_WIDTH)

    def event(self, event: QEvent) -> bool:
        """End with its dock: napari takes a panel that is closed out of it, and keeps no hold."""
        if event.type() == QEvent.Type.ParentChange:
            if self._docked and self.parent() is None:
                # Otherwise what listens to viewer and desk would go on unseen.
                self.deleteLater()
            self._docked = self.parent() is not None
        return bool(super().event(event))

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Learn which window to outlive no longer."""
        super().showEvent(event)
        self.desk.end_with(self.window())
        # Fields must not be cut where the style makes them wider than expected.
        needed = self.body.minimumSizeHint().width() + self.verticalScrollBar().width()
        self.setMinimumWidth(max(MIN_WIDTH, needed))


class Fold(QWidget):
    """A heading that shows or hides what is below it.

    Parameters
    ----------
    title : str
    content : QWidget
    """

    def __init__(self, title: str, content: QWidget) -> None:
        super().__init__()
        self.heading = QToolButton()
        self.heading.setText(title)
        self.heading.setCheckable(True)
        self.heading.setAutoRaise(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.toggled.connect(self._on_toggled)
        self.content = content
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.heading)
        column.addWidget(content)
        self._on_toggled(False)

    def _on_toggled(self, open_: bool) -> None:
        self.heading.setArrowType(Qt.ArrowType.DownArrow if open_ else Qt.ArrowType.RightArrow)
        self.content.setVisible(open_)


def form() -> QFormLayout:
    """Rows of label and field; labels are buddies, fields take the width."""
    rows = QFormLayout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
    return rows


def add_row(
    rows: QFormLayout, label: str, *fields: QWidget, tip: str = "", wide: int = 0
) -> QLabel:
    """Add fields in one row whose label is the first one's buddy (Alt + letter).

    Parameters
    ----------
    rows : QFormLayout
    label : str
    *fields : QWidget
    tip : str
    wide : int
        Which of several fields takes the room that is left.
    """
    named = QLabel(label)
    named.setBuddy(fields[0])
    named.setToolTip(tip)
    for field in fields:
        field.setToolTip(field.toolTip() or tip)
        field.setAccessibleName(field.accessibleName() or label.replace("&", ""))
        calm(field)
    if len(fields) == 1:
        rows.addRow(named, fields[0])
        return named
    line = QHBoxLayout()
    for number, field in enumerate(fields):
        line.addWidget(field, int(number == wide))
    rows.addRow(named, line)
    return named


class _Calm(QObject):
    """Lets the wheel scroll the panel instead of changing a field that has no focus."""

    def eventFilter(self, field: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Pass wheel events on."""
        if event.type() != QEvent.Type.Wheel:
            return False
        assert isinstance(field, QWidget)
        if field.hasFocus():
            return False
        event.ignore()
        return True


def calm(field: QWidget) -> None:
    """Keep the wheel from changing a field the user only scrolls past."""
    if isinstance(field, (QComboBox, QAbstractSpinBox)):
        field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        field.installEventFilter(_Calm(field))
        if isinstance(field, QComboBox):
            # Long entries must not push the panel wider than its dock.
            field.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            field.setMinimumContentsLength(8)


def words(text: str = "", name: str = "") -> QLabel:
    """Text that wraps and can be selected."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setMinimumWidth(1)
    # May shrink below its hint, which is that of a narrow column: the real height is that for the
    # width, and panels would end in empty space otherwise.
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    if name:
        label.setObjectName(name)
    return label
