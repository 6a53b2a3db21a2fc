"""Take the pictures of the user guide from the real window, driven as a user would.

Run under a virtual screen, with the real slides in NAPARI_STSR_DATA:

    xvfb-run -a -s "-screen 0 1920x1080x24 +extension GLX" python docs/screenshots.py
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from PIL import Image
from qtpy.QtCore import QEventLoop, QSettings, Qt, QTimer
from qtpy.QtTest import QTest

from napari_stsr.viewer.launch import build_layout, dock_of
from napari_stsr.viewer.panels.kept import keep

PICTURES = Path(__file__).parent / "images"
DATA = Path(
    os.environ.get("NAPARI_STSR_DATA", Path(__file__).parents[1].parent / "shared" / "data")
)

# Whose field is shown.
FIELD_METHOD = "suica"


def rest(milliseconds: int) -> None:
    """Let the window live; QTest's own way spins under vispy and starves the workers."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


class Driver:
    """A window and the few things a user does with it."""

    def __init__(self) -> None:
        self.viewer = napari.Viewer(title="Super-resolution")
        panels = build_layout(self.viewer)
        self.slide, self.enhance, self.explore, self.validate = panels.values()
        self.desk = self.slide.desk

    def wait(self, condition: Callable[[], Any], seconds: float = 60) -> None:
        """Let the window live until the condition holds and everything is drawn."""
        for _ in range(int(seconds * 20)):
            if condition():
                break
            rest(50)
        else:
            raise TimeoutError("The window did not get there.")
        rest(700)

    def open(self, path: Path, image: Path | None = None) -> None:
        """Open a slide."""
        self.slide.open(str(path), None if image is None else str(image))
        self.wait(lambda: not self.desk.busy and self.desk.slide is not None)
        self.desk.scene.look_at(self.desk.slide)

    def show_gene(self, gene: str, kind: str) -> None:
        """Type a gene, press Enter, choose what to see."""
        self.explore.finder.field.setText(gene)
        QTest.keyClick(self.explore.finder.field, Qt.Key.Key_Return)
        self.explore.show_kind(kind)
        self.wait(
            lambda: any(
                layer.visible and layer.name.startswith(f"{gene} ") for layer in self.viewer.layers
            )
        )

    def start(self, preset: str, method: str | None = None) -> Any:
        """Choose a preset, and a method if it is not the first, and press Run."""
        if method is not None:
            methods = self.enhance.card.method_choice
            methods.setCurrentIndex(methods.findData(method))
        presets = self.enhance.card.preset_choice
        presets.setCurrentIndex(presets.findData(preset))
        before = self.enhance.runs.list.count()
        self.enhance.runs.run_button.click()
        self.wait(lambda: self.enhance.runs.list.count() > before)
        return self.enhance.runs.current

    def gene(self, symbol: str) -> str:
        """Id of a gene."""
        genes = self.desk.slide.genes
        return str(genes.ids[genes.column(symbol)])

    def picture(self, name: str) -> None:
        """Save the whole window."""
        rest(300)
        PICTURES.mkdir(exist_ok=True)
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)
        # 256 colours: a third of the size, and nobody sees it.
        picture = Image.fromarray(pixels[..., :3]).quantize(256)
        picture.save(PICTURES / f"{name}.png", optimize=True)
        print(name, flush=True)


def tumour(preset: str) -> None:
    """Breast tumour: open, train, ERBB2 measured and enhanced, attention, an ROI."""
    window = Driver()
    folder = DATA / "her2st_C2"
    window.open(folder / "spaceranger_like", folder / "original" / "5714_HE_BT_C2.jpg")
    window.show_gene("ERBB2", "measured")
    window.picture("slide")
    window.wait(window.explore.kinds["kernel"].isEnabled)
    window.show_gene("ERBB2", "kernel")
    window.picture("preview")
    job = window.start(preset)
    window.wait(lambda: job.ended or _in_the_middle(job), 600)
    window.picture("training")
    window.wait(lambda: job.ended, 900)
    if job.state != "done":
        raise RuntimeError(job.message)
    window.show_gene("ERBB2", "enhanced")
    window.picture("enhanced")
    window.explore.show_kind("difference")
    window.picture("difference")
    window.explore.show_kind("enhanced")
    middle = np.median(window.desk.slide.coordinates, axis=0)
    window.desk.picked.emit(window.desk.scene.readout.target_at(middle))
    window.viewer.scene.camera.center = (0.0, middle[1], middle[0])
    window.viewer.scene.camera.zoom *= 2.5
    window.picture("attention")
    window.explore.show_kind("attention")
    window.desk.scene.look_at(window.desk.slide)
    window.picture("attention-map")
    x, y = middle
    rois = window.desk.draw_region()
    rois.add_polygons([[y - 900, x - 200], [y - 900, x + 900], [y + 700, x + 700], [y + 500, x]])
    window.explore.show_kind("enhanced")
    window.picture("roi")
    window.viewer.close()


