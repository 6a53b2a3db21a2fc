"""Maps of one gene of a validation: measured where hidden, predicted, error; as layers."""

from __future__ import annotations

from typing import get_args

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QCompleter,
    QGridLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stsr.evaluation import Evaluation
from napari_stsr.viewer.desk import Desk
from napari_stsr.viewer.layers.frames import MapKind
from napari_stsr.viewer.layers.validation import map_frames, mapped_genes
from napari_stsr.viewer.panels.panel import add_row, form, words
from napari_stsr.viewer.panels.theme import finding

_SHOWN: dict[MapKind, tuple[str, str]] = {
    "hidden": (
        "Measured (hidden)",
        "Measured at the places hidden from the method: logs of counts per 10,000",
    ),
    "predicted": ("Predicted", "What the method predicted there without seeing it"),
    "error": ("Error", "Predicted minus measured, in logs of counts per 10,000"),
}


class MapsBox(QWidget):
    """Choose a gene and a method, and look at their maps.

    Parameters
    ----------
    desk : Desk

    Signals
    -------
    looked_at : (str)
        Id of the gene chosen.
    """

    looked_at = Signal(str)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._evaluation: Evaluation | None = None
        self._task = ""
        self._form: str | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        rows = form()
        self.gene, self.method = QComboBox(), QComboBox()
        self.gene.setEditable(True)
        self.gene.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        completer = QCompleter(self.gene.model(), self.gene)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.gene.setCompleter(completer)
        add_row(rows, "Ge&ne", self.gene, tip="Scored genes, best predicted first")
        add_row(rows, "&By", self.method, tip="The method whose prediction is mapped")
        column.addLayout(rows)
        self.said = words(name="gene scores")
        column.addWidget(self.said)
        self._make_buttons(column)
        self.gene.activated.connect(lambda _: self._on_gene())
        self.method.activated.connect(lambda _: self._on_method())

    def _make_buttons(self, column: QVBoxLayout) -> None:
        table = QGridLayout()
        table.setSpacing(2)
        self.kinds: dict[MapKind, QPushButton] = {}
        self._group = QButtonGroup(self)
        for place, kind in enumerate(get_args(MapKind)):
            label, tip = _SHOWN[kind]
            button = QPushButton(label)
            button.setCheckable(True)
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, kind=kind: self.show_maps(kind))
            self._group.addButton(button)
            table.addWidget(button, 0, place)
            self.kinds[kind] = button
        column.addLayout(table)
        self.remove = QPushButton("Remove the maps")
        self.remove.setToolTip("Take their layers off and show what was shown before")
        self.remove.clicked.connect(self.end_maps)
        self.remove.setEnabled(False)
        column.addWidget(self.remove)

    def show_task(self, evaluation: Evaluation | None, task: str, form: str | None) -> None:
        """Offer the genes and methods of a task."""
        self.end_maps()
        self._evaluation, self._task, self._form = evaluation, task, form
        gene = str(self.gene.currentData() or "")
        self.gene.clear()
        self.method.clear()
        if evaluation is None:
            return
        able = [one for one in evaluation.plan.methods if evaluation.scores(task, one.key)]
        for one in able:
            self.method.addItem(one.title, one.key)
        first = evaluation.subject(task) or evaluation.best_baseline(task, form)
        if first is not None:
            self.method.setCurrentIndex(max(0, self.method.findData(first.key)))
        self._offer_genes()
        self._take(gene)

    def _offer_genes(self) -> None:
        evaluation = self._evaluation
        assert evaluation is not None
        key = str(self.method.currentData())
        held = mapped_genes(evaluation, self._task, key)
        table = evaluation.genes(self._task, self._form).sort_values(key, ascending=False)
        self.gene.clear()
        for gene, symbol in table["symbol"].items():
            if gene in held:
                self.gene.addItem(str(symbol), str(gene))
        for button in self.kinds.values():
            button.setEnabled(self.gene.count() > 0)

    @property
    def shown(self) -> bool:
        """Whether maps are among the layers."""
        return self._desk.scene.layer("hidden") is not None

    def choose(self, gene: str) -> None:
        """Choose a gene by id and show its maps."""
        if self._take(gene):
            self._on_gene()
        else:
            name = self._symbol(gene)
            remedy = f"Name {name} under “Always” to keep its map."
            self.said.setText(finding("notice", f"No map of {name} was kept.", remedy))

    def choose_method(self, key: str) -> None:
        """Choose the method that is mapped."""
        at = self.method.findData(key)
        if at >= 0 and at != self.method.currentIndex():
            self.method.setCurrentIndex(at)
            self._on_method()

    def _take(self, gene: str) -> bool:
        at = self.gene.findData(gene)
        if at >= 0:
            self.gene.setCurrentIndex(at)
        self._tell()
        return at >= 0

    def _on_gene(self) -> None:
        self._tell()
        gene = str(self.gene.currentData() or "")
        self.looked_at.emit(gene)
        if gene:
            self.show_maps(self._kind())

    def _on_method(self) -> None:
        gene = str(self.gene.currentData() or "")
        self._offer_genes()
        self._take(gene)
        if self.shown:
            self.show_maps(self._kind())

    def _kind(self) -> MapKind:
        return next((k for k, button in self.kinds.items() if button.isChecked()), "predicted")

    def _symbol(self, gene: str) -> str:
        assert self._evaluation is not None
        table = self._evaluation.genes(self._task, self._form)
        return str(table.loc[gene, "symbol"]) if gene in table.index else gene

    def _tell(self) -> None:
        """Say how well the gene chosen was predicted."""
        evaluation, gene = self._evaluation, str(self.gene.currentData() or "")
        if evaluation is None or not gene:
            self.said.setText("" if self.gene.count() else "No maps were kept.")
            return
        key = str(self.method.currentData())
        row = evaluation.genes(self._task, self._form).loc[gene]
        of = f" of a possible {row['ceiling']:.2f}" if np.isfinite(row["ceiling"]) else ""
        said = f"{row['symbol']}: r {row[key]:.2f}{of}"
        best = evaluation.best_baseline(self._task, self._form)
        if best is not None and best.key != key and np.isfinite(row[best.key]):
            said += f"; {best.title} {row[best.key]:.2f}"
        self.said.setText(said + ".")

    def show_maps(self, kind: MapKind) -> None:
        """Show the maps of the gene chosen, one of them visible."""
        gene, key = str(self.gene.currentData() or ""), str(self.method.currentData())
        if self._evaluation is None or not gene:
            return
        found = map_frames(self._evaluation, self._task, key, gene)
        self._desk.scene.show_maps(found, kind)
        self.kinds[kind].setChecked(True)
        self.remove.setEnabled(True)

    def end_maps(self) -> None:
        """Take the maps off."""
        if self.shown:
            self._desk.scene.end_maps()
        self.remove.setEnabled(False)
        self._group.setExclusive(False)
        for button in self.kinds.values():
            button.setChecked(False)
        self._group.setExclusive(True)
