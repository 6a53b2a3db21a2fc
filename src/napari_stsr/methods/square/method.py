"""Square as a method: its card, its checks, its estimate. Torch is imported only to fit."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.methods.base import Estimate, Fitted, Method
from napari_stsr.methods.kernel_pair import KernelPair
from napari_stsr.methods.parameters import Params
from napari_stsr.methods.square.params import PRESETS, SquareParams
from napari_stsr.slides import Slide, Targets
from napari_stsr.training.progress import Progress, Run

_FEWEST = 12
# Passes over a slide after which held-out tissue is met best, measured on slides of 180 to 3,700
# locations; they differ from slide to slide.
_EMBEDDING_PASSES, _GRAPH_PASSES = 20.0, 18.0
# As training looks at it, in steps.
_VALIDATE_EVERY = 25


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
        """Memory and time as usual on one processor core; the constants were measured."""
        p = cast(SquareParams, params)
        sizes = _Sizes.of(slide, targets, p)
        return Estimate(int(sizes.memory()), float(sizes.seconds()))

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


@dataclass(frozen=True)
class _Sizes:
    """What memory and time depend on.

    Attributes
    ----------
    slide : Slide
    params : SquareParams
    targets, genes : int
        Places to predict at, and genes the networks learn from.
    parts, around : int
        Locations of a training block, and nodes a place draws on.
    """

    slide: Slide
    params: SquareParams
    targets: int
    genes: int
    parts: int
    around: int

    @classmethod
    def of(cls, slide: Slide, targets: Targets, params: SquareParams) -> _Sizes:
        genes = min(params.variable_genes, len(slide.genes))
        neighbours, parts = (6, 7) if slide.lattice.kind == "hex" else (8, 9)
        around = 1 + neighbours // 2 * params.rings * (params.rings + 1)
        return cls(slide, params, len(targets), genes, parts, around)

    @property
    def decoded(self) -> float:
        """Values that a step of the graph decodes."""
        return self.params.batch * (self.parts + 1) / 2 * self.genes

    @property
    def replicates(self) -> int:
        return 4 if self.params.depth == "thinned" else 1

    def seconds(self) -> float:
        p, n, every = self.params, len(self.slide), len(self.slide.genes)
        blocks, further = min(n, p.max_centres * self.around), every - self.genes
        seconds = 4 + 2e-8 * self.genes * (n + self.replicates * blocks)
        if p.ablation != "vae":
            step = 6e-3 + 6.5e-8 * p.batch * self.genes
            seconds += step * self.steps(p.embedding_steps, _EMBEDDING_PASSES)
        attended = p.batch * (self.around**2 + self.parts * self.around) * p.width
        step = 20e-3 + 4e-8 * self.decoded + 5e-9 * attended
        seconds += step * self.steps(p.graph_steps, _GRAPH_PASSES)
        if p.mix != "off":
            seconds += KernelPair().seconds(self.slide, None)
        seconds += 5e-8 * min(n, 5000) * (further + 3.2 * min(further, 1000))
        # Uncertainty is measured on locations left out, seen and taken as a mean, and on parts.
        seconds += 1.5 + 2e-7 * every * (3 * min(n, 500) + 500)
        return seconds + self.targets * (2e-6 * self.around + 1e-8 * self.genes)

    def steps(self, most: int, passes: float) -> float:
        """Steps until training stops: so many passes over the slide, and the patience after it."""
        p = self.params
        if not p.patience or not p.validation_share:
            return most
        best = passes * min(len(self.slide), p.max_centres) / p.batch
        return min(most, best + _VALIDATE_EVERY * (p.patience + 1))

    def memory(self) -> float:
        p, n = self.params, len(self.slide)
        latent = self.genes if p.ablation == "vae" else p.latent
        edges = self.targets * self.around
        kept = edges * p.layers * p.heads
        used = min(1.0, 2 * self.genes / len(self.slide.genes))
        memory = 600e6 + 12.0 * self.slide.counts.nnz * used
        memory += 24 * self.decoded + 8 * n * latent * self.replicates
        # Hidden states and their slopes; embeddings, their variance and what they are cut from.
        memory += self.targets * 4 * (self.genes if p.ablation == "vae" else 2 * p.hidden)
        memory += self.targets * 4 * 4 * latent
        # Attention is gathered in pieces and then joined; names and places come with each target.
        return memory + 24 * (kept if kept <= 20e6 else edges) + 200 * self.targets
