"""Square as a method: its card, its checks, its estimate. Torch is imported only to fit."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.methods.base import Estimate, Fitted, Method
from napari_stsr.methods.parameters import Params
from napari_stsr.methods.square.params import PRESETS, SquareParams
from napari_stsr.slides import Slide, Targets
from napari_stsr.training.progress import Progress, Run

_FEWEST = 12


class Square(Method):
    """Splits every location into subspots; learns from pooling the slide one level coarser."""

    name = "square"
    title = "Square"
    summary = (
        "Splits each spot into subspots. Learns, on this slide alone, to give pooled blocks of "
        "spots back, then applies the same step one level finer."
    )
    paper = "Alonso, Hernáez, Ochoa: Square, GSP 2026 (openreview u5r0f2GlmL)"
    needs = ("counts", "lattice")
    gives = ("expression", "attention", "uncertainty")
    params = SquareParams
    presets = PRESETS

    def check(self, slide: Slide, targets: Targets, params: Params) -> None:
        """Refuse slides without lattice, without neighbours, without counts, or too small."""
        word = slide.location_word
        if len(slide) < _FEWEST:
            raise InputError(
                f"Square needs at least {_FEWEST} {word}s to learn from; there are {len(slide)}.",
                "Draw a larger ROI or enhance the whole tissue.",
            )
        if slide.lattice.kind == "none":
            raise InputError(
                f"Square needs {word}s on a regular lattice; this slide has {slide.lattice}."
            )
        if targets.kind == "subspots":
            slide.lattice.division(targets.per_location)
        if not (slide.lattice.neighbours() >= 0).any():
            raise InputError(
                f"No {word} has a neighbour one pitch ({slide.lattice.pitch_um:.0f} µm) away, so "
                "there is nothing to learn from.",
                "Open the whole slide, not a sparse selection.",
            )
        if not (slide.counts.totals > 0).any():
            raise InputError("All counts are zero.", "Open the filtered matrix of this slide.")
        smallest = slide.counts.rows.data.min(initial=0)
        if smallest < 0 or not np.isfinite(slide.counts.totals).all():
            raise InputError(
                f"Counts hold negative or missing numbers (smallest {smallest:g}).",
                "Square needs raw counts, not scaled or centred data.",
            )

    def estimate(self, slide: Slide, targets: Targets, params: Params) -> Estimate:
        """Memory and time from the sizes of slide and networks, at most, on one processor core.

        The constants were measured; early stopping often halves the time.
        """
        p = cast(SquareParams, params)
        n, genes = len(slide), min(p.variable_genes, len(slide.genes))
        further = len(slide.genes) - genes
        hexagonal = slide.lattice.kind == "hex"
        parts = 7 if hexagonal else 9
        around = 1 + (3 if hexagonal else 4) * p.rings * (p.rings + 1)
        latent = genes if p.ablation == "vae" else p.latent
        replicates = 4 if p.depth == "thinned" else 1
        blocks = min(n, p.max_centres * around)

        seconds = 3 + 2e-8 * genes * (n + replicates * blocks)
        if p.ablation != "vae":
            seconds += p.embedding_steps * (4e-3 + 6.5e-8 * p.batch * genes)
        decoded = p.batch * (parts + 1) / 2 * genes
        attended = p.batch * (around**2 + parts * around) * p.width
        seconds += p.graph_steps * (6e-3 + 4e-8 * decoded + 5e-9 * attended)
        seconds += 1.7e-7 * min(n, 5000) * (further + 3.2 * min(further, 1000))
        seconds += 3e-7 * min(n, 500) * len(slide.genes)
        seconds += len(targets) * (2e-6 * around + 1e-8 * genes)

        edges = len(targets) * around
        kept = edges * p.layers * p.heads
        memory = 600e6 + 12.0 * slide.counts.nnz * min(1.0, 2 * genes / len(slide.genes))
        memory += 24 * decoded + 8 * n * latent * replicates
        # Hidden states and their slopes; embeddings, their variance and what they are cut from.
        memory += len(targets) * 4 * (genes if p.ablation == "vae" else 2 * p.hidden)
        memory += len(targets) * 4 * 4 * latent
        # Attention is gathered in pieces and then joined; names and places come with each target.
        memory += 24 * (kept if kept <= 20e6 else edges) + 200 * len(targets)
        return Estimate(int(memory), float(seconds))

    def fit(
        self, slide: Slide, params: Params, run: Run, genes: NDArray[np.int64] | None = None
    ) -> Generator[Progress, None, Fitted]:
        """Train the embedding, the graph, and the decoder of all other genes."""
        yield Progress("starting", 0, 1, 0.0)
        from napari_stsr.methods.square.fitting import fit_square
        from napari_stsr.training.device import limited_threads

        with limited_threads(run.threads):
            return (yield from fit_square(slide, cast(SquareParams, params), run, genes))

    def load(self, path: Path) -> Fitted:
        """Read a saved Square."""
        from napari_stsr.methods.square.fitted import SquareFitted
        from napari_stsr.methods.square.saved import read_learned

        return SquareFitted(read_learned(path))
