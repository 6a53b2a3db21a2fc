"""Models: what was fitted here or lies in a folder, to save, and to predict by without training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stsr.errors import StsrError
from napari_stsr.session import Card, Model, load_model, read_card, save_model
from napari_stsr.session.model_files import SUFFIX
from napari_stsr.session.models import fit_words
from napari_stsr.viewer.background import Background, Failure
from napari_stsr.viewer.desk import Desk
from napari_stsr.viewer.panels.kept import keep, kept
from napari_stsr.viewer.panels.panel import words
from napari_stsr.viewer.panels.theme import finding

_FOLDER = "models/folder"
_FILES = f"Models (*{SUFFIX});;All files (*)"
# Entries seen at once; the list scrolls for more.
_MOST_ROWS = 5


class ModelsBox(QWidget):
    """Lists models and saves, loads and drops them.

    Parameters
    ----------
    desk : Desk

    Signals
    -------
    use : (Model)
        The user wants to predict by this model.
    copy : (str, Model or Card)
        The user wants what *Use* does as ``"python"`` or ``"command"``.
    """

    use = Signal(object)
    copy = Signal(str, object)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._cards: list[Card] = []
        self._worker, self._finder = Background(self), Background(self)
        self._then: Callable[[Any], None] = lambda _: None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.list = QListWidget()
        self.list.setAccessibleName("Models")
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setToolTip("Fitted in this session, and saved in the folder chosen")
        column.addWidget(self.list)
        self._make_buttons(column)
        self._make_copies(column)
        self.said = words(name="models")
        self.said.hide()
        column.addWidget(self.said)
        self.list.currentRowChanged.connect(lambda _: self._offer())
        self.list.itemActivated.connect(lambda _: self._use())
        self._worker.answered.connect(lambda answer: self._then(answer))
        self._worker.failed.connect(self._on_failed)
        self._finder.answered.connect(self._on_found)
        self._finder.failed.connect(self._on_failed)
        desk.slide_changed.connect(self._on_slide)
        self.refresh()
        self._on_slide()

    def _on_slide(self) -> None:
        """Another slide forgets the models in memory; those saved stay in the list."""
        self.look_in(kept(_FOLDER, ""))

    def _make_buttons(self, column: QVBoxLayout) -> None:
        table = QGridLayout()
        table.setSpacing(2)
        made = []
        for place, (label, tip, pressed) in enumerate((
            ("Use", "Predict at the places and for the task chosen above, without training",
             self._use),
            ("S&ave …", "Write the model to a file", self._pick_save),
            ("&Load …", "Add a model from a file", self._pick_load),
            ("&Folder …", "List the models of a folder", self._pick_folder),
            ("Remove", "Take it off the list; a file stays where it is", self._remove),
        )):  # fmt: skip
            button = QPushButton(label)
            button.setToolTip(tip)
            button.setMinimumWidth(1)
            button.clicked.connect(pressed)
            table.addWidget(button, *divmod(place, 3))
            made.append(button)
        self.use_button, self.save_button, self.load_button, _, self.remove_button = made
        column.addLayout(table)

    def _make_copies(self, column: QVBoxLayout) -> None:
        self.copy_python = QPushButton("Copy as Python")
        self.copy_command = QPushButton("Copy as command")
        self.copy_python.clicked.connect(lambda: self._copy("python"))
        self.copy_command.clicked.connect(lambda: self._copy("command"))
        line = QHBoxLayout()
        for button in (self.copy_python, self.copy_command):
            button.setToolTip("Copy what Use does, to repeat it without the window")
            button.setMinimumWidth(1)
            line.addWidget(button)
        column.addLayout(line)

    # The list

    def entries(self) -> list[Model | Card]:
        """Models in memory, oldest first, then files that are not in memory already."""
        models = self._desk.workspace.models
        held = [model.fit for model in models]
        return [*models, *(card for card in self._cards if card.fit not in held)]

    @property
    def chosen(self) -> Model | Card | None:
        """The entry picked, if any."""
        row, entries = self.list.currentRow(), self.entries()
        return entries[row] if 0 <= row < len(entries) else None

    def refresh(self) -> None:
        """Show what there is now; the pick stays with its entry."""
        before = max(self.list.currentRow(), 0)
        self.list.blockSignals(True)
        self.list.clear()
        for entry in self.entries():
            item = QListWidgetItem(_line(entry))
            item.setToolTip(_tip(entry))
            self.list.addItem(item)
        self.list.blockSignals(False)
        rows = min(max(self.list.count(), 1), _MOST_ROWS)
        height = max(self.list.sizeHintForRow(0), self.fontMetrics().lineSpacing())
        self.list.setFixedHeight(rows * height + 2 * self.list.frameWidth())
        self.list.setCurrentRow(min(before, self.list.count() - 1))
        self._offer()

    def _offer(self) -> None:
        entry = self.chosen
        picked = (self.use_button, self.remove_button, self.copy_python, self.copy_command)
        for button in picked:
            button.setEnabled(entry is not None)
        self.save_button.setEnabled(isinstance(entry, Model))

    # Work in the background

    def _start(self, doing: str, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        if self._worker.busy:
            self._say("notice", "Another model is still being read or written.")
            return
        self._then = then
        self._say("", doing)
        self._worker.ask(work)

    def _use(self) -> None:
        entry = self.chosen
        if isinstance(entry, Model):
            self.said.hide()
            self.use.emit(entry)
        elif entry is not None:
            self.load(str(entry.path), then=self.use.emit)

    def _copy(self, form: str) -> None:
        self.copy.emit(form, self.chosen)

    def save(self, model: Model, path: str) -> None:
        """Write a model in the background."""

        def then(_: object) -> None:
            size = Path(path).stat().st_size / 1e6
            self._say("good", f"Written: {path} ({size:.1f} MB)")
            self.look_in(kept(_FOLDER, ""))

        self._start(f"Writing {Path(path).name} …", lambda: save_model(model, path), then)

    def load(self, path: str, then: Callable[[Model], None] | None = None) -> None:
        """Read a model in the background, and add it to the list."""

        def loaded(model: Model) -> None:
            self._desk.workspace.models.append(model)
            self.refresh()
            self.list.setCurrentRow(self._desk.workspace.models.index(model))
            self._say("good", f"Read: {fit_words(model.fit)}")
            if then is not None:
                then(model)

        self._start(f"Reading {Path(path).name} …", lambda: load_model(path), loaded)

    def look_in(self, folder: str) -> None:
        """List the models of a folder, read in the background; other files are passed over."""
        if folder:
            self._finder.ask(lambda: found_in(Path(folder)))

    def _on_found(self, cards: list[Card]) -> None:
        self._cards = cards
        self.refresh()

    def _on_failed(self, failure: Failure) -> None:
        self._say("problem", failure.message)
        self.said.setToolTip(failure.details)

    def _say(self, level: Any, text: str) -> None:
        self.said.setText(finding(level, text) if level else text)
        self.said.setToolTip("")
        self.said.show()

    # Buttons

    def _pick_save(self) -> None:
        model = self.chosen
        if not isinstance(model, Model):
            return
        name = f"{model.slide.name}-{model.method}{SUFFIX}"
        start = str(Path(kept(_FOLDER, "")) / name)
        path, _ = QFileDialog.getSaveFileName(self, "Save the model", start, _FILES)
        if path:
            self.save(model, path if Path(path).suffix else path + SUFFIX)

    def _pick_load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load a model", kept(_FOLDER, ""), _FILES)
        if path:
            self.load(path)

    def _pick_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of models", kept(_FOLDER, ""))
        if folder:
            keep(_FOLDER, folder)
            self.look_in(folder)

    def _remove(self) -> None:
        entry = self.chosen
        if isinstance(entry, Model):
            self._desk.workspace.models.remove(entry)
            # Its file, if it has one, would take its place on the list.
            self._cards = [card for card in self._cards if card.fit != entry.fit]
        elif entry is not None:
            self._cards.remove(entry)
        self.said.hide()
        self.refresh()


def file_of(entry: Model | Card) -> str:
    """File to name for a model: its own, or a name that says it is to be saved first."""
    if isinstance(entry, Card):
        return str(entry.path)
    return str(entry.file.get("file", f"MODEL{SUFFIX}"))


def found_in(folder: Path) -> list[Card]:
    """Read the cards of all models in a folder, newest last."""
    cards = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            cards.append(read_card(path))
        except StsrError:  # another program's file, one half copied, or not ours to read
            continue
    return sorted(cards, key=lambda card: str(card.fit["made"]))


def _line(entry: Model | Card) -> str:
    if isinstance(entry, Card):
        return f"{entry.path.name}: {fit_words(entry.fit)}"
    file = f"{entry.file['file']}: " if entry.file else ""
    return file + fit_words(entry.fit)


def _tip(entry: Model | Card) -> str:
    fit = entry.fit
    lines = [fit_words(fit), f"{fit['slide']['lattice']}", f"Fitted {fit['made']}"]
    if isinstance(entry, Card):
        lines.append(str(entry.path))
    return "\n".join(lines)
