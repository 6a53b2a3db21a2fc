"""Run, pause, cancel; progress, curve, what went wrong, and the list of runs."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stsr.results import Enhancement
from napari_stsr.session import Job
from napari_stsr.training import Progress
from napari_stsr.viewer.background import Failure
from napari_stsr.viewer.panels.loss_curve import LossCurve
from napari_stsr.viewer.panels.panel import words
from napari_stsr.viewer.panels.theme import finding

# Runs seen at once; the list scrolls for more.
_MOST_RUNS = 4
_WORDS = {
    "queued": "waits",
    "running": "runs",
    "paused": "paused",
    "done": "done",
    "cancelled": "cancelled",
    "failed": "failed",
}


class RunBox(QWidget):
    """Controls and reports of the runs.

    Parameters
    ----------
    curve : bool
        Whether the runs have one curve of losses to show.

    Signals
    -------
    run : ()
        The user wants to start.
    chosen : (Job)
        A run was picked from the list.
    """

    run = Signal()
    chosen = Signal(object)

    def __init__(self, curve: bool = True) -> None:
        super().__init__()
        self._jobs: list[Job[Any]] = []
        self._details = ""
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.run_button = QPushButton("&Run")
        self.pause_button = QPushButton("&Pause")
        self.cancel_button = QPushButton("&Cancel")
        buttons = QHBoxLayout()
        for button in (self.run_button, self.pause_button, self.cancel_button):
            buttons.addWidget(button)
        self.run_button.clicked.connect(self.run)
        self.pause_button.clicked.connect(self._pause)
        self.cancel_button.clicked.connect(self._cancel)
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.progress.setFormat("")
        self.curve = LossCurve()
        self.curve.setVisible(curve)
        self.message = words(name="message")
        self.message.hide()
        self.details_button = QPushButton("Details …")
        self.details_button.clicked.connect(self._show_details)
        self.details_button.hide()
        self.list = QListWidget()
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setAccessibleName("Runs")
        self.list.setToolTip("Runs, newest last; choose one that is done to see its result")
        self.list.itemActivated.connect(self._choose)
        self.list.itemClicked.connect(self._choose)
        column.addLayout(buttons)
        for widget in (self.progress, self.message, self.details_button, self.curve, self.list):
            column.addWidget(widget)
        self.list.hide()
        self._refresh()

    @property
    def current(self) -> Job[Any] | None:
        """The run in progress, else the next to start, else the newest."""
        for states in (("running", "paused"), ("queued",)):
            for job in self._jobs:
                if job.state in states:
                    return job
        return self._jobs[-1] if self._jobs else None

    def add(self, job: Job[Any]) -> None:
        """Put a run on the list."""
        self._jobs.append(job)
        self.list.addItem(QListWidgetItem("…"))
        rows = min(len(self._jobs), _MOST_RUNS) * self.list.sizeHintForRow(0)
        self.list.setFixedHeight(rows + 2 * self.list.frameWidth())
        self.list.show()
        self.message.hide()
        self.details_button.hide()
        self.update_job(job)

    def update_job(self, job: Job[Any]) -> None:
        """Show the newest state of a run."""
        if job not in self._jobs:
            return
        item = self.list.item(self._jobs.index(job))
        item.setText(line(job))
        item.setToolTip(line(job))
        if job.state == "failed":
            self.say(Failure(job.message, job.details))
        elif job.state == "done" and isinstance(job.result, Enhancement):
            notes = job.result.provenance.get("notes", ())
            if notes:
                self.message.setText("<br>".join(finding("notice", note) for note in notes))
                self.message.show()
        self._refresh()

    def say(self, failure: Failure) -> None:
        """Tell what went wrong, with the remedy."""
        self.message.setText(finding("problem", failure.message))
        self.message.show()
        self._details = failure.details
        self.details_button.setVisible(bool(failure.details))

    def _refresh(self) -> None:
        job = self.current
        active = job is not None and not job.ended
        self.run_button.setText("&Run next" if active else "&Run")
        self.pause_button.setEnabled(active)
        self.cancel_button.setEnabled(active)
        if job is None:
            return
        self.pause_button.setText("&Resume" if job.token.paused else "&Pause")
        report = job.progress
        if job.state == "done":
            self.progress.setValue(1000)
            self.progress.setFormat("done")
        elif report is not None:
            self.progress.setValue(round(1000 * report.fraction))
            said = progress_words(job, report)
            self.progress.setFormat(self._shortened(said, report.stage))
            self.progress.setToolTip(said)
        else:
            self.progress.setValue(0)
            self.progress.setFormat(_WORDS[job.state])
        self.curve.show_history(history_shown(job))

    def _shortened(self, said: str, stage: str) -> str:
        """Cut the name of the stage, so that share and time left stay to be read."""
        metrics = self.progress.fontMetrics()
        room = self.progress.width() - 12 - metrics.horizontalAdvance(said.replace(stage, ""))
        short = metrics.elidedText(stage, Qt.TextElideMode.ElideMiddle, max(room, 0))
        return said.replace(stage, short)

    def _pause(self) -> None:
        job = self.current
        if job is not None:
            (job.resume if job.token.paused else job.pause)()
            self.update_job(job)

    def _cancel(self) -> None:
        job = self.current
        if job is not None:
            job.cancel()
            self.update_job(job)

    def _choose(self, item: QListWidgetItem) -> None:
        self.chosen.emit(self._jobs[self.list.row(item)])

    def _show_details(self) -> None:
        dialog = QDialog(self)
        dialog.setWindowTitle("Details")
        dialog.resize(720, 420)
        text = QPlainTextEdit(self._details)
        text.setReadOnly(True)
        QVBoxLayout(dialog).addWidget(text)
        dialog.open()


def history_shown(job: Job[Any]) -> list[Progress]:
    """Return the reports for the curve: the stage that runs; at the end the last one validated."""
    history = list(job.history)
    validated = [report.stage for report in history if "validation" in report.losses]
    if not (job.ended and validated):
        return history
    return [report for report in history if report.stage == validated[-1]]


def line(job: Job[Any]) -> str:
    """One line about a run: what of which slide, how far."""
    said = _WORDS[job.state]
    if job.state in ("running", "paused") and job.progress is not None:
        said = f"{said}, {job.progress.fraction:.0%}"
    return f"{job.slide.name} · {job.label} — {said}"


def progress_words(job: Job[Any], report: Progress) -> str:
    """Stage, share and time left."""
    if job.state != "running":
        return f"{_WORDS[job.state]} at {report.fraction:.0%}"
    left = ""
    if report.eta_s is not None:
        minutes, seconds = divmod(round(report.eta_s), 60)
        left = f" · {minutes} min {seconds:02d} s left" if minutes else f" · {seconds} s left"
    return f"{report.stage} {round(100 * report.fraction)} %{left}"
