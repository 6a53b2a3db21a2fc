"""The continuous field: its resolution, where it is evaluated, and profiles of single places."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any
from weakref import WeakMethod

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QComboBox, QPushButton, QVBoxLayout, QWidget

from napari_stsr.session.field import Field
from napari_stsr.slides import Region
from napari_stsr.viewer.background import Background, Failure
from napari_stsr.viewer.clicks import clicked
from napari_stsr.viewer.desk import Desk
from napari_stsr.viewer.field import FieldPainter, FieldWish, Painted, Profile
from napari_stsr.viewer.panels.kept import keep, kept
from napari_stsr.viewer.panels.panel import add_row, form, words
from napari_stsr.viewer.panels.profile_plot import ProfilePlot
from napari_stsr.viewer.panels.step_slider import StepSlider
from napari_stsr.viewer.panels.theme import finding

_SETTLED_MS = 150
_MOST_GENES = 12
_VIEW, _TISSUE = "Current view", "Whole tissue"
_STEP_TIP = (
    "Distance of the places the field is evaluated at. Values are expected counts of a whole "
    "location centred at a place: they do not depend on the resolution, and do not add up to what "
    "was measured"
)


class FieldBox(QWidget):
    """Shows the field of a fit at any resolution without training again.

    Parameters
    ----------
    desk : Desk

    Signals
    -------
    wanted : ()
        The field is to be shown instead of what is.
    profiling : (bool)
        Clicks on the image ask for a profile from now on, or no longer.
    """

    wanted = Signal()
    profiling = Signal(bool)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._field: Field | None = None
        self._painted: Painted | None = None
        self._place: NDArray[np.float64] | None = None
        self._left_out = ""
        self._painter = FieldPainter(self)
        self._profiler = Background(self)
        self._make()
        # The view moves many times a second; the field follows when it rests.
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_SETTLED_MS)
        self._connect()
        self._on_regions()
        self.use(desk.field)

    def _make(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.step = StepSlider(kept("explore/field step", 50.0), "Fiel&d every", _STEP_TIP)
        column.addWidget(self.step)
        rows = form()
        self.where = QComboBox()
        add_row(rows, "&In", self.where, tip="Where the field is evaluated")
        column.addLayout(rows)
        self.said = words(name="field")
        self.profile = QPushButton("Profile: clic&k on the image")
        self.profile.setCheckable(True)
        self.profile.setToolTip(
            "Click anywhere: expected counts of the pinned genes (★) at that place, beside what "
            "the nearest location measured"
        )
        self.plot = ProfilePlot()
        self.profile_said = words(name="profile")
        for widget in (self.said, self.profile, self.profile_said, self.plot):
            column.addWidget(widget)
        self._tell("")

    def _connect(self) -> None:
        desk = self._desk
        self._painter.painted.connect(self._on_painted)
        self._painter.failed.connect(self._on_failed)
        self._profiler.answered.connect(self._on_profile)
        self._profiler.failed.connect(self._on_no_profile)
        self._rest.timeout.connect(self.refresh)
        self.step.changed.connect(self._on_step)
        self.where.activated.connect(self._on_where)
        self.profile.toggled.connect(self._on_profiling)
        desk.results_changed.connect(self._on_results)
        desk.regions_changed.connect(self._on_regions)
        desk.scene.drawn.connect(self._on_drawn)
        desk.closing.connect(self._on_closing)
        events = desk.viewer.scene.camera.events
        events.center.connect(self._on_camera)
        events.zoom.connect(self._on_camera)
        self.destroyed.connect(partial(_unfollow, events, WeakMethod(self._on_camera)))

    def _on_closing(self) -> None:
        self._rest.stop()
        self._painter.close()
        self._profiler.close()

    # What is shown

    def use(self, field: Field | None) -> None:
        """Show this field from now on; None for none."""
        if field is self._field and field is not None:
            return
        self._painter.stop()
        self._profiler.forget()
        self._field, self._painted, self._place = field, None, None
        self._desk.scene.end_field()
        self.profile.setChecked(False)
        self.plot.show_profile(None)
        self._tell("")
        if field is not None:
            self.said.setText(f"Learned by {field.title}.")
            self._painter.prepare(field)

    @property
    def shown(self) -> bool:
        """Whether the field is what the canvas is to show."""
        return self._desk.scene.kind == "field"

    def start(self) -> None:
        """Show the field."""
        view = self._desk.scene.view
        if self._field is None or view is None:
            return
        # What is on screen stays until the first picture comes.
        self._desk.scene.kind = "field"
        if self._desk.scene.layer("field") is not None:
            self._desk.scene.show_kind("field")
        if view.gene is None:
            # Drawing it asks for its field as well.
            ids, result = self._field.genes.ids, self._desk.result
            self._desk.look(gene=str(ids[0]) if result is None else self._desk.telling_gene(result))
        else:
            self.refresh()

    def refresh(self) -> None:
        """Evaluate what is wished for now, if the field is what is shown."""
        view = self._desk.scene.view
        if self._field is None or view is None or not self.shown:
            self._painter.stop()
            return
        if view.gene is None:
            self._desk.scene.end_field()
            self.said.setText("The field is shown gene by gene: choose one.")
            return
        limits = None
        if view.shared and "measured" in self._desk.scene.frames:
            limits = self._desk.scene.frames["measured"].limits
        wish = FieldWish(
            view.gene,
            view.label,
            self.step.value(),
            view.contrast,
            self._desk.view_region().bounds() if self.where.currentData() == _VIEW else None,
            self._region(),
            limits,
        )
        self._painter.show(self._field, wish)

    def _region(self) -> Region | None:
        name = self.where.currentData()
        return next((one for one in self._desk.regions() if one.name == name), None)

    def sentence(self, point: NDArray[np.float64]) -> str:
        """Say the value of the picture shown at (x, y) in µm; empty where there is none."""
        if self._painted is None or not self.shown:
            return ""
        value = self._painted.picture.value_at(point)
        return "" if np.isnan(value) else f"predicted field {value:.3g}"

    def _on_painted(self, painted: Painted) -> None:
        assert self._field is not None
        if not self.shown:
            self._painter.stop()
            return
        self._painted = painted
        picture, wish = painted.picture, painted.wish
        self._desk.scene.show_field(_name(self._field, painted), picture, painted.limits)
        count = int(np.isfinite(picture.values).sum())
        said = f"{picture.step_um:.3g} µm, {count:,} pixels"
        if not picture.finished:
            said += f"; {self.step.value():.3g} µm is on its way …"
        elif picture.pixel_um > 1.001 * wish.step_um:
            said = (
                f"{picture.pixel_um:.3g} µm is the finest for so large a window: zoom in, or "
                "choose a region."
            )
        self.said.setText(said)

    def _on_failed(self, failure: Failure) -> None:
        self._painted = None
        self._desk.scene.end_field()
        self.said.setText(finding("problem", failure.message))
        self.said.setToolTip(failure.details)

    # What changes it

    def _on_results(self) -> None:
        self.use(self._desk.field)

    def _on_drawn(self) -> None:
        if self.shown:
            self.refresh()
        self.refresh_profile()

    def _on_step(self, step_um: float) -> None:
        keep("explore/field step", step_um)
        self._follow()

    def _on_where(self) -> None:
        if self.where.currentData() in (_VIEW, _TISSUE):
            keep("explore/field in", self.where.currentData())
        self._follow()

    def _follow(self) -> None:
        """Show the field as it is wished for now."""
        if self.shown:
            self.refresh()
        else:
            self.wanted.emit()

    def _on_camera(self) -> None:
        if self.shown and self.where.currentData() == _VIEW:
            self._rest.start()

    def _on_regions(self) -> None:
        chosen = self.where.currentData() or kept("explore/field in", _TISSUE)
        self.where.clear()
        for name in (_TISSUE, _VIEW):
            self.where.addItem(name, name)
        for region in self._desk.regions():
            self.where.addItem(region.name, region.name)
        self.where.setCurrentIndex(max(0, self.where.findData(chosen)))
        if self.shown and chosen not in (_VIEW, _TISSUE):
            self._rest.start()

    # Profile of a place

    def _on_profiling(self, on: bool) -> None:
        callbacks = self._desk.viewer.mouse_drag_callbacks
        if on and self.on_click not in callbacks:
            callbacks.append(self.on_click)
            self._desk.use_pan_zoom()
        elif not on and self.on_click in callbacks:
            callbacks.remove(self.on_click)
        if not on:
            self._profiler.forget()
            self._place = None
            self._desk.scene.show_place(None)
        self.profiling.emit(on)

    def on_click(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        """Ask for the profile of a clicked place."""
        place = yield from clicked(event)
        if place is not None:
            self.look_at(place)

    def look_at(self, place: NDArray[np.float64]) -> None:
        """Show the profile of a place (x, y) in µm."""
        self._place = place
        self.refresh_profile()

    def refresh_profile(self) -> None:
        """Evaluate the pinned genes, and the one in view, at the place clicked last."""
        field, slide, place = self._field, self._desk.slide, self._place
        view = self._desk.scene.view
        if field is None or slide is None or place is None:
            return
        here = [] if view is None or view.gene is None else [view.gene]
        wanted = dict.fromkeys([*here, *kept("explore/pins", [])])
        both = set(field.genes.ids.tolist()) & set(slide.genes.ids.tolist())
        able = [gene for gene in wanted if gene in both]
        genes = able[:_MOST_GENES]
        if not genes:
            few = "None of the pinned genes was predicted." if wanted else "Pin genes with ★."
            self._tell(few)
            self.plot.show_profile(None)
            return
        self._left_out = _left_out(len(able) - len(genes), len(wanted) - len(able))
        self._desk.scene.show_place(place)
        self._profiler.ask(lambda: Profile.of(field, slide, genes, place))

    def _on_profile(self, profile: Profile) -> None:
        self.plot.show_profile(profile)
        x, y = profile.place
        self._tell(
            f"At x {x:.0f}, y {y:.0f} µm: counts expected of a whole location there, by "
            f"{self._field.title if self._field is not None else 'the method'}; measured "
            f"{profile.away_um:.0f} µm away. Bars are logarithmic.{self._left_out}"
        )

    def _on_no_profile(self, failure: Failure) -> None:
        self.plot.show_profile(None)
        self._tell(finding("problem", failure.message))
        self.profile_said.setToolTip(failure.details)

    def _tell(self, text: str) -> None:
        self.profile_said.setText(text)
        self.profile_said.setVisible(bool(text))


def _unfollow(events: Any, following: WeakMethod[Callable[[], None]], _: object = None) -> None:
    """Stop following the camera; must not hold the box itself."""
    callback = following()
    if callback is not None:
        events.center.disconnect(callback)
        events.zoom.disconnect(callback)


def _left_out(further: int, unknown: int) -> str:
    """Say which genes a profile leaves out."""
    said = [
        f"{further} more pinned than fit here" if further else "",
        f"{unknown} not predicted" if unknown else "",
    ]
    return f" Left out: {', '.join(filter(None, said))}." if any(said) else ""


def _name(field: Field, painted: Painted) -> str:
    by = f", {field.title}" if field.title else ""
    step = painted.picture.step_um
    return f"{painted.wish.label} · predicted field at {step:.3g} µm{by}"
