"""Save the report of a validation, or copy what makes the same one without the window."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stsr.evaluation import (
    Evaluation,
    Opening,
    evaluate_again,
    evaluate_python,
    write_report,
)
from napari_stsr.viewer.background import Background, Failure
from napari_stsr.viewer.panels.kept import keep, kept
from napari_stsr.viewer.panels.panel import words
from napari_stsr.viewer.panels.theme import finding


class ReportBox(QWidget):
    """Writes the report in the background and says where it is."""

    def __init__(self) -> None:
        super().__init__()
        self._evaluation: Evaluation | None = None
        self._writer = Background(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.save = QPushButton("Save re&port …")
        self.save.setToolTip("One HTML file with everything, to read without network")
        self.save.clicked.connect(self._pick)
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self.busy.hide()
        self.said = words(name="report")
        self.said.hide()
        self.copy_python = QPushButton("Copy as Python")
        self.copy_command = QPushButton("Copy as command")
        self.copy_python.clicked.connect(lambda: self._copy("python"))
        self.copy_command.clicked.connect(lambda: self._copy("command"))
        copies = QHBoxLayout()
        for button in (self.copy_python, self.copy_command):
            button.setToolTip("Copy what makes this report without the window")
            button.setMinimumWidth(1)
            copies.addWidget(button)
        for widget in (self.save, self.busy, self.said):
            column.addWidget(widget)
        column.addLayout(copies)
        self._writer.answered.connect(self._on_written)
        self._writer.failed.connect(self._on_failed)

    def show_evaluation(self, evaluation: Evaluation | None) -> None:
        """Offer the report of this evaluation."""
        self._evaluation = evaluation
        self._say("")

    def _pick(self) -> None:
        evaluation = self._evaluation
        if evaluation is None:
            return
        start = str(Path(kept("export/folder", "")) / f"{evaluation.slide['name']}-validation.html")
        path, _ = QFileDialog.getSaveFileName(self, "Save the report", start, "Report (*.html)")
        if path:
            keep("export/folder", str(Path(path).parent))
            self.write(path if path.endswith((".html", ".htm")) else f"{path}.html")

    def write(self, path: str) -> None:
        """Write the report."""
        evaluation = self._evaluation
        if evaluation is None or self._writer.busy:
            return
        self.busy.show()
        self.save.setEnabled(False)
        self._say(f"Writing {Path(path).name} …")

        def work() -> str:
            write_report(evaluation, path)
            return path

        self._writer.ask(work)

    def _on_written(self, path: str) -> None:
        size = Path(path).stat().st_size / 1e6
        self._end(finding("good", f"Written: {path} ({size:.1f} MB)"), "")

    def _on_failed(self, failure: Failure) -> None:
        self._end(finding("problem", failure.message), failure.details)

    def _end(self, said: str, details: str) -> None:
        self.busy.hide()
        self.save.setEnabled(True)
        self._say(said, details)

    def _say(self, said: str, details: str = "") -> None:
        self.said.setText(said)
        self.said.setToolTip(details)
        self.said.setVisible(bool(said))

    def _copy(self, form: Literal["python", "command"]) -> None:
        evaluation = self._evaluation
        if evaluation is None:
            return
        opening = evaluation.opening or Opening(evaluation.slide["path"] or "SLIDE")
        make = evaluate_python if form == "python" else evaluate_again
        QApplication.clipboard().setText(make(evaluation.plan, opening))
        self._say("Copied to the clipboard.")
