"""Gaussian kernel on logs, a bandwidth per gene by leave-one-out."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.methods.baselines.bandwidth import (
    LeftOut,
    best_bandwidths,
    left_out_seconds,
    squared_loss,
)
from napari_stsr.methods.baselines.depth import depth_bandwidth, smooth_depth
from napari_stsr.methods.baselines.smoothing import SmoothedExpression, Smoother
from napari_stsr.methods.baselines.values import LogValues, log_mass
from napari_stsr.methods.field import FieldFitted, FieldMethod, Floats
from napari_stsr.methods.measured import Measured
from napari_stsr.results.expression import Expression, LoggedExpression
from napari_stsr.slides import Slide
from napari_stsr.training.progress import Progress, Run, reported

# Mass of the prior, in locations.
_PRIOR = 0.01


class KernelFitted(FieldFitted):
    """Smooth logs and a smooth depth."""

    def field(self, coordinates: Floats, run: Run) -> tuple[Expression, None]:
        """Smooth the logs of every gene with its own bandwidth."""
        measured, learned = self.measured, self.learned
        smoother = Smoother.of(self.measured, coordinates)
        mass = log_mass(measured.totals)
        values = LogValues(measured.counts, measured.totals, mass)
        logs = SmoothedExpression(
            smoother, values, mass, learned["bandwidth"], learned["mean"], _PRIOR
        )
        depth = smooth_depth(smoother, measured.totals, float(learned["depth_bandwidth"]))
        return LoggedExpression(logs, depth), None


class Kernel(FieldMethod):
    """A Gaussian kernel on logs, a bandwidth per gene by leave-one-out."""

    name = "kernel"
    title = "Gaussian kernel"
    summary = (
        "Smooths the logs of every gene with a Gaussian, at the width that predicts left-out "
        "locations best."
    )
    paper = "Nadaraya, Watson: kernel regression, 1964"
    fitted = KernelFitted

    def learn(
        self, slide: Slide, measured: Measured, params: Any, run: Run
    ) -> Generator[Progress, None, dict[str, NDArray[Any]]]:
        """Choose the bandwidths of genes and depth."""
        totals, pitch = measured.totals, measured.spacing_um
        left_out = LeftOut.of(measured.coordinates, totals > 0, pitch, run.seed)
        yield Progress("smoothing the depth", 0, 1, 0.05)
        depth = depth_bandwidth(left_out, totals, run.cancel.check)
        mass = log_mass(totals)
        values = LogValues(measured.counts, totals, mass)
        mean, loss = values.mean(), squared_loss(mass)
        choosing = best_bandwidths(left_out, values, mass.astype(np.float32), mean, _PRIOR, loss)
        many = len(left_out.locations) * len(measured.genes)
        bandwidth = yield from reported(choosing, "choosing bandwidths", many, (0.1, 1.0), run)
        return {"bandwidth": bandwidth, "mean": mean, "depth_bandwidth": np.array(depth)}

    def seconds(self, slide: Slide, params: Any) -> float:
        """Time to choose the bandwidths."""
        return left_out_seconds(len(slide), len(slide.genes), slide.counts.nnz)
