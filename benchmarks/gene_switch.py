"""CPU time of the GUI thread for one gene switch: 700,000 bins, and 45,360 hex subspots.

Run under a screen:

    xvfb-run -a -s "-screen 0 1600x1200x24 +extension GLX" python benchmarks/gene_switch.py

"Drawing" is our code and napari's layer update; "with all repaints" is everything the GUI thread
does from the request until 0.3 s later. Without a GPU the processor repaints.
"""

from __future__ import annotations

import time
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QTimer
from scipy import sparse

from napari_stsr.results import DecodedExpression, Enhancement
from napari_stsr.slides import Counts, Genes, Lattice, PixelScale, Slide
from napari_stsr.viewer.desk import desk_of

GENES = 50


def measured_slide(
    rows: np.ndarray, columns: np.ndarray, coordinates: np.ndarray, density: float, bins: bool
) -> Slide:
    rng = np.random.default_rng(0)
    n = len(rows)
    counts = sparse.random(n, GENES, density, "csr", dtype=np.float32, rng=rng)
    names = np.array([f"G{number}" for number in range(GENES)])
    return Slide(
        f"{n:,} {'bins' if bins else 'spots'}",
        "visium-hd" if bins else "visium",
        Counts(counts),
        Genes(names, names),
        coordinates,
        np.arange(n).astype(str),
        Lattice.from_array(rows, columns, coordinates),
        8.0 if bins else 55.0,
        PixelScale(0.3, "user"),
        np.ones(n, dtype=bool),
    )


def enhanced(slide: Slide) -> Enhancement:
    rng = np.random.default_rng(1)
    targets = slide.subspots(7)
    m = len(targets)
    source = DecodedExpression(
        rng.normal(size=(m, 128)).astype(np.float32),
        rng.normal(0, 0.1, (GENES, 128)).astype(np.float32),
        np.zeros(GENES, dtype=np.float32),
        np.zeros(m, dtype=np.float32),
        np.ones(m, dtype=np.float32),
    )
    every = np.ones(m, dtype=bool)
    names = slide.barcodes[targets.parent]
    return Enhancement("made up", targets, slide.genes, source, slide.scale, every, every, names)


def wait(milliseconds: int) -> None:
    """Let the window live; unlike QTest.qWait this does not spin."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def switch(slide: Slide, result: Enhancement | None, kind: str) -> None:
    viewer = napari.Viewer()
    desk = desk_of(viewer)
    desk.adopt(slide)
    drawing: list[float] = []
    plain = desk.scene._draw

    def timed(answer: Any) -> None:
        start = time.thread_time()
        plain(answer)
        drawing.append(1000 * (time.thread_time() - start))

    desk.scene._painter.answered.disconnect()
    desk.scene._painter.answered.connect(timed)
    if result is not None:
        desk.show_result(result)
    desk.look(gene="G0")
    while not drawing:
        wait(20)
    desk.scene.show_kind(kind)
    wait(1500)
    drawing.clear()
    total = []
    for number in range(1, 9):
        start, before = time.thread_time(), len(drawing)
        desk.look(gene=f"G{number}")
        while len(drawing) == before:
            wait(5)
        wait(300)
        total.append(1000 * (time.thread_time() - start))
    print(
        f"{slide.name}, {kind}: drawing {np.median(drawing):.0f} ms (worst {max(drawing):.0f}), "
        f"with all repaints {np.median(total):.0f} ms (worst {max(total):.0f}) of GUI-thread CPU",
        flush=True,
    )
    desk.close()
    viewer.close()
    wait(200)


def main() -> None:
    rng = np.random.default_rng(0)
    place = np.sort(rng.choice(837 * 837, 700_000, replace=False))
    rows, columns = np.divmod(place, 837)
    coordinates = 8.0 * np.column_stack([columns, rows])
    switch(measured_slide(rows, columns, coordinates, 0.05, True), None, "measured")

    rows, columns = (axis.ravel() for axis in np.indices((81, 80)))
    columns = 2 * columns + rows % 2
    coordinates = np.column_stack([50.0 * columns, 86.6 * rows])
    slide = measured_slide(rows, columns, coordinates, 0.3, False)
    switch(slide, enhanced(slide), "enhanced")


if __name__ == "__main__":
    main()
