"""One search field over gene symbols and ids; ↑ and ↓ switch the gene live."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stsr.slides import Genes
from napari_stsr.viewer.panels.kept import keep, kept

_MANY, _RECENT = 100, 12
_ID = Qt.ItemDataRole.UserRole


class GeneFinder(QWidget):
    """Finds genes; pinned and recent ones come first while nothing is typed.

    Signals
    -------
    chosen : (str)
        Id of the gene to show; empty for the total counts.
    """

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._genes: Genes | None = None
        self._usual: list[str] = []
        self._note: Callable[[str], str] = lambda gene_id: ""
        self._scores: Mapping[str, str] = {}
        self._recent: list[str] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.field = QLineEdit()
        self.field.setPlaceholderText("Search genes: symbol or id")
        self.field.setAccessibleName("Search genes")
        self.field.setClearButtonEnabled(True)
        self.field.installEventFilter(self)
        self.field.textChanged.connect(self.refresh)
        self.pin = QPushButton("★")
        self.pin.setCheckable(True)
        self.pin.setFixedWidth(30)
        self.pin.setToolTip("Pin the gene in view")
        self.pin.setAccessibleName("Pin the gene in view")
        self.pin.clicked.connect(self._on_pin)
        line = QHBoxLayout()
        line.addWidget(self.field)
        line.addWidget(self.pin)
        self.list = QListWidget()
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setUniformItemSizes(True)
        self.list.setAccessibleName("Genes found")
        self.list.setMinimumHeight(120)
        self.list.currentItemChanged.connect(self._on_current)
        column.addLayout(line)
        column.addWidget(self.list)

    def set_genes(self, genes: Genes | None, usual: list[str]) -> None:
        """Search these genes; `usual` (ids) fill the list while nothing is typed."""
        self._genes, self._usual, self._recent = genes, usual, []
        self.field.clear()
        self.refresh()

    def set_note(self, note: Callable[[str], str]) -> None:
        """Say something beside each gene id, for instance that it was not predicted."""
        self._note = note
        self.refresh()

    def set_scores(self, scores: Mapping[str, str]) -> None:
        """Say beside genes, by id, how well they can be predicted."""
        self._scores = scores
        self.refresh()

    @property
    def gene(self) -> str:
        """Id of the gene chosen; empty for the total counts."""
        item = self.list.currentItem()
        return "" if item is None else str(item.data(_ID))

    def show_gene(self, gene: str) -> None:
        """Mark a gene as chosen without asking for it, adding it to the list if need be."""
        self.list.blockSignals(True)
        item = next((i for i in self._items() if i.data(_ID) == gene), None)
        if item is None and self._genes is not None and gene in self._genes.ids:
            item = self._item(gene)
            self.list.insertItem(1 if not self.field.text() else 0, item)
        if item is not None:
            self.list.setCurrentItem(item)
        self.list.blockSignals(False)
        self.pin.setChecked(gene in kept("explore/pins", []))

    def refresh(self) -> None:
        """Search again; the gene in view stays chosen where it is still listed."""
        chosen = self.gene
        self.list.blockSignals(True)
        self.list.clear()
        for gene in self._listed():
            item = self._item(gene)
            self.list.addItem(item)
            if gene == chosen:
                self.list.setCurrentItem(item)
        self.list.blockSignals(False)

    def _listed(self) -> list[str]:
        if self._genes is None:
            return []
        if self.field.text().strip():
            return [str(i) for i in self._genes.ids[self._genes.search(self.field.text(), _MANY)]]
        pins = [gene for gene in kept("explore/pins", []) if gene in self._genes.ids]
        return ["", *dict.fromkeys([*pins, *self._recent, *self._usual])]

    def _item(self, gene: str) -> QListWidgetItem:
        if not gene or self._genes is None:
            text = "Total counts"
        else:
            symbol = self._genes.label(self._genes.column(gene))
            star = "★ " if gene in kept("explore/pins", []) else ""
            text = f"{star}{symbol}" + (f"   {gene}" if gene != symbol else "")
            text += self._note(gene) + self._scores.get(gene, "")
        item = QListWidgetItem(text)
        item.setData(_ID, gene)
        return item

    def _items(self) -> list[QListWidgetItem]:
        return [self.list.item(row) for row in range(self.list.count())]

    def _on_current(self, item: QListWidgetItem | None) -> None:
        if item is None:
            return
        gene = str(item.data(_ID))
        if gene:
            self._recent = [gene, *(g for g in self._recent if g != gene)][:_RECENT]
        self.pin.setChecked(gene in kept("explore/pins", []))
        self.chosen.emit(gene)

    def _on_pin(self, pinned: bool) -> None:
        gene = self.gene
        pins = [g for g in kept("explore/pins", []) if g != gene]
        if gene and pinned:
            pins.append(gene)
        keep("explore/pins", pins)
        self.pin.setChecked(bool(gene) and pinned)
        self.refresh()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Move through the list with ↑ and ↓ while typing; Enter takes the best match."""
        if watched is self.field and event.type() == QEvent.Type.KeyPress:
            assert isinstance(event, QKeyEvent)
            if event.key() in _STEPS:
                self._step(_STEPS[Qt.Key(event.key())])
                return True
        return super().eventFilter(watched, event)

    def _step(self, step: int) -> None:
        row, last = self.list.currentRow(), self.list.count() - 1
        if last >= 0 and (row < 0 or step):
            self.list.setCurrentRow(int(np.clip(row + (step or 1), 0, last)))


_STEPS = {
    Qt.Key.Key_Up: -1,
    Qt.Key.Key_Down: 1,
    Qt.Key.Key_Return: 0,
    Qt.Key.Key_Enter: 0,
}
