"""The card of a method: what it does, needs and gives, its paper, a preset, its parameters."""

from __future__ import annotations

import html
from typing import Any, cast

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QFont, QStandardItemModel
from qtpy.QtWidgets import QComboBox, QFormLayout, QVBoxLayout, QWidget

from napari_stsr.methods import Method, get_method, method_names
from napari_stsr.methods.base import Family
from napari_stsr.viewer.panels.kept import keep, kept
from napari_stsr.viewer.panels.panel import Fold, add_row, form, words
from napari_stsr.viewer.panels.parameter_form import ParameterForm

_HEADINGS: dict[Family, str] = {
    "method": "Methods",
    "baseline": "Baselines to judge by",
    "peer": "Our implementations of peers",
}
_SAID: dict[Family, str] = {
    "baseline": "<b>A baseline</b>: what a method must beat to be worth its time.",
    "peer": "<b>Ours</b>, after the paper; not the authors' own code.",
}


class MethodCard(QWidget):
    """Choose a method and how to run it; choices are kept between starts.

    Signals
    -------
    changed : ()
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        rows: QFormLayout = form()
        self.method_choice, self.preset_choice = QComboBox(), QComboBox()
        add_row(rows, "&Method", self.method_choice)
        self.text = words(name="card")
        rows.addRow(self.text)
        tip = "Fast to look, Paper as published, Auto to decide"
        add_row(rows, "Pre&set", self.preset_choice, tip=tip)
        self.params = ParameterForm()
        self.folded = Fold("Parameters", self.params)
        column.addLayout(rows)
        column.addWidget(self.folded)
        self._offer_methods()
        self.method_choice.currentIndexChanged.connect(self._on_method)
        self.preset_choice.currentIndexChanged.connect(self._on_preset)
        self.params.changed.connect(self._on_params)
        self._on_method()

    def _offer_methods(self) -> None:
        """List the methods by family, each family under a heading nobody can choose."""
        choice = self.method_choice
        methods = [get_method(name) for name in method_names()]
        for family, heading in _HEADINGS.items():
            members = [method for method in methods if method.family == family]
            if not members:
                continue
            if choice.count():
                choice.insertSeparator(choice.count())
            choice.addItem(heading)
            head = cast(QStandardItemModel, choice.model()).item(choice.count() - 1)
            head.setFlags(Qt.ItemFlag.NoItemFlags)
            head.setData(_bold(choice), Qt.ItemDataRole.FontRole)
            for method in members:
                choice.addItem(method.title, method.name)
        chosen = choice.findData(kept("enhance/method", "square"))
        choice.setCurrentIndex(chosen if chosen >= 0 else choice.findData(methods[0].name))

    @property
    def method(self) -> Method:
        """The method chosen."""
        return get_method(self.method_choice.currentData())

    @property
    def preset(self) -> str:
        """Key of the preset chosen."""
        return str(self.preset_choice.currentData())

    def values(self) -> dict[str, Any]:
        """Parameters that differ from the preset."""
        usual = self.method.parameters(self.preset).as_dict()
        return {name: v for name, v in self.params.values().items() if v != usual[name]}

    def _on_method(self) -> None:
        method = self.method
        keep("enhance/method", method.name)
        self.text.setText(card(method))
        self.preset_choice.blockSignals(True)
        self.preset_choice.clear()
        for name in method.presets:
            self.preset_choice.addItem(name.capitalize(), name)
        chosen = self.preset_choice.findData(kept(f"enhance/{method.name}/preset", "auto"))
        self.preset_choice.setCurrentIndex(max(0, chosen))
        self.preset_choice.blockSignals(False)
        self._on_preset()

    def _on_preset(self) -> None:
        method = self.method
        keep(f"enhance/{method.name}/preset", self.preset)
        chosen = kept_values(method, self.preset)
        self.params.show_params(method.parameters(self.preset, chosen))
        self.changed.emit()

    def _on_params(self) -> None:
        keep(_place(self.method, self.preset), self.values())
        self.changed.emit()

    def reset(self) -> None:
        """Go back to the preset's own parameters."""
        keep(_place(self.method, self.preset), {})
        self._on_preset()


def kept_values(method: Method, preset: str) -> dict[str, Any]:
    """Parameters that the user set on a method's card where they differ from the preset."""
    chosen: dict[str, Any] = kept(_place(method, preset), {})
    try:
        method.parameters(preset, chosen)
    except ValueError:  # kept by another version whose parameters had other names or ranges
        return {}
    return chosen


def _place(method: Method, preset: str) -> str:
    return f"enhance/{method.name}/{preset}/values"


def _bold(widget: QWidget) -> QFont:
    font = widget.font()
    font.setBold(True)
    return font


def card(method: Method) -> str:
    """Summary, needs, gives and paper as rich text."""
    said = [html.escape(method.summary)]
    if method.family in _SAID:
        said.append(_SAID[method.family])
    said.append(
        f"<b>Needs</b> {html.escape(', '.join(method.needs))}. "
        f"<b>Gives</b> {html.escape(', '.join(method.gives))}."
    )
    if method.paper:
        said.append(f"<i>{html.escape(method.paper)}</i>")
    return "<br>".join(said)
