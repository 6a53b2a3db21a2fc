"""Which genes to predict: all, variable ones, a pasted or imported list, or the one in view."""

from __future__ import annotations

import re
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stsr.viewer.panels.panel import calm

MANY = 2_000
ALL, VARIABLE = "All genes", f"{MANY:,} most variable"
LISTED, IN_VIEW = "A list …", "Only the gene in view"


class GeneChoice(QWidget):
    """Choose the genes of a run.

    Signals
    -------
    changed : ()
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.which = QComboBox()
        self.which.addItems([ALL, VARIABLE, LISTED, IN_VIEW])
        calm(self.which)
        self.which.setAccessibleName("Genes to predict")
        self.which.currentTextChanged.connect(self._on_which)
        self.list = QPlainTextEdit()
        self.list.setPlaceholderText("Symbols or ids, separated by spaces, commas or lines")
        self.list.setMaximumHeight(64)
        self.list.setTabChangesFocus(True)
        self.list.setAccessibleName("Genes")
        self.list.textChanged.connect(self.changed)
        self.load = QPushButton("Import …")
        self.load.setToolTip("Read genes from a text file, one a line or separated by commas")
        self.load.clicked.connect(self._import)
        self._listing = QWidget()
        row = QHBoxLayout(self._listing)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.list)
        row.addWidget(self.load)
        column.addWidget(self.which)
        column.addWidget(self._listing)
        self._listing.hide()
        self.setFocusProxy(self.which)

    def genes(self, in_view: str | None) -> tuple[str, ...] | int | None:
        """Genes chosen; a number for the most variable ones, None for all.

        Parameters
        ----------
        in_view : str, optional
            Id of the gene in view.
        """
        chosen = self.which.currentText()
        if chosen == VARIABLE:
            return MANY
        if chosen == IN_VIEW:
            return None if in_view is None else (in_view,)
        if chosen == LISTED:
            return named_genes(self.list.toPlainText())
        return None

    def _on_which(self, chosen: str) -> None:
        self._listing.setVisible(chosen == LISTED)
        self.changed.emit()

    def _import(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Import genes", "", "Text (*.txt *.csv *.tsv);;All files (*)"
        )
        if path:
            self.list.setPlainText(Path(path).read_text(encoding="utf-8", errors="replace"))


def named_genes(text: str) -> tuple[str, ...]:
    """Split text into gene names, each once, in order."""
    names = (name.strip("\"'") for name in re.split(r"[\s,;]+", text))
    return tuple(dict.fromkeys(name for name in names if name))
