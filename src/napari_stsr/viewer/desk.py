"""The desk: what one viewer's panels share. The workspace, the layers, the gene in view."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from napari.layers import Shapes
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QApplication, QMainWindow

from napari_stsr.methods import get_method
from napari_stsr.results import Enhancement
from napari_stsr.session import EnhanceJob, EvaluateJob, Job, Model, Plan, Workspace
from napari_stsr.session.field import Field
from napari_stsr.slides import Region, Slide
from napari_stsr.training import Run
from napari_stsr.viewer.background import Background
from napari_stsr.viewer.layers.frames import View
from napari_stsr.viewer.layers.look import OURS
from napari_stsr.viewer.layers.regions import name_shapes, regions_of, roi_layer
from napari_stsr.viewer.preview import InstantPreview
from napari_stsr.viewer.scene import Scene

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_stsr.evaluation import Evaluation, EvaluationPlan, Opening

_DESKS: WeakKeyDictionary[Any, Desk] = WeakKeyDictionary()


class Desk(QObject):
    """Workspace, layers and choices of one viewer, with signals. No widgets.

    Signals
    -------
    opening : (str)
        A slide is being opened, with its path.
    slide_changed : ()
    refused : (Failure)
        A slide could not be opened.
    results_changed : ()
        The list of results, or the one in view, changed.
    job_changed : (Job)
        A job reported or changed its state; in the GUI thread.
    evaluation_changed : ()
        Another evaluation of the slide, or none, is in use.
    regions_changed : ()
    picked : (int)
        A target of the result in view was clicked, -1 for none.
    closing : ()
        All work is to stop.
    """

    opening = Signal(str)
    slide_changed = Signal()
    refused = Signal(object)
    results_changed = Signal()
    job_changed = Signal(object)
    evaluation_changed = Signal()
    regions_changed = Signal()
    picked = Signal(int)
    closing = Signal()
    _job_reported = Signal(object)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.workspace = Workspace()
        self.result: Enhancement | None = None
        self.evaluation: Evaluation | None = None
        self.scene = Scene(viewer, self)
        self._opener = Background(self)
        self._opener.answered.connect(self._opened)
        self._opener.failed.connect(self.refused)
        self.preview = InstantPreview(self)
        self.preview.ready.connect(lambda kernel: self.look(kernel=kernel))
        self.preview.failed.connect(lambda _: self.look(kernel=None))
        self.scene.drawn.connect(self._on_drawn)
        self._job_reported.connect(self._on_job, Qt.ConnectionType.QueuedConnection)
        self._rois: Shapes | None = None
        self._window: QMainWindow | None = None
        self._ended: WeakSet[Job[Any]] = WeakSet()
        self._fields: WeakKeyDictionary[Enhancement, Field] = WeakKeyDictionary()
        viewer.layers.events.inserted.connect(self._on_layer_inserted)
        viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def field(self) -> Field | None:
        """The field behind the result in view, or else the newest there is."""
        newest = next((f for r in self.workspace.results[::-1] if (f := self._fields.get(r))), None)
        return newest if self.result is None else self._fields.get(self.result, newest)

    @property
    def slide(self) -> Slide | None:
        """The slide in use."""
        return self.workspace.slide

    def open(self, read: Callable[[], Slide], path: str) -> None:
        """Open a slide in the background; `slide_changed` or `refused` follows."""
        self.opening.emit(path)

        def prepared() -> Any:
            slide = read()
            return slide, self.scene.prepared(slide)

        self._opener.ask(prepared)

    @property
    def busy(self) -> bool:
        """Whether a slide is being opened."""
        return self._opener.busy

    def _opened(self, answer: Any) -> None:
        slide, layers = answer
        self._use(slide)
        self.scene.show_slide(slide, layers)

    def _use(self, slide: Slide) -> None:
        self.preview.stop()
        self.workspace.slide, self.result = slide, None
        self.workspace.results.clear()
        self.workspace.models.clear()
        slide.counts.prepare_columns()
        self.slide_changed.emit()
        self.show_evaluation(None)
        self.results_changed.emit()

    def _on_drawn(self, view: View) -> None:
        """Start the preview once the slide is on screen: it must not hold up the opening."""
        if view.slide is self.slide and self.preview.slide is not view.slide:
            self.preview.start(view.slide)

    def adopt(self, slide: Slide) -> None:
        """Use a slide already in memory, and show it."""
        self._use(slide)
        self.scene.show_slide(slide, self.scene.prepared(slide))

    def enhance(self, plan: Plan, run: Run, model: Model | None = None) -> EnhanceJob:
        """Queue an enhancement; see `Workspace.enhance`."""
        return self.workspace.enhance(plan, run, self._job_reported.emit, model)

    def evaluate(self, plan: EvaluationPlan, opening: Opening | None = None) -> EvaluateJob:
        """Queue an evaluation; see `Workspace.evaluate`."""
        return self.workspace.evaluate(plan, self._job_reported.emit, opening)

    def _on_job(self, job: Job[Any]) -> None:
        if _DESKS.get(self.viewer) is not self:
            return  # closed; a report that was under way arrives after it
        self.job_changed.emit(job)
        # Reports queued before the end arrive after it: the result is new only once.
        if job.state == "done" and job not in self._ended and job.slide is self.slide:
            self._ended.add(job)
            if isinstance(job, EnhanceJob) and job.model is not None and job.result is not None:
                self._fields[job.result] = self._field_of(job.model, job.run.device)
            (self.show_result if isinstance(job, EnhanceJob) else self.show_evaluation)(job.result)

    def _field_of(self, model: Model, device: str) -> Field:
        """The field of a model: one, however many results it has, as it keeps what it evaluated."""
        for field in self._fields.values():
            if field.fitted is model.fitted:
                return field
        return Field(model.fitted, model.slide, get_method(model.method).title, device=device)

    def show_evaluation(self, evaluation: Evaluation | None) -> None:
        """Use an evaluation of the slide."""
        self.evaluation = evaluation
        self.evaluation_changed.emit()

    def show_result(self, result: Enhancement | None) -> None:
        """Bring a result into view, adding it to the list if it is new."""
        if result is not None and result not in self.workspace.results:
            self.workspace.results.append(result)
        self.result = result
        self.picked.emit(-1)
        view = self.scene.view
        if view is not None:
            gene = view.gene
            if result is not None and gene not in result.genes.ids:
                gene = self.telling_gene(result)
            self.scene.kind = "enhanced" if result is not None else "measured"
            self.look(result=result, gene=gene)
        self.results_changed.emit()

    def look(self, **changes: Any) -> None:
        """Change what is in view: fields of `View`."""
        if self.scene.view is not None:
            self.scene.set_view(replace(self.scene.view, **changes))

    def telling_gene(self, result: Enhancement) -> str:
        """Most abundant gene of a result: something to look at before one is chosen."""
        slide = self.slide
        if slide is None:
            return str(result.genes.ids[0])
        held = np.flatnonzero(np.isin(slide.genes.ids, result.genes.ids))
        if not len(held):
            return str(result.genes.ids[0])
        return str(slide.genes.ids[held[np.argmax(slide.counts.gene_totals[held])]])

    # Regions of interest

    def regions(self) -> list[Region]:
        """Regions drawn in the layer "ROIs", by name."""
        return [] if self._rois is None else regions_of(self._rois)

    def draw_region(self, mode: str = "add_polygon") -> Shapes:
        """Make the ROI layer if there is none, and start drawing in it."""
        if self._rois is None:
            from napari.layers import Layer

            pitch = self.slide.lattice.pitch_um if self.slide is not None else 100.0
            self.viewer.add_layer(Layer.create(*roi_layer(max(pitch, 20.0) / 6)))
        assert self._rois is not None
        self.viewer.layers.selection.active = self._rois
        self._rois.mode = mode
        return self._rois

    def use_pan_zoom(self) -> None:
        """Leave drawing and selecting, so that clicks reach the tissue."""
        active = self.viewer.layers.selection.active
        if active is not None:
            active.mode = "pan_zoom"

    def view_region(self) -> Region:
        """Return the part of the world in view, as a region."""
        camera, (height, width) = self.viewer.scene.camera, self.viewer.canvas.size
        y, x = camera.center[-2:]
        half_y, half_x = height / camera.zoom / 2, width / camera.zoom / 2
        corners = [(x - half_x, y - half_y), (x + half_x, y - half_y),
                   (x + half_x, y + half_y), (x - half_x, y + half_y)]  # fmt: skip
        return Region.from_polygons("current view", [np.array(corners)])

    def _on_layer_inserted(self, event: Any) -> None:
        layer = event.value
        ours = layer.metadata.get(OURS, {})
        if ours.get("kind") == "rois" and self._rois is None:
            self._rois = layer
            layer.events.data.connect(self._on_regions)
            layer.events.features.connect(self._on_region_names)
            self.regions_changed.emit()
        # A slide opened through napari's own menu, a drop or a sample comes along in its layer.
        slide = ours.get("slide")
        if slide is not None and slide is not self.slide:
            self._use(slide)
            self.scene.take_over(slide)
        result = ours.get("result")
        if result is not None and result not in self.workspace.results:
            self.scene.take_over_result(result, layer)
            self.show_result(result)

    def _on_layer_removed(self, event: Any) -> None:
        if event.value is self._rois:
            self._rois = None
            self.regions_changed.emit()

    def _on_regions(self, event: Any) -> None:
        if self._rois is not None and len(self._rois.features) == len(self._rois.data):
            name_shapes(self._rois)
        self.regions_changed.emit()

    def _on_region_names(self, event: Any) -> None:
        self.regions_changed.emit()

    def end_with(self, window: QObject) -> None:
        """Close the desk when this window has closed, or the application quits."""
        if self._window is None and isinstance(window, QMainWindow):
            self._window = window
            window.installEventFilter(self)
            application = QApplication.instance()
            assert application is not None
            application.aboutToQuit.connect(self.close)

    def eventFilter(self, window: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Look again after a close event: the user may be asked, and say no."""
        if event.type() == QEvent.Type.Close:
            QTimer.singleShot(0, self._close_if_gone)
        return False

    def _close_if_gone(self) -> None:
        try:
            gone = self._window is not None and not self._window.isVisible()
        except RuntimeError:  # Qt has deleted the window meanwhile
            gone = True
        if gone:
            self.close()

    def _let_go(self) -> None:
        """Hold the window no longer."""
        application = QApplication.instance()
        if self._window is not None and application is not None:
            application.aboutToQuit.disconnect(self.close)
            with contextlib.suppress(RuntimeError):  # Qt has deleted it already
                self._window.removeEventFilter(self)
        self._window = None

    def close(self) -> None:
        """Stop all work and let go of the viewer."""
        if _DESKS.pop(self.viewer, None) is None:
            return
        self._let_go()
        self.closing.emit()
        self.workspace.close()
        self.preview.close()
        self._opener.close()
        self.scene.close()
        self.viewer.layers.events.inserted.disconnect(self._on_layer_inserted)
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)


def desk_if_open(viewer: Any) -> Desk | None:
    """Return the desk of a viewer if one of its panels made one."""
    return _DESKS.get(getattr(viewer, "__wrapped__", viewer))


def desk_of(viewer: Any) -> Desk:
    """Return the desk of a viewer, made on first use and closed with its window."""
    # napari hands plugins a proxy; all panels must reach the same desk.
    plain = getattr(viewer, "__wrapped__", viewer)
    if plain not in _DESKS:
        _DESKS[plain] = Desk(plain)
    return _DESKS[plain]
