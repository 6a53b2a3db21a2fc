"""The card of a method: what it does, needs and gives, its paper, a preset, its parameters."""

from __future__ import annotations

import html
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QVBoxLayout, QWidget

from napari_stsr.methods import Method, get_method, method_names
from napari_stsr.viewer.panels.kept import keep, kept
from napari_stsr.viewer.panels.panel import Fold, add_row, form, words
from napari_stsr.viewer.panels.parameter_form import ParameterForm

_PRESETS = {"fast": "Fast", "paper": "Paper", "auto": "Auto"}


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
        for name in method_names():
            self.method_choice.addItem(get_method(name).title, name)
        self.method_choice.setCurrentIndex(
            max(0, self.method_choice.findData(kept("enhance/method", "square")))
        )
        self.method_choice.currentIndexChanged.connect(self._on_method)
        self.preset_choice.currentIndexChanged.connect(self._on_preset)
        self.params.changed.connect(self._on_params)
        self._on_method()

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
            self.preset_choice.addItem(_PRESETS.get(name, name.capitalize()), name)
        chosen = self.preset_choice.findData(kept(f"enhance/{method.name}/preset", "auto"))
        self.preset_choice.setCurrentIndex(max(0, chosen))
        self.preset_choice.blockSignals(False)
        self._on_preset()

    def _on_preset(self) -> None:
        method = self.method
        keep(f"enhance/{method.name}/preset", self.preset)
        params = method.parameters(self.preset)
        try:
            params = params.changed(kept(self._place(), {}))
        except ValueError:  # kept by another version whose parameters had other names or ranges
            keep(self._place(), {})
        self.params.show_params(params)
        self.changed.emit()

    def _on_params(self) -> None:
        keep(self._place(), self.values())
        self.changed.emit()

    def reset(self) -> None:
        """Go back to the preset's own parameters."""
        keep(self._place(), {})
        self._on_preset()

    def _place(self) -> str:
        return f"enhance/{self.method.name}/{self.preset}/values"


def card(method: Method) -> str:
    """Summary, needs, gives and paper as rich text."""
    said = [html.escape(method.summary)]
    said.append(
        f"<b>Needs</b> {html.escape(', '.join(method.needs))}. "
        f"<b>Gives</b> {html.escape(', '.join(method.gives))}."
    )
    if method.paper:
        said.append(f"<i>{html.escape(method.paper)}</i>")
    return "<br>".join(said)
