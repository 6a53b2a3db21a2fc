"""A list to tick: what cannot be chosen stays visible and says why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QListWidget, QListWidgetItem, QSizePolicy

_KEY = Qt.ItemDataRole.UserRole
_TIP = Qt.ItemDataRole.UserRole + 1


class CheckList(QListWidget):
    """Items with a box each.

    Parameters
    ----------
    items : iterable of (key, text, tip)
    rows : int
        Rows seen at once; the list scrolls for the others.

    Signals
    -------
    changed : ()
    """

    changed = Signal()

    def __init__(self, items: Iterable[tuple[str, str, str]], rows: int) -> None:
        super().__init__()
        self._rows = rows
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setUniformItemSizes(True)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        for key, text, tip in items:
            item = QListWidgetItem(text)
            item.setData(_KEY, key)
            item.setData(_TIP, tip)
            item.setToolTip(f"<p>{tip}</p>")
            item.setCheckState(Qt.CheckState.Unchecked)
            self.addItem(item)
        self.itemChanged.connect(self.changed)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as the rows to be seen at once."""
        rows = min(self._rows, max(1, self.count()))
        # Half a row more tells that there are others below.
        seen = rows + 0.5 if rows < self.count() else rows
        return QSize(200, round(seen * self.sizeHintForRow(0)) + 2 * self.frameWidth())

    def checked(self) -> list[str]:
        """Keys of the items that are ticked and can be chosen, in order."""
        return [
            str(item.data(_KEY))
            for item in self._items()
            if item.checkState() == Qt.CheckState.Checked
            and item.flags() & Qt.ItemFlag.ItemIsEnabled
        ]

    def ticked(self) -> list[str]:
        """Keys of all items that are ticked, those that cannot be chosen now as well."""
        checked = Qt.CheckState.Checked
        return [str(i.data(_KEY)) for i in self._items() if i.checkState() == checked]

    def tick(self, keys: Iterable[str]) -> None:
        """Tick these items alone."""
        wanted = set(keys)
        self.blockSignals(True)
        for item in self._items():
            on = item.data(_KEY) in wanted
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        self.blockSignals(False)
        self.changed.emit()

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Say of some keys why they cannot be chosen; all others can."""
        self.blockSignals(True)
        for item in self._items():
            why = reasons.get(str(item.data(_KEY)), "")
            can = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable
            item.setFlags(Qt.ItemFlag.NoItemFlags if why else can)
            item.setToolTip(f"<p>{item.data(_TIP)}</p>" + (f"<p><b>{why}</b></p>" if why else ""))
        self.blockSignals(False)
        self.changed.emit()

    def item_of(self, key: str) -> QListWidgetItem:
        """Return the item of a key."""
        return next(item for item in self._items() if item.data(_KEY) == key)

    def _items(self) -> list[QListWidgetItem]:
        return [self.item(row) for row in range(self.count())]
