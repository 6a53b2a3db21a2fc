"""What a validation found: the sentence, the table, plots, maps, reasons, and the report."""

from __future__ import annotations

import html

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_stsr.evaluation import Evaluation
from napari_stsr.evaluation.protocols import protocol, protocol_names
from napari_stsr.evaluation.report.plots import against
from napari_stsr.viewer.desk import Desk
from napari_stsr.viewer.panels.gene_plot import GenePlot
from napari_stsr.viewer.panels.maps_box import MapsBox
from napari_stsr.viewer.panels.panel import Fold, add_row, form, words
from napari_stsr.viewer.panels.report_box import ReportBox
from napari_stsr.viewer.panels.score_plot import ScorePlot
from napari_stsr.viewer.panels.score_table import ScoreTable
from napari_stsr.viewer.panels.theme import finding

_FORMS = {
    "predicted": ("Predicted", "The only answer the methods gave"),
    "conserved": ("Conserved", "Made to add up to what was measured"),
    "denoised": (
        "Denoised",
        "The methods' own expectation: it need not add up to what was measured",
    ),
}


class ValidateResult(QWidget):
    """Shows one evaluation.

    Parameters
    ----------
    desk : Desk
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._evaluation: Evaluation | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self._rows = form()
        self.task, self.form = QComboBox(), QComboBox()
        add_row(self._rows, "&Task", self.task, tip="What was asked of the methods")
        tip = "What the answers were made to be"
        add_row(self._rows, "F&orm", self.form, tip=tip)
        self.sentence = words(name="sentence")
        self.in_counts = words(name="in counts")
        self.table, self.scores, self.genes = ScoreTable(), ScorePlot(), GenePlot()
        self.maps = MapsBox(desk)
        self.refused = words(name="refused")
        self.notes = words(name="notes")
        self.noted = Fold("Notes", self.notes)
        self.report = ReportBox()
        column.addWidget(self.sentence)
        column.addLayout(self._rows)
        # Below one another only what has something to say: the panel is narrow and low.
        for widget in (
            self.in_counts, self.table, self.refused, self.scores, self.genes, self.maps,
            self.noted, self.report,
        ):  # fmt: skip
            column.addWidget(widget)
        self.task.currentIndexChanged.connect(self._on_task)
        self.form.currentIndexChanged.connect(self._on_form)
        self.table.chosen.connect(self.maps.choose_method)
        self.genes.chosen.connect(self._on_gene_clicked)
        self.maps.looked_at.connect(self._on_gene)
        self.show_evaluation(None)

    def show_evaluation(self, evaluation: Evaluation | None) -> None:
        """Show an evaluation, or nothing."""
        self._evaluation = evaluation
        self.setVisible(evaluation is not None)
        self.report.show_evaluation(evaluation)
        self.task.blockSignals(True)
        self.task.clear()
        if evaluation is not None:
            for task in evaluation.tasks:
                self.task.addItem(task_title(task), task)
            self.refused.setText(refused(evaluation))
            self.refused.setVisible(bool(self.refused.text()))
        self.task.blockSignals(False)
        self._rows.setRowVisible(0, self.task.count() > 1)
        self._on_task()

    def _on_task(self) -> None:
        evaluation, task = self._evaluation, self.task.currentData()
        self.form.blockSignals(True)
        self.form.clear()
        if evaluation is not None and task is not None:
            for name in evaluation.forms(task):
                label, tip = _FORMS[name]
                self.form.addItem(label, name)
                self.form.setItemData(self.form.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.form.blockSignals(False)
        self._rows.setRowVisible(1, self.form.count() > 1)
        self._on_form()

    def _on_form(self) -> None:
        evaluation, task, form = self._evaluation, self.task.currentData(), self.form.currentData()
        answered = evaluation is not None and task is not None
        for widget in (self.in_counts, self.table, self.scores, self.genes, self.maps, self.noted):
            widget.setVisible(answered)
        if evaluation is None or task is None:
            self.maps.show_task(None, "", None)
            self._say("" if evaluation is None else evaluation.sentence())
            return
        self._say(evaluation.sentence(task, form))
        self.in_counts.setText(evaluation.in_counts(task, form))
        self.in_counts.setVisible(bool(self.in_counts.text()))
        summary = evaluation.summary(task)
        rows = [
            {str(name): value for name, value in row.items()}
            for row in summary[summary["form"] == form].to_dict(orient="records")
        ]
        self.table.show_rows(rows)
        self.scores.show_rows(rows, evaluation.ceiling(task))
        pair = against(evaluation, task, form)
        self.genes.setVisible(pair is not None)
        if pair is not None:
            self.genes.show_genes(*pair)
        self.maps.show_task(evaluation, task, form)
        notes = evaluation.notes(task)
        self.noted.setVisible(bool(notes))
        self.noted.heading.setText(f"Notes ({len(notes)})")
        self.notes.setText("<br>".join(finding("notice", note) for note in notes))

    def _say(self, sentence: str) -> None:
        """Put the sentence large: the theme's style sheet overrules a label's own font."""
        self.sentence.setText(f'<span style="font-size:large">{html.escape(sentence)}</span>')

    def _on_gene_clicked(self, gene: str) -> None:
        self.genes.mark(gene)
        self.maps.choose(gene)

    def _on_gene(self, gene: str) -> None:
        self.genes.mark(gene)
        slide = self._desk.slide
        if slide is not None and gene in slide.genes.ids:
            # Before the maps: the next gene in view would hide them.
            self._desk.look(gene=gene)


def task_title(task: str) -> str:
    """Name a task for people: the protocol's title, and which part of it."""
    names = [name for name in protocol_names() if task.startswith(name)]
    if not names:
        return task
    asked = protocol(max(names, key=len))
    return asked.title + task[len(asked.name) :].replace("-", ", ", 1)


def refused(evaluation: Evaluation) -> str:
    """Say who gave no answer to what, and why, as rich text."""
    lines = []
    # Folds say the same with other numbers: the first one's words stand for all.
    groups = evaluation.refusals().groupby(["protocol", "method", "state"], sort=False)
    for (name, method, state), rows in groups:
        title = evaluation.plan.contender(str(method)).title
        folds = int(rows["folds"].sum())
        said = f"{title}, {task_title(str(name))}, {folds} fold{'s' * (folds != 1)}: {state}."
        level = "notice" if state == "not applicable" else "problem"
        lines.append(finding(level, said, str(rows["words"].iloc[0])))
    return "<br>".join(lines)
