"""CARD's imputation, our implementation: loadings of a factorisation under a CAR model."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from napari_stsr.methods.base import Estimate
from napari_stsr.methods.baselines.bandwidth import LeftOut
from napari_stsr.methods.baselines.depth import depth_bandwidth, smooth_depth
from napari_stsr.methods.baselines.factor_kernel import FactorExpression
from napari_stsr.methods.baselines.factors import fit_factors, fit_loadings, fit_profiles
from napari_stsr.methods.baselines.smoothing import Smoother
from napari_stsr.methods.field import FieldFitted, FieldMethod, FieldParams
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.parameters import Params, parameter
from napari_stsr.methods.peers import car
from napari_stsr.methods.peers.logs import deep
from napari_stsr.methods.variable_genes import variable_genes
from napari_stsr.results.expression import Floats32
from napari_stsr.slides import Slide, Targets
from napari_stsr.training.progress import Progress, Run, reported

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_BLOCK = 20_000_000
_FITTING_STEPS = 30
# Larger slides learn factors and profiles on this many locations.
_MOST = 20_000
_SAME_PLACE = 1e-3


@dataclass(frozen=True)
class CardParams(FieldParams):
    """What the user can set; see docs/methods/peers.md for the model."""

    factors: int = parameter(
        20, "Factors", "Parts that every location is mixed from.", low=1, high=100
    )
    neighbours: int = parameter(
        10, "Neighbours", "Locations that each location is joined to.", low=2, high=100
    )
    bandwidth: float = parameter(
        1.0,
        "Bandwidth (pitches)",
        "Width of the Gaussian weights between neighbours; 0 takes a tenth of the slide's longer "
        "side, as published.",
        low=0.0,
        high=100.0,
    )
    variable_genes: int = parameter(
        2000, "Variable genes", "Genes the factors come from.", low=2, high=20000, advanced=True
    )
    steps: int = parameter(
        200, "Steps", "Most steps of the factorisation.", low=1, high=10_000, advanced=True
    )


class CardFitted(FieldFitted):
    """Loadings at the measured locations, and the CAR model that continues them anywhere."""

    def field(self, coordinates: Floats, run: Run) -> tuple[FactorExpression, None]:
        """Multiply the continued loadings out, at the depth of the locations around."""
        measured, learned = self.measured, self.learned
        assert isinstance(self.params, CardParams)
        sources, loadings = measured.coordinates[learned["rows"]], learned["loadings"]
        model = car.Car(float(learned["phi"]), learned["mean"], learned["rho"], 0.0)
        width = bandwidth_um(measured, self.params.bandwidth)
        near = car.weights(coordinates, sources, self.params.neighbours, width)
        values = model.continued(near, loadings)
        away, own = cKDTree(sources).query(coordinates)
        there = away < _SAME_PLACE * measured.spacing_um
        values[there] = loadings[own[there]]
        smoother = Smoother.of(self.measured, coordinates)
        depth = smooth_depth(smoother, measured.totals, float(learned["depth_bandwidth"]))
        mixed = composition(values) * depth[:, None]
        return FactorExpression(mixed.astype(np.float32), learned["profiles"]), None


def composition(loadings: Floats) -> Floats:
    """Loadings (n, factors) as shares: none below zero, rows of sum 1."""
    above = np.maximum(loadings, 1e-9)
    return np.asarray(above / above.sum(axis=1, keepdims=True))


def bandwidth_um(measured: Measured, pitches: float) -> float:
    """Width of the Gaussian weights in µm."""
    if pitches > 0:
        return pitches * measured.spacing_um
    return 0.1 * max(float(np.ptp(measured.coordinates, axis=0).max()), measured.spacing_um)


class Card(FieldMethod):
    """Nonnegative factors, their loadings smooth over the tissue by a CAR model."""

    name = "card"
    title = "Our implementation of CARD"
    summary = (
        "Factorises the counts without a reference, continues the loadings to new places by a "
        "conditional autoregressive model, and multiplies out."
    )
    paper = "Ma and Zhou, Nature Biotechnology 2022 (10.1038/s41587-022-01273-7)"
    family = "peer"
    params = CardParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "auto": {},
        "fast": {"steps": 60},
        "paper": {"bandwidth": 0.0},
    }
    fewest = 20
    fitted = CardFitted

    def estimate(self, slide: Slide, targets: Targets, params: Params) -> Estimate:
        """Memory and time; the constants were measured on one core."""
        assert isinstance(params, CardParams)
        n, genes = len(slide), min(params.variable_genes, len(slide.genes))
        seconds = 1 + params.steps * min(n, _MOST) * genes * (1e-9 + 1.5e-10 * params.factors)
        seconds += 1e-3 * min(n, 5000) + 2e-4 * n + 5e-6 * len(targets)
        memory = 400e6 + 24.0 * slide.counts.nnz + 4.0 * min(n, _MOST) * genes
        memory += len(targets) * 8.0 * (2 * params.factors + 30)
        return Estimate(int(memory), seconds)

    def learn(
        self, slide: Slide, measured: Measured, params: Any, run: Run
    ) -> Generator[Progress, None, dict[str, NDArray[Any]]]:
        """Factorise, smooth the loadings, and fit every gene's profile to them."""
        rows = np.flatnonzero(deep(measured.totals))
        genes = variable_genes(slide.counts, params.variable_genes, measured.gene_columns)
        counts = slide.counts.genes(genes)[rows]
        rng = np.random.default_rng([run.seed, 2])
        taught = np.sort(rng.permutation(len(rows))[:_MOST])
        loadings = yield from _factorised(counts, taught, params, run)
        yield Progress("choosing the reach of neighbours", 0, 1, 0.8)
        places = measured.coordinates[rows]
        width, some = bandwidth_um(measured, params.bandwidth), car.middle(places)
        patch = car.graph(places[some], params.neighbours, width)
        model = car.Car.fitted(patch, loadings[some], run.cancel.check)
        joined = car.graph(places, params.neighbours, width)
        smooth = model.denoised(joined, loadings)
        yield Progress("profiles of all genes", 0, 1, 0.9)
        profiles = _profiles(measured, rows[taught], smooth[taught], run)
        left_out = LeftOut.of(
            measured.coordinates, measured.totals > 0, measured.spacing_um, run.seed
        )
        depth = depth_bandwidth(left_out, measured.totals, run.cancel.check)
        return {
            "rows": rows,
            "loadings": smooth,
            "profiles": profiles,
            "phi": np.array(model.phi),
            "mean": model.mean,
            "rho": model.rho,
            "depth_bandwidth": np.array(depth),
        }


