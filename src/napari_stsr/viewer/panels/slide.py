"""The Slide panel: pick or drop a folder, see what it is and whether anything is wrong with it."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QMessageBox,
    QProgressBar,
    QPushButton,
)

from napari_stsr.slides import Slide
from napari_stsr.slides.readers import bins_available, is_slide, open_slide
from napari_stsr.viewer.background import Background, Failure
from napari_stsr.viewer.panels.kept import keep, kept
from napari_stsr.viewer.panels.panel import Panel, add_row, form, words
from napari_stsr.viewer.panels.theme import finding

_IMAGES = "Images (*.tif *.tiff *.btf *.svs *.ndpi *.png *.jpg *.jpeg);;All files (*)"
_SLIDES = "Slides (*.h5ad *.h5 *.tsv *.tsv.gz);;All files (*)"


class SlidePanel(Panel):
    """Opens slides and says what was found.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self.setAcceptDrops(True)
        self._path = ""
        self._bins = Background(self)
        self._make_choices()
        self.headline = words(name="headline")
        self.checks = words(name="checks")
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self.busy.setFormat("Opening …")
        self.busy.hide()
        for widget in (self.busy, self.headline, self.checks):
            self.column.addWidget(widget)
        self.column.addStretch(1)
        self._bins.answered.connect(self._offer_bins)
        self.desk.opening.connect(self._on_opening)
        self.desk.slide_changed.connect(self._on_slide)
        self.desk.refused.connect(self._on_refused)
        self._on_slide()

    def _make_choices(self) -> None:
        self.folder_button = QPushButton("Open &folder …")
        self.folder_button.setToolTip("Space Ranger's outs, or any folder that holds a slide")
        self.folder_button.clicked.connect(self._pick_folder)
        self.file_button = QPushButton("Open f&ile …")
        self.file_button.setToolTip("An h5ad, or a file inside a slide's folder")
        self.file_button.clicked.connect(self._pick_file)
        buttons = QHBoxLayout()
        buttons.addWidget(self.folder_button)
        buttons.addWidget(self.file_button)
        self.column.addLayout(buttons)
        rows = form()
        self.bin_choice = QComboBox()
        tip = "Visium HD: side of a bin, and memory for counts"
        self._bin_label = add_row(rows, "&Bin size", self.bin_choice, tip=tip)
        self.bin_choice.activated.connect(lambda _: self._reopen())
        self._show_bins(False)
        self.image = QLineEdit()
        self.image.setPlaceholderText("the slide's own, or choose the full-resolution file")
        self.image.setReadOnly(True)
        pick = QPushButton("…")
        pick.setFixedWidth(28)
        pick.setToolTip("Choose the H&E file that was given to Space Ranger")
        pick.setAccessibleName("Choose H&E file")
        pick.clicked.connect(self._pick_image)
        label = add_row(rows, "&H&&E file", self.image, pick, tip="Full-resolution histology")
        label.setBuddy(pick)
        self.column.addLayout(rows)

    # Opening

    def open(self, path: str, image: str | None = None, bin_um: float | None = None) -> None:
        """Open a slide in the background."""
        if path != self._path:
            self._show_bins(False)
            self.bin_choice.clear()
        self._path = path
        self.image.setText(image or "")
        keep("slide/folder", str(Path(path).parent))
        if not self.bin_choice.count():
            self._bins.ask(lambda: bins_available(path))
        self.desk.open(lambda: open_slide(path, image=image, bin_um=bin_um), path)

    def _reopen(self) -> None:
        if self._path:
            self.open(self._path, self.image.text() or None, self.bin_choice.currentData())

    def _pick_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a slide", kept("slide/folder", ""))
        if path:
            self._open_if_agreed(path)

    def _pick_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Open a slide", kept("slide/folder", ""), _SLIDES
        )
        if path:
            self._open_if_agreed(path)

    def _pick_image(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Choose the H&E file", kept("slide/folder", ""), _IMAGES
        )
        if path:
            self.image.setText(path)
            self._reopen()

    def _open_if_agreed(self, path: str) -> None:
        """Ask before results that were not exported go."""
        results = self.desk.workspace.results
        if results:
            answer = QMessageBox.question(
                self,
                "Open another slide?",
                f"{len(results)} result(s) of this slide are in memory only, unless exported. "
                "Open another slide and drop them?",
            )
            if answer != QMessageBox.StandardButton.Yes:
                return
        self.open(path)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 - Qt's name
        """Accept one file or folder."""
        urls = event.mimeData().urls()
        if len(urls) == 1 and urls[0].isLocalFile():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 - Qt's name
        """Open a slide; a picture dropped on an open slide becomes its H&E."""
        path = event.mimeData().urls()[0].toLocalFile()
        event.acceptProposedAction()
        if self._path and Path(path).is_file() and not is_slide(path):
            self.image.setText(path)
            self._reopen()
        else:
            self._open_if_agreed(path)

    # Showing

    def _offer_bins(self, sizes: list[tuple[float, int]]) -> None:
        self.bin_choice.clear()
        for size, memory in sizes:
            self.bin_choice.addItem(f"{size:g} µm  (counts {memory / 1e9:.2g} GB)", size)
        self._mark_bin()
        self._show_bins(bool(sizes))

    def _mark_bin(self) -> None:
        slide = self.desk.slide
        if slide is not None and slide.location_word == "bin":
            self.bin_choice.setCurrentIndex(self.bin_choice.findData(slide.diameter_um))

    def _show_bins(self, shown: bool) -> None:
        self.bin_choice.setVisible(shown)
        self._bin_label.setVisible(shown)

    def _on_opening(self, path: str) -> None:
        self.busy.show()
        self.checks.clear()
        self.headline.setText(f"Opening {html.escape(Path(path).name)} …")

    def _on_refused(self, failure: Failure) -> None:
        self.busy.hide()
        self.headline.setText("<b>The slide could not be opened.</b>")
        self.checks.setText(finding("problem", failure.message))
        self.checks.setToolTip(failure.details)

    def _on_slide(self) -> None:
        self.busy.hide()
        slide = self.desk.slide
        if slide is None:
            self.headline.setText("Drop a slide here, or open one.")
            return
        self._path = slide.source.path
        self._mark_bin()
        self.headline.setText(headline(slide))
        self.checks.setToolTip("")
        lines = [finding(c.level, c.sentence, c.remedy) for c in slide.checks]
        self.checks.setText("<br>".join(lines))


def headline(slide: Slide) -> str:
    """Name, kind, lattice, size and scale of a slide, as rich text."""
    n, g = slide.counts.shape
    kinds = {"visium": "Visium", "visium-hd": "Visium HD", "st": "Spatial Transcriptomics",
             "anndata": "AnnData", "simulated": "simulated"}  # fmt: skip
    image = "no H&E image"
    if slide.image is not None:
        height, width = slide.image.shape
        image = f"H&amp;E {width:,} × {height:,} px"
    return (
        f"<b>{html.escape(slide.name)}</b> · {kinds[slide.kind]}, {slide.lattice}<br>"
        f"{n:,} {slide.location_word}s ({int(slide.in_tissue.sum()):,} in tissue) × {g:,} genes"
        f"<br>{slide.scale.um_per_px:.3g} µm/px <i>from {slide.scale.source}</i> · {image}"
    )
