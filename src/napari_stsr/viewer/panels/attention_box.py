"""Attention: head and layer, what the map shows, and the table of sources of a picked target."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_stsr.results import Attention
from napari_stsr.viewer.layers.attention import SourceTable
from napari_stsr.viewer.layers.frames import AttentionMap
from napari_stsr.viewer.panels.panel import add_row, form, words

_MAPS = (
    ("own share", "Own share", "Share of attention that stays on the spot itself"),
    (
        "one-sidedness",
        "One-sidedness",
        "0 when sources lie evenly around a subspot, 1 when all lie in one direction",
    ),
)


class AttentionBox(QWidget):
    """Choices and table for attention.

    Signals
    -------
    changed : ()
        Layer, head or map changed.
    picking : (bool)
        Clicks on the image pick a target from now on, or no longer.
    """

    changed = Signal()
    picking = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        rows = form()
        self.map, self.layer, self.head = QComboBox(), QComboBox(), QComboBox()
        for name, label, tip in _MAPS:
            self.map.addItem(label, name)
            self.map.setItemData(self.map.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        add_row(rows, "Ma&p", self.map, tip="What the attention map shows")
        add_row(rows, "&Layer", self.layer, tip="Layer of the network")
        add_row(rows, "&Head", self.head, tip="Attention head")
        self.pick = QPushButton("Pick a subspot on the image")
        self.pick.setCheckable(True)
        self.pick.setToolTip("Click on the tissue: arrows come from the spots it drew on")
        self.said = words(name="picked")
        self.table = QTableWidget(0, 3)
        self.table.setHorizontalHeaderLabels(["source", "distance", "attention"])
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setMinimumHeight(130)
        self.table.setAccessibleName("Sources of the picked subspot")
        column.addLayout(rows)
        for widget in (self.pick, self.said, self.table):
            column.addWidget(widget)
        for box in (self.map, self.layer, self.head):
            box.currentIndexChanged.connect(self.changed)
        self.pick.toggled.connect(self.picking)

    def show_attention(self, attention: Attention | None) -> None:
        """Offer the layers and heads there are."""
        self.setEnabled(attention is not None)
        for box, many in (
            (self.layer, attention.layers if attention is not None else 0),
            (self.head, attention.heads if attention is not None else 0),
        ):
            box.blockSignals(True)
            box.clear()
            box.addItem("mean of all", None)
            for number in range(many):
                box.addItem(str(number + 1), number)
            box.blockSignals(False)
        if attention is None:
            self.pick.setChecked(False)

    def chosen(self) -> AttentionMap:
        """Map, layer and head chosen."""
        return AttentionMap(
            self.map.currentData(), self.layer.currentData(), self.head.currentData()
        )

    def show_sources(self, table: SourceTable | None, said: str) -> None:
        """Fill the table; None empties it."""
        self.said.setText(said)
        self.table.setRowCount(0 if table is None else len(table.weight))
        if table is None:
            return
        for row in range(len(table.weight)):
            own = " (own)" if table.own[row] else ""
            texts = (
                f"{table.barcodes[row]}{own}",
                f"{table.distance_um[row]:.0f} µm",
                f"{table.weight[row]:.3f}",
            )
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                self.table.setItem(row, column, item)
