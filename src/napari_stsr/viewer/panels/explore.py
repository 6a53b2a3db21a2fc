"""The Explore panel: find a gene, compare measured and enhanced, see attention, export."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QPushButton,
    QSizePolicy,
)

from napari_stsr.results import Enhancement
from napari_stsr.session.belonging import read_result
from napari_stsr.viewer.background import Background, Failure
from napari_stsr.viewer.clicks import clicked
from napari_stsr.viewer.layers.attention import sources_of
from napari_stsr.viewer.layers.frames import Frame, View, describe
from napari_stsr.viewer.panels.attention_box import AttentionBox
from napari_stsr.viewer.panels.contrast_box import ContrastBox
from napari_stsr.viewer.panels.export_box import ExportBox
from napari_stsr.viewer.panels.field_box import FieldBox
from napari_stsr.viewer.panels.gene_finder import GeneFinder
from napari_stsr.viewer.panels.gene_scores import predictability
from napari_stsr.viewer.panels.panel import Panel, add_row, form, words
from napari_stsr.viewer.panels.theme import finding

_HOVER_MS = 50
_USUAL_GENES = 50
_POINT = "Point at the tissue to read values."
_SHOWN = (
    ("measured", "&Measured", "What was counted"),
    ("kernel", "Pre&view", "A quick look without a run: the factor kernel, not tied to the counts"),
    ("enhanced", "&Enhanced", "What the method predicts; parts of a spot add up to its counts"),
    (
        "denoised",
        "De&noised",
        "What the method itself expects: parts need not add up to the measured counts",
    ),
    ("difference", "Di&fference", "Enhanced minus measured, spread over the subspots"),
    ("uncertainty", "&Uncertainty", "Standard deviation of the denoised prediction"),
    ("attention", "&Attention", "Where predictions come from"),
    ("field", "Field", "The continuous field the method learned, at any resolution"),
)
_TIPS = {kind: tip for kind, _, tip in _SHOWN}


class ExplorePanel(Panel):
    """Looks at a slide and its results.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self._reader = Background(self)
        self._cursor: tuple[float, float] | None = None
        self._picked = -1
        self._result: Enhancement | None = None
        self._idle = _POINT
        self._make_result_choice()
        self.finder = GeneFinder()
        self.column.addWidget(self.finder)
        self._make_kinds()
        self.readout = words(_POINT, name="readout")
        self.readout.setMinimumHeight(2 * self.readout.fontMetrics().lineSpacing() + 4)
        self.readout.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.column.addWidget(self.readout)
        self.contrast = ContrastBox()
        self.column.addWidget(self.contrast)
        self.field = FieldBox(self.desk)
        self.column.addWidget(self.field)
        self.attention = AttentionBox()
        self.column.addWidget(self.attention)
        self.export = ExportBox(self.desk)
        self.column.addWidget(self.export)
        self.column.addStretch(1)
        self._hover = QTimer(self)
        self._hover.setSingleShot(True)
        self._hover.setInterval(_HOVER_MS)
        self._connect()
        self._on_slide()
        self._on_results()

    def _make_result_choice(self) -> None:
        rows = form()
        self.result_choice = QComboBox()
        add_row(rows, "&Result", self.result_choice, tip="Results of this slide")
        self.column.addLayout(rows)
        self.open_result = QPushButton("&Open result …")
        self.open_result.setToolTip("Read a result that was exported as h5ad or zarr")
        self.column.addWidget(self.open_result)

    def _make_kinds(self) -> None:
        table = QGridLayout()
        table.setSpacing(2)
        self.kinds: dict[str, QPushButton] = {}
        group = QButtonGroup(self)
        for place, (kind, label, tip) in enumerate(_SHOWN):
            button = QPushButton(label)
            button.setCheckable(True)
            button.setToolTip(tip)
            button.setMinimumWidth(1)
            button.clicked.connect(lambda _=False, kind=kind: self.show_kind(kind))
            group.addButton(button)
            table.addWidget(button, *divmod(place, 3))
            self.kinds[kind] = button
        self.kinds["measured"].setChecked(True)
        self.beside = QPushButton("&Keep beside")
        self.beside.setToolTip(
            "Put a copy of this picture to the right of the tissue, where it stays as it is: to "
            "compare genes, methods or regions. Delete it in the layer list."
        )
        self.beside.setMinimumWidth(1)
        self.beside.clicked.connect(self.desk.scene.keep_beside)
        table.addWidget(self.beside, *divmod(len(_SHOWN), 3))
        self.column.addLayout(table)

    def _connect(self) -> None:
        desk, scene = self.desk, self.desk.scene
        desk.slide_changed.connect(self._on_slide)
        desk.results_changed.connect(self._on_results)
        desk.evaluation_changed.connect(self._on_evaluation)
        desk.picked.connect(self._on_picked)
        scene.drawn.connect(self._on_drawn)
        scene.failed.connect(self._on_failed)
        # A method of the panel is disconnected with it; a function would be called after its end.
        desk.preview.ready.connect(self._on_preview)
        desk.preview.failed.connect(self._on_no_preview)
        self.finder.chosen.connect(lambda gene: desk.look(gene=gene or None))
        self.result_choice.activated.connect(self._on_result_chosen)
        self.open_result.clicked.connect(self._pick_result)
        self.contrast.changed.connect(self._on_contrast)
        self.attention.changed.connect(self._on_attention)
        self.attention.picking.connect(self._on_picking)
        self.field.wanted.connect(lambda: self.show_kind("field"))
        # A click means one thing at a time.
        self.field.profiling.connect(lambda on: self._end_if(on, self.attention.pick))
        self.attention.picking.connect(lambda on: self._end_if(on, self.field.profile))
        for mode in (self.attention.picking, self.field.profiling):
            mode.connect(self._show_boxes)
        self.finder.pin.clicked.connect(self.field.refresh_profile)
        self._reader.answered.connect(desk.show_result)
        self._reader.failed.connect(self._on_failed)
        self._hover.timeout.connect(self._read_out)
        desk.viewer.mouse_move_callbacks.append(self._on_mouse_move)
        self.destroyed.connect(_detacher(desk.viewer, self._on_mouse_move, self._on_click))
        self.destroyed.connect(_detacher(desk.viewer, self.field.on_click))

    # Slide and results

    def _on_slide(self) -> None:
        slide = self.desk.slide
        self.setEnabled(slide is not None)
        if slide is None:
            self.finder.set_genes(None, [])
            return
        self._set_preview_note("It is being prepared.")
        most = np.argsort(-slide.counts.gene_totals, kind="stable")[:_USUAL_GENES]
        self.finder.set_genes(slide.genes, slide.genes.ids[most].tolist())
        self._on_contrast()

    def _on_results(self) -> None:
        results, result = self.desk.workspace.results, self.desk.result
        self.result_choice.clear()
        for number, one in enumerate(results, 1):
            self.result_choice.addItem(f"{number}. {one.name} ({describe(one)})")
            self.result_choice.setItemData(number - 1, one.name, Qt.ItemDataRole.ToolTipRole)
        if result is None:
            self.result_choice.setPlaceholderText("none yet")
        self.result_choice.setCurrentIndex(-1 if result is None else results.index(result))
        if result is not self._result:
            self._result = result
            # A target of another result is none of this one.
            self._on_picked(-1)
        self.attention.show_attention(None if result is None else result.attention)
        self.export.set_result(result)
        self.contrast.set_fading(result is not None and result.uncertainty is not None)
        known = frozenset() if result is None else frozenset(result.genes.ids.tolist())
        self.finder.set_note(
            lambda gene: "" if result is None or gene in known else "   (not predicted)"
        )
        for kind, button in self.kinds.items():
            if kind not in ("measured", "kernel", "field"):
                button.setEnabled(result is not None and _has(result, kind))
        self.kinds["field"].setEnabled(self.desk.field is not None)
        if result is not None:
            self._on_attention()
        self._show_boxes()

    def _show_boxes(self) -> None:
        """Show the boxes of the kind in view, and those whose clicks are in use."""
        kind, result = self.desk.scene.kind, self.desk.result
        picking = self.attention.pick.isChecked() or self._picked >= 0
        attends = result is not None and result.attention is not None
        self.attention.setVisible(attends and (kind == "attention" or picking))
        profiling = self.field.profile.isChecked()
        self.field.setVisible(self.desk.field is not None and (kind == "field" or profiling))

    def _on_evaluation(self) -> None:
        found = self.desk.evaluation
        self.finder.set_scores({} if found is None else predictability(found))

    def _on_result_chosen(self, row: int) -> None:
        self.desk.show_result(self.desk.workspace.results[row])

    def _pick_result(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Open a result", "", "Results (*.h5ad);;All files (*)"
        )
        if path:
            self.read_result(path)

    def read_result(self, path: str) -> None:
        """Read an exported result of the slide in the background and show it."""
        slide = self.desk.slide
        if slide is not None:
            self._reader.ask(lambda: read_result(path, slide))

    def show_kind(self, kind: str) -> None:
        """Show measured, enhanced, difference or attention."""
        if kind == "attention" and kind not in self.desk.scene.frames:
            self._on_attention()
        view = self.desk.scene.view
        if kind == "kernel" and view is not None and view.kernel is not None and not view.gene:
            self.desk.look(gene=self.desk.telling_gene(view.kernel))
        if kind == "field":
            self.field.start()
        else:
            self.desk.scene.show_kind(kind)
        self.kinds[kind].setChecked(True)
        self._show_boxes()

    def _on_drawn(self, view: View, frames: dict[str, Frame]) -> None:
        self.finder.show_gene(view.gene or "")
        for kind in ("enhanced", "denoised", "difference", "uncertainty"):
            self.kinds[kind].setEnabled(kind in frames)
        self.kinds["kernel"].setEnabled(view.kernel is not None)
        kind = self.desk.scene.kind
        shown = kind if kind in frames or kind == "field" else "measured"
        self.kinds[shown].setChecked(True)
        self._show_boxes()
        if view.result is not None and not view.predicted and view.gene is not None:
            self.readout.setText(finding("notice", f"{view.label} was not predicted in this run."))
        elif view.result is not None:
            self.readout.setText(self._idle)

    def _on_preview(self, _: object) -> None:
        self._set_preview_note("")

    def _on_no_preview(self, failure: Failure) -> None:
        self._set_preview_note(f"No instant preview: {failure.message}")
        self._idle = finding("notice", f"No instant preview: {failure.message}")
        self.readout.setText(self._idle)
        self.readout.setToolTip(failure.details)

    def _set_preview_note(self, note: str) -> None:
        """Say on the button what keeps the preview; nothing once it is there."""
        if self.readout.text() == self._idle:
            self.readout.setText(_POINT)
        self._idle = _POINT
        self.kinds["kernel"].setToolTip(note or _TIPS["kernel"])

    def _on_failed(self, failure: Failure) -> None:
        self.readout.setText(finding("problem", failure.message))
        self.readout.setToolTip(failure.details)

    def _on_contrast(self) -> None:
        box = self.contrast
        self.desk.look(
            contrast=box.percentiles(), shared=box.shared.isChecked(), faded=box.faded.isChecked()
        )

    # Hover

    def _on_mouse_move(self, viewer: Any, event: Any) -> None:
        self._cursor = (float(event.position[-1]), float(event.position[-2]))
        if not self._hover.isActive():
            self._hover.start()

    def _read_out(self) -> None:
        scene = self.desk.scene
        if scene.readout is None or self._cursor is None or not self.isVisible():
            return
        point = np.array(self._cursor)
        said = [scene.readout.sentence(point, scene.frames), self.field.sentence(point)]
        if any(said):
            self.readout.setText(" · ".join(part for part in said if part))

    # Attention

    def _on_attention(self) -> None:
        result = self.desk.result
        if result is None or result.attention is None:
            return
        self.desk.look(attention=self.attention.chosen())
        self._on_picked(self._picked)

    @staticmethod
    def _end_if(other_began: bool, mode: QPushButton) -> None:
        if other_began:
            mode.setChecked(False)

    def _on_picking(self, on: bool) -> None:
        callbacks = self.desk.viewer.mouse_drag_callbacks
        if on and self._on_click not in callbacks:
            callbacks.append(self._on_click)
            self.desk.use_pan_zoom()
        elif not on and self._on_click in callbacks:
            callbacks.remove(self._on_click)

    def _on_click(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        """Pick on a click, not at the end of a drag, which moves the view."""
        point = yield from clicked(event)
        readout = self.desk.scene.readout
        if point is not None and readout is not None:
            self.desk.picked.emit(readout.target_at(point))

    def _on_picked(self, target: int) -> None:
        self._picked = target
        result, slide, scene = self.desk.result, self.desk.slide, self.desk.scene
        if target < 0 or result is None or slide is None or result.attention is None:
            scene.show_arrows(None)
            self.attention.show_sources(None, "")
            self._show_boxes()
            return
        chosen = self.attention.chosen()
        table = sources_of(result, target, chosen.layer, chosen.head)
        scene.show_arrows(table, slide.lattice.pitch_um)
        self.attention.show_sources(table, self._picked_words(result, target))
        self._show_boxes()

    def _picked_words(self, result: Enhancement, target: int) -> str:
        said = [f"Picked {result.targets.ids[target]}"]
        frames = self.desk.scene.frames
        if scene_readout := self.desk.scene.readout:
            point = result.targets.coordinates[target]
            if sentence := scene_readout.sentence(point, frames):
                said.append(sentence)
        parent = result.targets.parent[target]
        if parent >= 0 and "enhanced" in frames:
            parts = np.flatnonzero(result.targets.parent == parent)
            total = float(frames["enhanced"].values[parts].sum())
            said.append(f"its {len(parts)} parts sum to {total:.4g}")
        return " · ".join(said)


def _has(result: Enhancement, kind: str) -> bool:
    """Whether a result can show a kind of picture."""
    return kind in ("enhanced", "difference") or getattr(result, kind) is not None


def _detacher(viewer: Any, *callbacks: Any) -> Any:
    """Return a function that takes callbacks off a viewer, for the end of a panel."""

    def detach(_: object = None) -> None:
        for listed in (viewer.mouse_move_callbacks, viewer.mouse_drag_callbacks):
            for callback in callbacks:
                if callback in listed:
                    listed.remove(callback)

    return detach
