"""The Enhance panel: where, with which method, which genes; then run it and watch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QHBoxLayout,
    QPushButton,
    QSpinBox,
)

from napari_stsr.errors import InputError
from napari_stsr.methods import Estimate
from napari_stsr.session import TASKS, Card, EnhanceJob, Job, Model, united
from napari_stsr.slides import Region, Slide
from napari_stsr.training import Run
from napari_stsr.viewer.background import Background, Failure
from napari_stsr.viewer.panels.device_box import DeviceBox
from napari_stsr.viewer.panels.gene_choice import GeneChoice
from napari_stsr.viewer.panels.kept import keep, kept
from napari_stsr.viewer.panels.method_card import MethodCard
from napari_stsr.viewer.panels.models_box import ModelsBox, file_of
from napari_stsr.viewer.panels.panel import Fold, Panel, add_row, form, words
from napari_stsr.viewer.panels.parameter_form import FloatBox
from napari_stsr.viewer.panels.run_box import RunBox
from napari_stsr.viewer.panels.theme import finding
from napari_stsr.viewer.preview import Aim
from napari_stsr.viewer.request import Preview, Request

_WHOLE, _VIEW, _EVERY = "Whole tissue", "Current view", "Every ROI, one run each"
_GRID = "grid"
_PLACES = "Parts of a spot, or a grid over the tissue"


class EnhancePanel(Panel):
    """Plans runs, starts them and shows how they go.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._estimator, self._submitter = Background(self), Background(self)
        self._make_where()
        self.card = MethodCard()
        self.column.addWidget(self.card)
        self._make_choices()
        self.estimate = words(name="estimate")
        self.column.addWidget(self.estimate)
        self.runs = RunBox()
        self.column.addWidget(self.runs)
        self._make_copies()
        self.models = ModelsBox(self.desk)
        self.column.addWidget(Fold("M&odels", self.models))
        self.column.addStretch(1)
        self._connect()
        self._on_slide()

    def _make_where(self) -> None:
        rows = form()
        self.task = QComboBox()
        for task, told in TASKS.items():
            self.task.addItem(told.title, task)
            self.task.setItemData(self.task.count() - 1, told.help, Qt.ItemDataRole.ToolTipRole)
        add_row(rows, "&Task", self.task, tip="What is asked of the method")
        self.where = QComboBox()
        self.draw = QPushButton("&Draw ROI")
        self.draw.setToolTip("Draw a polygon on the image; double-click ends it")
        tip = "A region learns from itself and two pitches around it"
        add_row(rows, "&Where", self.where, self.draw, tip=tip)
        self.column.addLayout(rows)
        self._fill_where()

    def _make_choices(self) -> None:
        rows = form()
        self.subspots = QComboBox()
        self.step = FloatBox()
        self.step.setRange(0.5, 1000.0)
        self.step.setValue(kept("enhance/grid_um", 25.0))
        self.step.setSuffix(" µm")
        add_row(rows, "S&ubspots", self.subspots, self.step, tip=_PLACES)
        self.genes = GeneChoice()
        tip = "Genes to predict; the method may learn from others"
        add_row(rows, "&Genes", self.genes, tip=tip)
        self.device = DeviceBox("enhance/device")
        add_row(rows, "De&vice", self.device, tip="Automatic takes the fastest there is")
        self.seed = QSpinBox()
        self.seed.setRange(0, 2_000_000_000)
        self.seed.setValue(kept("enhance/seed", 0))
        add_row(rows, "S&eed", self.seed, tip="Same seed, same computer, same result")
        self.column.addLayout(rows)

    def _make_copies(self) -> None:
        self.copy_python = QPushButton("Copy as Python")
        self.copy_command = QPushButton("Copy as command")
        line = QHBoxLayout()
        for button in (self.copy_python, self.copy_command):
            button.setToolTip("Copy what Run does, to repeat it without the window")
            line.addWidget(button)
        self.column.addLayout(line)

    def _connect(self) -> None:
        desk = self.desk
        desk.slide_changed.connect(self._on_slide)
        desk.regions_changed.connect(self._fill_where)
        desk.job_changed.connect(self._on_job)
        self.task.currentIndexChanged.connect(self._on_task)
        self.models.use.connect(self.use)
        self.models.copy.connect(self._copy)
        self.draw.clicked.connect(lambda: desk.draw_region())
        self.where.currentIndexChanged.connect(self._ask_estimate)
        self.card.changed.connect(self._ask_estimate)
        self.subspots.currentIndexChanged.connect(self._on_subspots)
        self.step.valueChanged.connect(self._on_step)
        self.genes.changed.connect(self._ask_estimate)
        self.seed.valueChanged.connect(lambda seed: keep("enhance/seed", seed))
        self.runs.run.connect(self.run)
        self.runs.chosen.connect(self._on_chosen)
        self.copy_python.clicked.connect(lambda: self._copy("python"))
        self.copy_command.clicked.connect(lambda: self._copy("command"))
        self._estimator.answered.connect(self._on_estimate)
        self._estimator.failed.connect(self._on_no_estimate)
        self._submitter.answered.connect(self._on_submitted)
        self._submitter.failed.connect(self._on_refused)

    # The form

    def _on_task(self) -> None:
        free, told = self.task.currentData() == "enhance", TASKS[self.task.currentData()]
        for field in (self.subspots, self.step):
            field.setEnabled(free)
            field.setToolTip(_PLACES if free else f"{told.title} works at the measured locations")
        self.task.setToolTip(told.help)
        self._ask_estimate()

    def _fill_where(self) -> None:
        chosen = self.where.currentText()
        names = [region.name for region in self.desk.regions()]
        self.where.blockSignals(True)
        self.where.clear()
        self.where.addItems([_WHOLE, _VIEW])
        self.where.addItems([f"ROI: {name}" for name in names])
        if len(names) > 1:
            self.where.addItem(_EVERY)
        self.where.setCurrentIndex(max(0, self.where.findText(chosen)))
        self.where.blockSignals(False)
        if self.where.currentText() != chosen:
            self._ask_estimate()

    def regions(self) -> tuple[Region, ...]:
        """Regions chosen; none for the whole tissue."""
        chosen = self.where.currentText()
        if chosen == _WHOLE:
            return ()
        if chosen == _VIEW:
            return (self.desk.view_region(),)
        drawn = self.desk.regions()
        return tuple(r for r in drawn if chosen in (_EVERY, f"ROI: {r.name}"))

    def _on_slide(self) -> None:
        slide = self.desk.slide
        self.models.refresh()
        self.setEnabled(slide is not None)
        self.subspots.blockSignals(True)
        self.subspots.clear()
        if slide is not None:
            for k in slide.lattice.divisions:
                side = round(k**0.5)
                self.subspots.addItem(f"{k} ({side} × {side})" if side**2 == k else f"{k}", k)
            self.subspots.addItem("Grid of", _GRID)
        self.subspots.blockSignals(False)
        self._on_subspots()
        if slide is not None:
            self.device.look()

    def _on_subspots(self) -> None:
        self.step.setVisible(self.subspots.currentData() == _GRID)
        self._ask_estimate()

    def _on_step(self, step: float) -> None:
        keep("enhance/grid_um", step)
        self._ask_estimate()

    def request(self) -> Request:
        """What the form asks for.

        Raises
        ------
        InputError
            When the chosen region is gone.
        """
        regions = self.regions()
        if not regions and self.where.currentText() != _WHOLE:
            raise InputError("No ROI is drawn.", "Draw one, or choose the whole tissue.")
        task = self.task.currentData()
        grid, free = self.subspots.currentData() == _GRID, task == "enhance"
        view = self.desk.scene.view
        return Request(
            self.card.method.name,
            self.card.preset,
            self.card.values(),
            self.genes.genes(None if view is None else view.gene),
            None if grid or not free else self.subspots.currentData(),
            self.step.value() if grid and free else None,
            regions,
            task,
        )

    # Estimate

    def _ask_estimate(self) -> None:
        slide = self.desk.slide
        if slide is None:
            return
        try:
            request = self.request()
        except InputError as error:
            self._on_no_estimate(Failure(str(error), ""))
            return
        regions = request.regions
        outline = united(regions).outline if regions else None
        self.desk.preview.aim(Aim(request.subspots, request.grid_um, outline))
        self._estimator.ask(lambda: [plan.estimate(slide) for plan in request.plans(slide)])

    def _on_estimate(self, estimates: list[Estimate]) -> None:
        runs = f"{len(estimates)} runs, each up to " if len(estimates) > 1 else ""
        longest = max(estimates, key=lambda e: e.seconds)
        self.estimate.setText(f"Estimate: {runs}{longest}")
        self.estimate.setToolTip("")
        self.runs.run_button.setEnabled(True)

    def _on_no_estimate(self, failure: Failure) -> None:
        self.estimate.setText(finding("problem", failure.message))
        self.estimate.setToolTip(failure.details)

    # Running

    def run(self) -> None:
        """Queue what the form asks for."""
        slide, desk = self.desk.slide, self.desk
        if slide is None:
            return
        try:
            request = self.request()
        except InputError as error:
            self.runs.say(Failure(str(error), ""))
            return
        seed, device = self.seed.value(), self.device.device
        gene = None if desk.scene.view is None else desk.scene.view.gene

        def submit() -> list[EnhanceJob]:
            jobs = []
            for plan in request.plans(slide):
                run = Run(seed=seed, device=device)
                run.preview = Preview(plan, slide, run, gene)
                jobs.append(desk.enhance(plan, run))
            return jobs

        self._submit(submit)

    def use(self, model: Model) -> None:
        """Queue a prediction by a model for what the form asks, without training."""
        slide, desk = self.desk.slide, self.desk
        if slide is None:
            return
        try:
            request = self.request().by(model)
        except InputError as error:
            self.runs.say(Failure(str(error), ""))
            return
        run = partial(Run, seed=model.seed, device=self.device.device)
        self._submit(lambda: [desk.enhance(p, run(), model) for p in request.plans(slide)])

    def _submit(self, submit: Callable[[], list[EnhanceJob]]) -> None:
        self.runs.run_button.setEnabled(False)
        self._submitter.ask(submit)

    def _on_submitted(self, jobs: list[EnhanceJob]) -> None:
        self.runs.run_button.setEnabled(True)
        for job in jobs:
            self.runs.add(job)

    def _on_refused(self, failure: Failure) -> None:
        self.runs.run_button.setEnabled(True)
        self.runs.say(failure)

    def _on_job(self, job: Job[Any]) -> None:
        if not isinstance(job, EnhanceJob):
            return
        self.runs.update_job(job)
        if job.ended:
            self.models.refresh()
        scene, preview = self.desk.scene, job.run.preview
        if job.ended:
            scene.end_preview()
        elif isinstance(preview, Preview):
            preview.gene = None if scene.view is None else scene.view.gene
            values = None if job.progress is None else job.progress.preview
            fits = preview.targets is not None and preview.shown is not None
            if values is not None and fits and job.slide is self.desk.slide:
                assert preview.targets is not None
                assert preview.shown is not None
                genes = job.slide.genes
                label = genes.label(genes.column(preview.shown))
                scene.show_preview(label, preview.targets, values)

    def _on_chosen(self, job: EnhanceJob) -> None:
        if job.result is not None and job.slide is self.desk.slide:
            self.desk.show_result(job.result)
        elif job.state == "failed":
            self.runs.say(Failure(job.message, job.details))

    def _copy(self, form: str, entry: Model | Card | None = None) -> None:
        """Copy what Run does, or Use of a model on the list."""
        slide = self.desk.slide
        if slide is None:
            return
        how = opened_with(slide)
        path = slide.source.path or "SLIDE"
        try:
            request = self.request()
            if entry is None:
                how["run"] = Run(seed=self.seed.value(), device=self.device.device)
            else:
                request, how["model"] = request.by(entry), file_of(entry)
            texts = [
                plan.as_python(path, output="enhanced.h5ad", **how)
                if form == "python"
                else plan.as_command(path, "enhanced.h5ad", **how)
                for plan in request.plans(slide)
            ]
        except InputError as error:
            self.runs.say(Failure(str(error), ""))
            return
        QApplication.clipboard().setText("\n".join(texts))
        self.estimate.setText("Copied to the clipboard.")


def opened_with(slide: Slide) -> dict[str, Any]:
    """Return the choices a slide was opened with, as recipes take them."""
    chosen: dict[str, Any] = {}
    if slide.image is not None and slide.image.full_resolution and slide.image.path:
        chosen["image"] = slide.image.path
    if slide.kind == "visium-hd":
        chosen["bin_um"] = slide.diameter_um
    return chosen