def methods(preset: str) -> None:
    """Breast tumour: ERBB2 in a region, enhanced by Square and by SUICA, side by side."""
    window = Driver()
    folder = DATA / "her2st_C2"
    window.open(folder / "spaceranger_like", folder / "original" / "5714_HE_BT_C2.jpg")
    x, y = np.median(window.desk.slide.coordinates, axis=0)
    rois = window.desk.draw_region()
    rois.add_polygons([[y - 1200, x - 900], [y - 1200, x + 900], [y + 900, x + 900], [y + 900, x]])
    where = window.enhance.where
    window.wait(lambda: where.findText("ROI: ROI 1") >= 0)
    where.setCurrentIndex(where.findText("ROI: ROI 1"))
    window.desk.viewer.layers.selection.clear()
    for method in ("square", "suica"):
        job = window.start(preset, method)
        window.wait(lambda job=job: job.ended, 900)
        if job.state != "done":
            raise RuntimeError(job.message)
        window.show_gene("ERBB2", "enhanced")
        window.explore.beside.click()
    window.explore.show_kind("measured")
    dock_of(window.explore).raise_()
    first, last = x - 1000, window.viewer.layers[-2].extent.world[1][1]
    window.desk.scene.fit(np.array([first, y - 1800]), np.array([last, y + 1200]))
    window.picture("methods")
    window.viewer.close()


def cortex(preset: str) -> None:
    """Cortex: the layers of MBP and PCP4, measured and enhanced."""
    window = Driver()
    window.open(DATA / "dlpfc_151673")
    job = window.start(preset)
    window.wait(lambda: job.ended, 1500)
    if job.state != "done":
        raise RuntimeError(job.message)
    for gene in ("MBP", "PCP4"):
        for kind in ("measured", "enhanced"):
            window.show_gene(gene, kind)
            window.picture(f"{gene.lower()}-{kind}")
    window.viewer.close()


def field(preset: str) -> None:
    """Cortex: the field of MBP at four resolutions, and the profile of a place."""
    window = Driver()
    window.open(DATA / "dlpfc_151673")
    job = window.start(preset, FIELD_METHOD)
    window.wait(lambda: job.ended, 1500)
    if job.state != "done":
        raise RuntimeError(job.message)
    window.show_gene("MBP", "field")
    box, scene = window.explore.field, window.desk.scene
    window.explore.ensureWidgetVisible(box)
    for step in (100, 50, 20, 10):
        box.step.marks[step].click()
        window.wait(lambda step=step: f"field at {step} µm" in scene.layer("field").name, 900)
        window.picture(f"field-{step}um")
    keep("explore/pins", [window.gene(name) for name in ("MBP", "PCP4", "SNAP25", "GFAP")])
    window.explore.finder.refresh()
    box.profile.click()
    box.look_at(np.quantile(window.desk.slide.coordinates, 0.6, axis=0))
    window.wait(lambda: box.plot.profile is not None)
    box.where.setCurrentIndex(box.where.findData("Current view"))
    box.where.activated.emit(box.where.currentIndex())
    window.viewer.scene.camera.zoom *= 3
    rest(400)
    window.wait(lambda: "on its way" not in box.said.text(), 120)
    window.explore.ensureWidgetVisible(box.plot)
    window.picture("field-profile")
    window.viewer.close()


def others(preset: str) -> None:
    """Every other slide: its most abundant gene, or a marker, enhanced."""
    bins = DATA / "format_fixtures" / "seurat_visium_hd_FAKE"
    for name, folder, gene in (
        ("bulb", DATA / "st_mob1" / "spaceranger_like", None),
        ("eye", DATA / "visium_cytassist_mouse_eye", None),
        ("tumour-c3", DATA / "her2st_C3" / "spaceranger_like", "ERBB2"),
        ("bins", bins, None),
    ):
        window = Driver()
        window.open(folder)
        slide = window.desk.slide
        most = slide.genes.symbols[int(slide.counts.gene_totals.argmax())]
        job = window.start(preset)
        window.wait(lambda job=job: job.ended, 600)
        if job.state != "done":
            raise RuntimeError(job.message)
        window.show_gene(gene or str(most), "enhanced")
        window.picture(name)
        window.viewer.close()


def validation(preset: str) -> None:
    """Breast tumour: methods judged on hidden spots, and the maps of ERBB2."""
    window = Driver()
    folder = DATA / "her2st_C2"
    window.open(folder / "spaceranger_like", folder / "original" / "5714_HE_BT_C2.jpg")
    panel = window.validate
    panel.choices.preset.setCurrentIndex(panel.choices.preset.findData(preset))
    panel.choices.named.setText("ERBB2")
    panel.choices.named.editingFinished.emit()
    window.wait(lambda: "Estimate: about" in panel.estimate.text())
    panel.runs.run_button.click()
    window.wait(lambda: window.desk.evaluation is not None, 1500)
    genes = window.desk.slide.genes
    panel.result.maps.choose(str(genes.ids[genes.column("ERBB2")]))
    dock_of(panel).raise_()
    window.picture("validate")
    window.viewer.close()


def _in_the_middle(job: Any) -> bool:
    return job.progress is not None and job.progress.fraction > 0.6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "scenes",
        nargs="*",
        help="tumour, methods, cortex, field, others, validation; all by default",
    )
    parser.add_argument("--preset", default="fast")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as kept:
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, kept)
        scenes = {
            "tumour": tumour,
            "methods": methods,
            "cortex": cortex,
            "field": field,
            "others": others,
            "validation": validation,
        }
        for scene in given.scenes or scenes:
            scenes[scene](given.preset)
