"""The layers of one viewer: one a kind, their data swapped when the gene changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from napari.layers import Image, Layer, Points
from napari.types import LayerDataTuple
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_stsr.results import Enhancement
from napari_stsr.session.field import FieldPicture
from napari_stsr.slides import Slide, Targets
from napari_stsr.viewer.background import Background
from napari_stsr.viewer.layers.attention import SourceTable, arrows_layer
from napari_stsr.viewer.layers.beside import keep_beside, name_kept, right_edge
from napari_stsr.viewer.layers.frames import Frame, Kind, MapKind, View, frames
from napari_stsr.viewer.layers.histology import histology_layer, outline_layer
from napari_stsr.viewer.layers.look import (
    ENHANCED_COLORMAP,
    OURS,
    Percentiles,
    clear_low,
    kind_of,
    row_column_affine,
)
from napari_stsr.viewer.layers.places import (
    ImagePlaces,
    Limits,
    SpotPlaces,
    place_layer,
    places_of_targets,
)
from napari_stsr.viewer.layers.readout import Readout

if TYPE_CHECKING:
    from napari.viewer import Viewer

_DEBOUNCE_MS = 60
_MAP_KINDS = get_args(MapKind)
# Shown until they are taken off, whatever gene is in view.
_LASTING = ("preview", "field", *_MAP_KINDS)
_DATA_KINDS = (*get_args(Kind), *_LASTING)


def slide_layers(slide: Slide) -> list[LayerDataTuple]:
    """Describe the layers of a slide, bottom first: H&E, outline, total counts measured."""
    layers = [] if slide.image is None else [histology_layer(slide.image)]
    outline = outline_layer(slide)
    if outline is not None:
        layers.append(outline)
    return [*layers, *(frame.layer_data() for frame in frames(View(slide)))]


class Scene(QObject):
    """Keeps the layers in step with the view. GUI thread only.

    Signals
    -------
    drawn : (View, dict of kind → Frame)
        The newest view is on screen.
    failed : (Failure)
    """

    drawn = Signal(object, object)
    failed = Signal(object)

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.view: View | None = None
        self.kind: str = "measured"
        self.frames: dict[str, Frame] = {}
        self.readout: Readout | None = None
        self._layers: dict[str, Layer] = {}
        # Pictures of hidden layers, drawn when the layer is shown: a switch pays for one picture.
        self._waiting: dict[str, Frame] = {}
        self._painter = Background(self)
        self._painter.answered.connect(self._draw)
        self._painter.failed.connect(self.failed)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_DEBOUNCE_MS)
        self._pause.timeout.connect(self._paint)
        self._before_maps = "measured"
        viewer.layers.events.removed.connect(self._on_removed)
        self._renaming = QTimer(self)
        self._renaming.setSingleShot(True)
        self._renaming.timeout.connect(lambda: name_kept(viewer.layers))
        self._preview_places: tuple[Targets, ImagePlaces] | None = None

    def prepared(self, slide: Slide) -> list[LayerDataTuple]:
        """Do what takes time for a new slide; safe in any thread."""
        # A second at HD size; the panels ask for these sums in the GUI thread, where they are kept.
        _ = slide.counts.gene_totals
        return slide_layers(slide)

    def show_slide(self, slide: Slide, layers: list[LayerDataTuple]) -> None:
        """Replace the layers of the last slide."""
        self.clear()
        for data in layers:
            self.viewer.add_layer(Layer.create(*data))
        self.take_over(slide)
        self.look_at(slide)

    def look_at(self, slide: Slide) -> None:
        """Fit the measured locations into the canvas; the image may be far larger."""
        self.fit(*_frame_of(slide))

    def fit(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        """Fit a frame from low to high (x, y) into the canvas."""
        camera, (height, width) = self.viewer.scene.camera, self.viewer.canvas.size
        x, y = (low + high) / 2
        size_x, size_y = np.maximum(high - low, 1.0) * 1.15
        camera.center = (0.0, float(y), float(x))
        camera.zoom = float(min(height / size_y, width / size_x))

    def take_over(self, slide: Slide) -> None:
        """Use the layers of a slide that are already in the viewer."""
        before = self.view
        self.readout = None
        for layer in self.viewer.layers:
            kind = kind_of(layer)
            if kind is not None and not kind.startswith("kept"):
                self._keep(kind, layer)
        self.viewer.canvas.overlays.scale_bar.visible = True
        self.show_kind("measured")
        self.set_view(
            View(slide)
            if before is None
            else View(slide, contrast=before.contrast, shared=before.shared, faded=before.faded)
        )

    def take_over_result(self, result: Enhancement, layer: Layer) -> None:
        """Use a layer that came with a result, from a file."""
        self._keep("enhanced", layer)

    def clear(self) -> None:
        """Take our layers off; layers of others and drawn regions stay."""
        for layer in list(self.viewer.layers):
            kind = kind_of(layer)
            if kind is not None and kind != "rois":
                self.viewer.layers.remove(layer)
        self._layers.clear()
        self._waiting.clear()
        self.frames = {}

    def set_view(self, view: View) -> None:
        """Ask for a view; it is computed off the GUI thread, the newest one wins."""
        before, self.view = self.view, view
        if before is None or (before.gene, before.result) != (view.gene, view.result):
            self._leave_maps()
        self._pause.start()

    def _paint(self) -> None:
        view = self.view
        if view is not None:
            self._painter.ask(lambda: (view, list(frames(view)), Readout.of(view)))

    def _draw(self, answer: tuple[View, list[Frame], Readout]) -> None:
        view, made, readout = answer
        if self.view is None or view.slide is not self.view.slide:
            return  # its layers would bring back a slide that is no longer open
        self.readout = readout
        self.frames = {frame.kind: frame for frame in made}
        for frame in made:
            self._put(frame)
        for kind in _DATA_KINDS:
            if kind not in self.frames and kind not in _LASTING:
                self._remove(kind)
        self.show_kind(self.kind)
        self.drawn.emit(view, self.frames)

    def _put(self, frame: Frame) -> None:
        layer = self.layer(frame.kind)
        if layer is not None and not _fits(layer, frame):
            self._remove(frame.kind)
            layer = None
        if layer is None:
            self._add(frame.kind, frame.layer_data(visible=False))
            return
        layer.name = frame.name
        layer.metadata[OURS].update(frame.metadata)
        self._waiting[frame.kind] = frame
        if layer.visible:
            self._catch_up(frame.kind)

    def _catch_up(self, kind: str) -> None:
        """Draw the newest picture of a layer, if it has not been yet."""
        layer, frame = self.layer(kind), self._waiting.pop(kind, None)
        if layer is not None and frame is not None:
            frame.places.put(layer, frame.painted, frame.limits)

    def _add(self, kind: str, data: LayerDataTuple) -> None:
        """Add a picture below regions and arrows; what the user works in stays active."""
        layers = self.viewer.layers
        layer = Layer.create(*data)
        self._keep(kind, layer)
        active = layers.selection.active
        self.viewer.add_layer(layer)
        if active is not None:
            layers.selection.active = active
        above = [
            index
            for index, other in enumerate(layers)
            if kind_of(other) in ("rois", "arrows", "place")
        ]
        if above and layers.index(layer) > above[0]:
            layers.move(layers.index(layer), above[0])

    def _keep(self, kind: str, layer: Layer) -> None:
        self._layers[kind] = layer
        self._waiting.pop(kind, None)
        layer.events.visible.connect(self._on_visible)

    def _on_visible(self) -> None:
        """Draw what waits for layers the user has switched on in the layer list."""
        for kind in list(self._waiting):
            layer = self.layer(kind)
            if layer is None or layer.visible:
                self._catch_up(kind)

    def layer(self, kind: str) -> Layer | None:
        """Return the layer of a kind, unless the user removed it."""
        layer = self._layers.get(kind)
        return layer if layer is not None and layer in self.viewer.layers else None

    def _remove(self, kind: str) -> None:
        layer = self.layer(kind)
        if layer is not None:
            self.viewer.layers.remove(layer)
        self._layers.pop(kind, None)

    def show_kind(self, kind: str) -> None:
        """Show one of the pictures alone, with its colour bar; measured where there is none."""
        self.kind = kind
        shown = kind if self.layer(kind) is not None else "measured"
        for other in _DATA_KINDS:
            layer = self.layer(other)
            if layer is not None:
                if other == shown:
                    self._catch_up(other)
                    self._say(layer.name)
                # napari redraws everything for a visibility that is set, changed or not.
                # A layer of colours has no values for a bar; its name says what they mean.
                scaled = not getattr(layer, "rgb", False)
                for part, wanted in ((layer, True), (_color_bar(layer), scaled)):
                    if part.visible != (wanted and other == shown):
                        part.visible = wanted and other == shown

    def _say(self, name: str) -> None:
        """Write on the canvas what is shown, so that a picture says measured or enhanced."""
        text = self.viewer.canvas.overlays.text
        # The box is measured a little too short for some signs.
        if text.text != f"{name}   ":
            text.text, text.position, text.visible = f"{name}   ", "top_left", True

    def kinds(self) -> list[Kind]:
        """Return the pictures there are."""
        return list(self.frames)  # type: ignore[arg-type]

    def show_preview(self, label: str, targets: Targets, values: NDArray[np.float32]) -> None:
        """Show values of a running fit; the layer goes when the fit ends."""
        if self._preview_places is None or self._preview_places[0] is not targets:
            self._remove("preview")
            self._preview_places = (targets, places_of_targets(targets))
        places = self._preview_places[1]
        painted, limits = places.painted(values), Percentiles().limits(values)
        layer = self.layer("preview")
        if layer is not None:
            places.put(layer, painted, limits)
            layer.name = f"{label} · preview while training"
            if layer.visible:
                self._say(layer.name)
            return
        data = places.layer_data(
            painted,
            limits,
            clear_low(ENHANCED_COLORMAP),
            name=f"{label} · preview while training",
            opacity=0.8,
            metadata={OURS: {"kind": "preview"}},
        )
        self._add("preview", data)
        self.show_kind("preview")

    def end_preview(self) -> None:
        """Take the preview off."""
        self._remove("preview")
        self._preview_places = None
        self.show_kind("enhanced" if self.kind == "preview" else self.kind)

    def show_maps(self, maps: list[Frame], kind: MapKind) -> None:
        """Show one of the maps of an evaluation; the next gene or picture chosen hides them."""
        for frame in maps:
            self._put(frame)
        if self.kind not in _MAP_KINDS:
            self._before_maps = self.kind
        self.show_kind(kind)

    def end_maps(self) -> None:
        """Take the maps of an evaluation off."""
        for kind in _MAP_KINDS:
            self._remove(kind)
        self._leave_maps()
        self.show_kind(self.kind)

    def _leave_maps(self) -> None:
        if self.kind in _MAP_KINDS:
            self.kind = self._before_maps

    def show_field(self, name: str, picture: FieldPicture, limits: Limits) -> None:
        """Show a picture of a predicted field, whatever its size and place."""
        step = picture.pixel_um * np.eye(2)
        places = ImagePlaces.of_picture(row_column_affine(step, picture.origin_um))
        layer = self.layer("field")
        if layer is None:
            about = {"metadata": {OURS: {"kind": "field"}}, "opacity": 0.8, "visible": False}
            colours = clear_low(ENHANCED_COLORMAP)
            data = places.layer_data(picture.values, limits, colours, name=name, **about)
            self._add("field", data)
            self.show_kind("field")
            return
        if not np.array_equal(layer.affine.affine_matrix, places.affine):
            layer.affine = places.affine
        places.put(layer, picture.values, limits)
        layer.name = name
        if layer.visible:
            self._say(name)

    def keep_beside(self) -> Layer | None:
        """Put a copy of the picture shown to the right of the tissue and what was kept before.

        The copy stays as it is, whatever is shown next; the user takes it off like any layer.
        """
        layer = self.layer(self.kind) or self.layer("measured")
        if layer is None or self.view is None:
            return None
        low, high = _frame_of(self.view.slide)
        made = keep_beside(self.viewer.layers, layer, float(high[0]))
        high[0] = right_edge(made)
        self.fit(low, high)
        return made

    def _on_removed(self, event: Any) -> None:
        # Later: who removes several layers would not find the names that were replaced meanwhile.
        if kind_of(event.value) == "kept":
            self._renaming.start()

    def end_field(self) -> None:
        """Take the picture of a field off."""
        self._remove("field")
        self.show_place(None)
        if self.kind == "field":
            self.show_kind("field")

    def show_place(self, place: NDArray[np.float64] | None) -> None:
        """Mark a place (x, y) in µm; None takes the mark off."""
        self._remove("place")
        if place is not None:
            self._add("place", place_layer(place))

    def show_arrows(self, table: SourceTable | None, unit_um: float = 100.0) -> None:
        """Show the sources of a picked target as arrows; None takes them off."""
        self._remove("arrows")
        if table is None or not len(table.weight):
            return
        self._add("arrows", arrows_layer(table, unit_um))

    def close(self) -> None:
        """Stop computing."""
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self._pause.stop()
        self._renaming.stop()
        self._painter.close()


def _frame_of(slide: Slide) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest (x, y) of the locations."""
    return slide.coordinates.min(axis=0), slide.coordinates.max(axis=0)


def _color_bar(layer: Layer) -> Any:
    return layer.face_colorbar if isinstance(layer, Points) else layer.colorbar


def _fits(layer: Layer, frame: Frame) -> bool:
    """Whether a layer can take a frame, or is of another slide or result."""
    if isinstance(layer, Points):
        return isinstance(frame.places, SpotPlaces) and np.array_equal(
            layer.data, frame.places.coordinates[:, ::-1]
        )
    if not (isinstance(layer, Image) and isinstance(frame.places, ImagePlaces)):
        return False
    same_place = np.allclose(layer.affine.affine_matrix, frame.places.affine)
    return bool(layer.data.shape == frame.painted.shape and same_place)
