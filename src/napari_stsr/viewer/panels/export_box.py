"""Export: the result, the regions, or a picture of the window, each with its feedback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_stsr.errors import InputError
from napari_stsr.files import written_aside
from napari_stsr.results import Enhancement
from napari_stsr.results.writers import export
from napari_stsr.session import TASKS
from napari_stsr.slides import Region, write_regions
from napari_stsr.viewer.background import Background, Failure
from napari_stsr.viewer.desk import Desk
from napari_stsr.viewer.layers.frames import task_of
from napari_stsr.viewer.panels.kept import keep, kept
from napari_stsr.viewer.panels.panel import words
from napari_stsr.viewer.panels.theme import finding

_RESULTS = {
    ".h5ad": "Result for scanpy (*.h5ad)",
    ".zarr": "SpatialData store (*.zarr)",
    ".csv": "Table (*.csv)",
    ".ome.tif": "Image of the gene in view (*.ome.tif)",
}
_REGIONS = "ROIs (*.geojson)"
_PICTURE = "Picture of the view (*.png)"


class ExportBox(QWidget):
    """Writes files in the background and says where they are.

    Parameters
    ----------
    desk : Desk
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._result: Enhancement | None = None
        self._writer = Background(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.button = QPushButton("E&xport …")
        self.button.setToolTip("Result, ROIs or picture; each result carries its provenance")
        self.button.clicked.connect(self._pick)
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self.busy.hide()
        self.said = words(name="exported")
        for widget in (self.button, self.busy, self.said):
            column.addWidget(widget)
        self._writer.answered.connect(self._on_written)
        self._writer.failed.connect(self._on_failed)

    def set_result(self, result: Enhancement | None) -> None:
        """Offer this result."""
        self._result = result

    def _pick(self) -> None:
        offered = [*(_RESULTS.values() if self._result is not None else ()), _REGIONS, _PICTURE]
        start = str(Path(kept("export/folder", "")) / self._name())
        path, chosen = QFileDialog.getSaveFileName(self, "Export", start, ";;".join(offered))
        if path:
            keep("export/folder", str(Path(path).parent))
            self.write(_with_suffix(path, chosen))

    def _name(self) -> str:
        slide = self._desk.slide
        name = slide.name if slide is not None else "slide"
        # Measured and predicted are told apart by the file's name as well.
        if self._result is None:
            return name
        return f"{name}-{TASKS[task_of(self._result)].word.replace(' ', '-')}"

    def write(self, path: str) -> None:
        """Write what the path's suffix names: a result, the ROIs or a picture."""
        if self._writer.busy:
            self._on_failed(Failure("An export is still being written. Wait for its end.", ""))
            return
        result, slide = self._result, self._desk.slide
        if path.endswith(".png"):
            self._write_picture(path)
        elif path.endswith((".geojson", ".json")):
            regions = self._desk.regions()
            self._start(lambda: _write_regions(path, regions), path)
        elif result is None:
            self._on_failed(Failure("There is no result to export. Enhance the slide first.", ""))
        else:
            genes = self._image_genes() if path.endswith((".ome.tif", ".ome.tiff")) else None
            self._start(lambda: export(result, path, genes, slide=slide), path)

    def _image_genes(self) -> list[str] | None:
        """Genes of an image: the one in view, as far as the result has it."""
        view = self._desk.scene.view
        return [view.gene] if view is not None and view.predicted and view.gene else None

    def _start(self, work: Callable[[], None], path: str) -> None:
        self.busy.show()
        self.button.setEnabled(False)
        self.said.setText(f"Writing {Path(path).name} …")

        def write() -> str:
            work()
            return path

        self._writer.ask(write)

    def _write_picture(self, path: str) -> None:
        """Write the canvas with its colour bar and scale bar; only the GUI thread can."""
        viewer = self._desk.viewer
        try:
            with written_aside(Path(path)) as aside:
                viewer.screenshot(str(aside), canvas_only=True, flash=False)
        except Exception as error:
            self._on_failed(Failure(str(error), ""))
        else:
            self._on_written(path)

    def _on_written(self, path: str) -> None:
        self.busy.hide()
        self.button.setEnabled(True)
        place = Path(path)
        size = f" ({place.stat().st_size / 1e6:.1f} MB)" if place.is_file() else ""
        self.said.setText(finding("good", f"Written: {path}{size}"))
        self.said.setToolTip("")

    def _on_failed(self, failure: Failure) -> None:
        self.busy.hide()
        self.button.setEnabled(True)
        self.said.setText(finding("problem", failure.message))
        self.said.setToolTip(failure.details)


def _write_regions(path: str, regions: list[Region]) -> None:
    if not regions:
        raise InputError("No ROI is drawn.", "Draw one in the Enhance panel.")
    write_regions(path, regions)


def _with_suffix(path: str, chosen: str) -> str:
    """Add the suffix of the chosen kind where the user typed none of ours."""
    ours = (*_RESULTS, ".ome.tiff", ".geojson", ".json", ".png")
    if path.endswith(ours):
        return path
    return path + chosen[chosen.index("*") + 1 : -1]