def _factorised(
    counts: sparse.csr_matrix, taught: Ints, params: CardParams, run: Run
) -> Generator[Progress, None, Floats]:
    """Compositions (n, factors) of all locations, from factors of the taught ones."""
    work = fit_factors(counts[taught], params.factors, params.steps, run.seed)
    loadings, profiles = yield from reported(work, "factorising", params.steps, (0.0, 0.4), run)
    if len(taught) < counts.shape[0]:
        even = np.full((counts.shape[0], len(profiles)), 1 / len(profiles), dtype=np.float32)
        more = fit_loadings(counts, profiles, even, _FITTING_STEPS)
        loadings = yield from reported(more, "placing factors", counts.shape[0], (0.4, 0.8), run)
    return np.asarray(loadings, dtype=np.float64)


def _profiles(measured: Measured, rows: Ints, loadings: Floats, run: Run) -> Floats32:
    """Shares (factors, g) of all genes in every factor, given smooth loadings of some rows."""
    amounts = (composition(loadings) * measured.totals[rows, None]).astype(np.float32)
    n, g = len(rows), measured.counts.shape[1]
    mean = measured.counts.gene_totals / measured.totals.sum()
    profiles = np.empty((amounts.shape[1], g), dtype=np.float32)
    for genes in np.array_split(np.arange(g), 1 + n * g // _BLOCK):
        run.cancel.check()
        even = np.tile(mean[genes].astype(np.float32), (len(profiles), 1))
        counts = measured.counts.dense(genes)[rows]
        profiles[:, genes] = fit_profiles(counts, amounts, even, _FITTING_STEPS)
    return profiles
