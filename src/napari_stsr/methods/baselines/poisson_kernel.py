"""Poisson kernel: counts and totals smoothed apart, a bandwidth per gene."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_stsr.methods.baselines.bandwidth import (
    LeftOut,
    best_bandwidths,
    left_out_seconds,
    poisson_loss,
)
from napari_stsr.methods.baselines.depth import depth_bandwidth, smooth_depth
from napari_stsr.methods.baselines.smoothing import SmoothedExpression, Smoother
from napari_stsr.methods.baselines.values import CountValues
from napari_stsr.methods.field import FieldFitted, FieldMethod, Floats
from napari_stsr.methods.measured import Measured
from napari_stsr.results.expression import ScaledExpression
from napari_stsr.slides import Slide
from napari_stsr.training.progress import Progress, Run, reported

Ints = NDArray[np.int64]
# Mass of the prior, in molecules of the typical location.
_PRIOR = 0.01


def prior_mass(totals: Floats) -> float:
    """Molecules that pull every composition to the slide's mean: a hundredth of a location."""
    return _PRIOR * max(float(np.median(totals[totals > 0])), 1.0)


class PoissonKernelFitted(FieldFitted):
    """Compositions smoothed as counts over totals, times a smooth depth."""

    per_gene: ClassVar[Mapping[str, int]] = {"bandwidth": 0}

    def field(self, coordinates: Floats, run: Run) -> tuple[ScaledExpression, None]:
        """Smooth counts and totals apart and divide."""
        return self.smoothed(Smoother.of(self.measured, coordinates)), None

    def left_out(self, locations: Ints, run: Run) -> ScaledExpression:
        """Expected counts of measured locations, each told by all others."""
        return self.smoothed(Smoother.left_out(self.measured, locations))

    def smoothed(self, smoother: Smoother) -> ScaledExpression:
        """Expected counts at the places of a smoother."""
        measured, learned, totals = self.measured, self.learned, self.measured.totals
        share = SmoothedExpression(
            smoother,
            CountValues(measured.counts),
            totals,
            learned["bandwidth"],
            measured.counts.gene_totals / totals.sum(),
            prior_mass(totals),
        )
        depth = smooth_depth(smoother, totals, float(learned["depth_bandwidth"]))
        return ScaledExpression(share, depth)


class PoissonKernel(FieldMethod):
    """Counts and totals smoothed apart, a bandwidth per gene by left-out Poisson likelihood."""

    name = "poisson_kernel"
    title = "Poisson kernel"
    summary = (
        "Smooths counts and totals apart with a Gaussian and divides. Each gene takes the width "
        "that predicts left-out locations best."
    )
    fitted = PoissonKernelFitted

    def learn(
        self, slide: Slide, measured: Measured, params: Any, run: Run
    ) -> Generator[Progress, None, dict[str, NDArray[Any]]]:
        """Choose the bandwidths of genes and depth."""
        totals = measured.totals
        pitch = measured.spacing_um
        left_out = LeftOut.of(measured.coordinates, totals > 0, pitch, run.seed)
        yield Progress("smoothing the depth", 0, 1, 0.05)
        depth = depth_bandwidth(left_out, totals, run.cancel.check)
        choosing = best_bandwidths(
            left_out,
            CountValues(measured.counts),
            totals.astype(np.float32),
            measured.counts.gene_totals / totals.sum(),
            prior_mass(totals),
            poisson_loss(totals),
        )
        many = len(left_out.locations) * len(measured.genes)
        bandwidth = yield from reported(choosing, "choosing bandwidths", many, (0.1, 1.0), run)
        return {"bandwidth": bandwidth, "depth_bandwidth": np.array(depth)}

    def seconds(self, slide: Slide, params: Any) -> float:
        """Time to choose the bandwidths."""
        return left_out_seconds(len(slide), len(slide.genes), slide.counts.nnz)
