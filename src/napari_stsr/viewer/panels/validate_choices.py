"""What is to be validated: protocols, methods, folds, genes. Kept between starts."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QLineEdit, QSpinBox, QVBoxLayout, QWidget

from napari_stsr.errors import InputError
from napari_stsr.evaluation import Contender, EvaluationPlan
from napari_stsr.evaluation.protocols import protocol, protocol_names
from napari_stsr.methods import Method, get_method, method_names
from napari_stsr.viewer.panels.check_list import CheckList
from napari_stsr.viewer.panels.device_box import DeviceBox
from napari_stsr.viewer.panels.gene_choice import named_genes
from napari_stsr.viewer.panels.kept import keep, kept
from napari_stsr.viewer.panels.method_card import kept_values
from napari_stsr.viewer.panels.panel import add_row, form

MARKS = {"method": "●", "baseline": "■", "peer": "▲"}
FAMILIES = {"method": "Method", "baseline": "Baseline", "peer": "Our version of a peer"}
_USUAL = ["square", "factor_kernel", "poisson_kernel", "kriging", "gene_mean"]


class ValidateChoices(QWidget):
    """The form of a validation.

    Signals
    -------
    changed : ()
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._refused: dict[str, str] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        rows = form()
        self._make_lists()
        tip = "What is hidden from the methods; greyed ones say why not on this slide"
        add_row(rows, "&Hide", self.protocols, tip=tip)
        tip = "● method, ■ baseline, ▲ our version of another published method"
        add_row(rows, "Me&thods", self.methods, tip=tip)
        self.preset = QComboBox()
        # Those of all methods, each once, in their order.
        every = (name for method in method_names() for name in get_method(method).presets)
        for name in dict.fromkeys(every):
            self.preset.addItem(name.capitalize(), name)
        self.preset.setCurrentIndex(max(0, self.preset.findData(kept("validate/preset", "auto"))))
        add_row(
            rows, "Pre&set", self.preset, tip="Of every method that has it; the others take auto"
        )
        self.as_set = QCheckBox("as set in Enhance")
        self.as_set.setChecked(kept("validate/as_set", False))
        tip = "<p>The parameters changed on a method's card, of this preset; else the preset's</p>"
        add_row(rows, "Para&meters", self.as_set, tip=tip)
        self.device = DeviceBox("validate/device")
        add_row(rows, "De&vice", self.device, tip="Automatic takes the fastest there is")
        self.folds = _spin("validate/folds", 5, 1, 50, "", " folds")
        self.seed = _spin("validate/seed", 0, 0, 2_000_000_000, "seed ", "")
        tip = "Parts hidden in turn; same seed, same parts and same figures"
        add_row(rows, "&Folds", self.folds, self.seed, tip=tip)
        self.variable = _spin("validate/variable", 1000, 2, 50_000, "", " most variable")
        self.scored = _spin("validate/scored", 300, 1, 50_000, "", " clearest of them")
        self.variable.setSingleStep(100)
        self.scored.setSingleStep(50)
        add_row(rows, "&Genes", self.variable, tip="The methods learn from these genes alone")
        tip = "<p>Those with the clearest pattern in what the methods see, by Moran's I</p>"
        add_row(rows, "Sc&ore", self.scored, tip=tip)
        self.named = QLineEdit(kept("validate/named", ""))
        self.named.setPlaceholderText("symbols or ids")
        add_row(rows, "Al&ways", self.named, tip="Genes kept and scored whatever their rank")
        column.addLayout(rows)
        for box in (self.folds, self.seed, self.variable, self.scored):
            box.valueChanged.connect(self._on_change)
        for listed in (self.protocols, self.methods):
            listed.changed.connect(self._on_change)
        for choice in (self.preset, self.device):
            choice.currentIndexChanged.connect(self._on_change)
        self.as_set.toggled.connect(self._on_change)
        self.named.editingFinished.connect(self._on_change)

    def _make_lists(self) -> None:
        asked = [protocol(name) for name in protocol_names()]
        self.protocols = CheckList([(one.name, one.title, one.summary) for one in asked], 6)
        self.protocols.tick(kept("validate/protocols", ["hidden-spots"]))
        methods = [get_method(name) for name in method_names()]
        items = [(one.name, f"{MARKS[one.family]} {one.title}", _about(one)) for one in methods]
        self.methods = CheckList(items, 9)
        self.methods.tick(kept("validate/methods", _USUAL))

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Say of some protocols why the slide cannot do them; all others can be chosen."""
        self._refused = {name: why for name, why in reasons.items() if why}
        self.protocols.refuse(self._refused)

    def plan(self) -> EvaluationPlan:
        """What the form asks for.

        Raises
        ------
        InputError
            When nothing is ticked, or numbers do not fit each other.
        """
        refused = [self._refused[name] for name in self.protocols.ticked() if name in self._refused]
        if not self.protocols.checked():
            if refused:
                raise InputError(refused[0])
            raise InputError("Nothing is to be hidden.", "Tick one, such as hidden spots.")
        if not self.methods.checked():
            raise InputError("No method is ticked.", "Tick one, and baselines to judge it by.")
        return EvaluationPlan(
            self.protocols.checked(),
            [self._contender(get_method(name)) for name in self.methods.checked()],
            self.folds.value(),
            named_genes(self.named.text()),
            self.variable.value(),
            self.scored.value(),
            self.seed.value(),
            device=self.device.device,
        )

    def _contender(self, method: Method) -> Contender:
        """Return a method with preset and parameters, named by what is not the usual one."""
        preset = str(self.preset.currentData())
        usual = method.presets.get("auto", {})
        if method.presets.get(preset, usual) == usual:
            preset = "auto"
        values = kept_values(method, preset) if self.as_set.isChecked() else {}
        labels = [preset] * (preset != "auto") + ["as set"] * bool(values)
        return Contender(method.name, preset, values, ", ".join(labels))

    def _on_change(self) -> None:
        keep("validate/protocols", self.protocols.ticked())
        keep("validate/methods", self.methods.ticked())
        keep("validate/preset", self.preset.currentData())
        keep("validate/as_set", self.as_set.isChecked())
        for name in ("folds", "seed", "variable", "scored"):
            keep(f"validate/{name}", getattr(self, name).value())
        keep("validate/named", self.named.text())
        self.changed.emit()


def _about(method: Method) -> str:
    return f"{FAMILIES[method.family]}. {method.summary}"


def _spin(name: str, usual: int, low: int, high: int, prefix: str, suffix: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setPrefix(prefix)
    box.setSuffix(suffix)
    box.setValue(kept(name, usual))
    box.setMinimumWidth(1)
    box.setAccessibleName(f"{prefix}{suffix}".strip().capitalize())
    return box
