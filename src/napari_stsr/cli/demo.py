"""``napari-stsr demo``: a simulated slide, Square, and the window or files and a picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from napari_stsr.cli.enhance import told
from napari_stsr.cli.progress import shown
from napari_stsr.results import Enhancement
from napari_stsr.results.writers import export
from napari_stsr.session import Plan
from napari_stsr.slides import Slide
from napari_stsr.training import Run


def run(options: argparse.Namespace) -> None:
    """Simulate a slide, enhance it, and show or write what came out."""
    from napari_stsr.slides.simulate import simulate_slide

    slide = simulate_slide(lattice="hex", shape=(24, 20), genes=300, seed=options.seed)
    print(slide, file=sys.stderr)
    plan, chosen = Plan("square", "fast"), Run(seed=options.seed)
    print(f"Square: {plan.estimate(slide)}", file=sys.stderr)
    with options.stopping.gently(chosen.cancel):
        result = shown(plan.enhancing(slide, chosen))
    if options.no_window:
        _write(slide, result, Path(options.output))
        return
    from napari_stsr.viewer.launch import demo_window

    demo_window(slide, result)


def _write(slide: Slide, result: Enhancement, folder: Path) -> None:
    from napari_stsr.results.writers.picture import write_picture

    genes = patterned_genes(slide)
    for name, chosen in (("predicted.h5ad", None), ("predicted.ome.tif", genes)):
        export(result, folder / name, chosen)
        print(told(result, folder / name) if chosen is None else f"Wrote {folder / name}")
    write_picture(folder / "measured-and-predicted.png", slide, result, genes)
    print(f"Wrote {folder / 'measured-and-predicted.png'}: {', '.join(genes)} over the H&E")


def patterned_genes(slide: Slide, many: int = 3) -> list[str]:
    """Return the genes whose counts differ most between neighbourhoods, not just by chance."""
    rows = slide.counts.rows.astype(np.float64)[slide.in_tissue]
    mean = np.asarray(rows.mean(axis=0)).ravel()
    spread = np.asarray(rows.multiply(rows).mean(axis=0)).ravel() - mean**2
    # Counts vary by chance as much as their mean: the excess, per squared mean, is pattern.
    excess = np.where(mean > 1, (spread - mean) / np.maximum(mean, 1) ** 2, 0)
    return [str(slide.genes.ids[column]) for column in np.argsort(-excess)[:many]]
