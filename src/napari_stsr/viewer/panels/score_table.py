"""The table of scores: a row a method, sorted by number in any column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
)

from napari_stsr.viewer.panels.validate_choices import FAMILIES, MARKS

Row = Mapping[str, Any]
_KEY, _VALUE = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1
_MOST_ROWS = 8
_FORM = ("form", "What the answer was made to be")


@dataclass(frozen=True)
class Column:
    """A heading, the figure it is sorted by, and how it is written; `rare` hides when undefined."""

    heading: str
    figure: str
    write: Callable[[Row], str]
    tip: str
    rare: bool = False


def _number(figure: str, how: str) -> Callable[[Row], str]:
    return lambda row: how.format(row[figure]) if np.isfinite(row[figure]) else "–"


def _interval(row: Row) -> str:
    low, high = row["r_log_low"], row["r_log_high"]
    return f"{low:.2f}…{high:.2f}" if np.isfinite(low) and np.isfinite(high) else "–"


def _seconds(row: Row) -> str:
    return f"{row['seconds']:.3g}" if row["seconds"] >= 0.1 else "< 0.1"


COLUMNS = (
    Column("r", "r_log", _number("r_log", "{:.3f}"), "Median r of logs over genes, mean of folds"),
    Column("95 %", "r_log_low", _interval, "Bootstrap interval of it over the hidden places"),
    Column(
        "raw r", "r_raw", _number("r_raw", "{:.3f}"), "The same in counts instead of their logs"
    ),
    Column(
        "ceiling",
        "r_log_of_ceiling",
        _number("r_log_of_ceiling", "{:.0%}"),
        "Share of what a perfect prediction would reach against a truth this noisy",
        True,
    ),
    Column(
        "RMSE",
        "rmse_sd",
        _number("rmse_sd", "{:.3f}"),
        "Error of logs in standard deviations of the truth; 1 is as bad as the mean",
    ),
    Column(
        "within",
        "within_r",
        _number("within_r", "{:.3f}"),
        "r within spots: does it tell the parts of one spot apart?",
        True,
    ),
    Column("s", "seconds", _seconds, "Seconds of a fit and its predictions"),
)


class ScoreTable(QTableWidget):
    """Methods and their scores on one task.

    Signals
    -------
    chosen : (str)
        Key of the method whose row was chosen.
    """

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__(0, 2 + len(COLUMNS))
        headings = [("method", "● method, ■ baseline, ▲ our version of a peer"), _FORM]
        headings += [(column.heading, column.tip) for column in COLUMNS]
        for place, (heading, tip) in enumerate(headings):
            item = QTableWidgetItem(heading)
            item.setToolTip(f"<p>{tip}. Click to sort.</p>")
            self.setHorizontalHeaderItem(place, item)
        self.verticalHeader().hide()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setWordWrap(False)
        self.setAccessibleName("Scores of the methods")
        header = self.horizontalHeader()
        header.setMinimumSectionSize(24)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.itemSelectionChanged.connect(self._on_selected)

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Fill the table with rows of `Evaluation.summary`, best first."""
        self.blockSignals(True)
        self.setSortingEnabled(False)
        self.setRowCount(len(rows))
        for place, row in enumerate(rows):
            title = f"{MARKS[row['family']]} {row['title']}"
            words = [title, row["answered"], *(column.write(row) for column in COLUMNS)]
            values = [row["title"], row["answered"], *(row[column.figure] for column in COLUMNS)]
            for at, (text, value) in enumerate(zip(words, values, strict=True)):
                item = _Item(text)
                item.setData(_KEY, row["method"])
                item.setData(_VALUE, value)
                item.setToolTip(f"{FAMILIES[row['family']]}: {row['title']}" if at == 0 else text)
                if at > 1:
                    right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    item.setTextAlignment(right)
                self.setItem(place, at, item)
        self.setColumnHidden(1, len({row["answered"] for row in rows}) < 2)
        for at, column in enumerate(COLUMNS, 2):
            known = any(np.isfinite(row[column.figure]) for row in rows)
            self.setColumnHidden(at, column.rare and not known)
        self.horizontalHeader().setSortIndicator(2, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)
        self.blockSignals(False)
        self._fit(len(rows))

    def _fit(self, rows: int) -> None:
        """Give columns the width of their words, and the table the height of its rows."""
        self.resizeColumnsToContents()
        widest = 11 * self.fontMetrics().averageCharWidth() * 2
        self.setColumnWidth(0, min(self.columnWidth(0), widest))
        self.resizeRowsToContents()
        seen = sum(self.rowHeight(row) for row in range(min(rows, _MOST_ROWS)))
        bar = self.horizontalScrollBar().sizeHint().height()
        self.setFixedHeight(self.horizontalHeader().height() + seen + bar + 2 * self.frameWidth())

    def words(self) -> list[list[str]]:
        """Return what is written, row by row as it is sorted."""
        shown = [at for at in range(self.columnCount()) if not self.isColumnHidden(at)]
        model = self.model()
        return [
            [str(model.index(row, at).data()) for at in shown] for row in range(self.rowCount())
        ]

    def _on_selected(self) -> None:
        row = self.currentRow()
        if row >= 0 and self.selectedItems():
            self.chosen.emit(str(self.model().index(row, 0).data(_KEY)))


class _Item(QTableWidgetItem):
    """Sorted by value instead of by its words; an undefined value is the least."""

    def __lt__(self, other: QTableWidgetItem) -> bool:
        mine, theirs = self.data(_VALUE), other.data(_VALUE)
        if isinstance(mine, str):
            return mine < str(theirs)
        least = -np.inf
        return bool(
            (mine if np.isfinite(mine) else least) < (theirs if np.isfinite(theirs) else least)
        )
