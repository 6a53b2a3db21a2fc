"""Factor kernel: a few Poisson factors, smoothed like counts and multiplied out."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.methods.baselines.bandwidth import LeftOut
from napari_stsr.methods.baselines.depth import depth_bandwidth, smooth_depth
from napari_stsr.methods.baselines.factors import fit_factors, fit_loadings, fit_profiles
from napari_stsr.methods.baselines.poisson_kernel import prior_mass
from napari_stsr.methods.baselines.smoothing import SmoothedExpression, Smoother
from napari_stsr.methods.baselines.values import ArrayValues
from napari_stsr.methods.field import (
    FieldFitted,
    FieldMethod,
    FieldParams,
    Floats,
)
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.parameters import parameter
from napari_stsr.methods.variable_genes import variable_genes
from napari_stsr.results.expression import Floats32
from napari_stsr.slides import Slide
from napari_stsr.training.progress import Progress, Run, reported

Ints = NDArray[np.int64]
# Larger slides learn profiles on this many groups of pooled locations.
_MOST_LOCATIONS = 20_000
_BLOCK_VALUES = 20_000_000
_LOADING_STEPS, _PROFILE_STEPS = 8, 30


@dataclass(frozen=True)
class FactorParams(FieldParams):
    """Parameters of the factor kernel."""

    factors: int = parameter(
        20, "Factors", "Number of expression programmes the slide is made of.", low=1, high=200
    )
    variable_genes: int = parameter(
        1000,
        "Variable genes",
        "Genes the factors are learned from; all others are fitted to the factors.",
        low=1,
        high=20000,
    )
    steps: int = parameter(
        150, "Steps", "Most steps of the factorisation.", low=1, high=10_000, advanced=True
    )


@dataclass(frozen=True, eq=False)
class FactorExpression:
    """A product of loadings and profiles: ``expected[i, g] = Σ_k loadings[i, k] profiles[k, g]``.

    Parameters
    ----------
    loadings : (m, K) float32 array
    profiles : (K, g) float32 array
    """

    loadings: Floats32
    profiles: Floats32

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return len(self.loadings), self.profiles.shape[1]

    def columns(self, genes: Ints) -> Floats32:
        """Expected values of the given gene columns."""
        return np.asarray(self.loadings @ self.profiles[:, genes])

    def take(self, targets: Ints | NDArray[np.bool_]) -> FactorExpression:
        """Return some targets."""
        return FactorExpression(self.loadings[targets], self.profiles)


class FactorKernelFitted(FieldFitted):
    """Amounts of the factors smoothed over totals, times their profiles and a smooth depth."""

    per_gene: ClassVar[Mapping[str, int]] = {"profiles": 1}

    @property
    def reach_um(self) -> float:
        """How far what it says of a place draws on."""
        return float(self.learned["bandwidth"])

    def field(self, coordinates: Floats, run: Run) -> tuple[FactorExpression, None]:
        """Smooth the amounts of the factors and multiply out."""
        return self.smoothed(Smoother.of(self.measured, coordinates), run), None

    def left_out(self, locations: Ints, run: Run) -> FactorExpression:
        """Expected counts of measured locations, each told by all others."""
        return self.smoothed(Smoother.left_out(self.measured, locations), run)

    def smoothed(self, smoother: Smoother, run: Run) -> FactorExpression:
        """Expected counts at the places of a smoother."""
        learned, totals = self.learned, self.measured.totals
        amounts = learned["amounts"]
        factors = amounts.shape[1]
        smooth = SmoothedExpression(
            smoother,
            ArrayValues(amounts),
            totals,
            np.full(factors, float(learned["bandwidth"])),
            amounts.sum(axis=0, dtype=np.float64) / totals.sum(),
            prior_mass(totals),
        )
        depth = smooth_depth(smoother, totals, float(learned["depth_bandwidth"]))
        run.cancel.check()
        loadings = smooth.columns(np.arange(factors)) * depth[:, None]
        return FactorExpression(loadings, learned["profiles"])


class FactorKernel(FieldMethod):
    """Some twenty Poisson factors, smoothed like counts and multiplied out."""

    name = "factor_kernel"
    title = "Factor kernel"
    summary = (
        "Finds some twenty expression programmes, smooths them over the tissue and multiplies "
        "out. Genes share strength; the strongest of the cheap methods."
    )
    paper = "Lee, Seung: Algorithms for non-negative matrix factorization, NIPS 2001"
    params = FactorParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "auto": {},
        "fast": {"steps": 40},
        "paper": {},
    }
    fitted = FactorKernelFitted

    def learn(
        self, slide: Slide, measured: Measured, params: Any, run: Run
    ) -> Generator[Progress, None, dict[str, NDArray[Any]]]:
        """Learn factors, their bandwidth, and the profile of every gene asked."""
        p = cast(FactorParams, params)
        totals, pitch = measured.totals, measured.spacing_um
        variable = variable_genes(slide.counts, p.variable_genes)
        counts = slide.counts.genes(variable)
        groups = pooling(measured.coordinates, _MOST_LOCATIONS)
        fitting = fit_factors(groups @ counts, p.factors, p.steps, run.seed)
        loadings, profiles = yield from reported(
            fitting, "learning factors", p.steps, (0.0, 0.4), run
        )
        if len(loadings) < len(measured):
            # Every location on its own: a start that knew its surroundings would tell a left-out
            # location's neighbours about it, and the bandwidth would come out too small.
            start = np.tile(loadings.mean(axis=0), (len(measured), 1))
            placing = fit_loadings(counts, profiles, start, _LOADING_STEPS)
            loadings = yield from reported(
                placing, "placing factors", len(measured), (0.4, 0.8), run
            )
        amounts = loadings * totals.astype(np.float32)[:, None]
        yield Progress("choosing bandwidths", 0, 1, 0.8)
        left_out = LeftOut.of(measured.coordinates, totals > 0, pitch, run.seed)
        learned = {
            "amounts": amounts,
            "bandwidth": np.array(_bandwidth(left_out, amounts, profiles, counts, totals)),
            "depth_bandwidth": np.array(depth_bandwidth(left_out, totals, run.cancel.check)),
        }
        del counts, left_out
        learned["profiles"] = yield from _all_profiles(measured, amounts, groups, run)
        return learned

    def seconds(self, slide: Slide, params: Any) -> float:
        """Time to learn factors, loadings and profiles."""
        p, n, genes = cast(FactorParams, params), len(slide), len(slide.genes)
        groups, variable = min(n, _MOST_LOCATIONS), min(p.variable_genes, genes)
        cost = float(groups * (p.steps * variable + _PROFILE_STEPS * genes))
        if n > groups:
            cost += n * _LOADING_STEPS * variable / 2
        return 4e-9 * cost * (0.5 + p.factors / 40)


def pooling(coordinates: Floats, most: int) -> sparse.csr_matrix:
    """Matrix (groups, n) of ones that pools neighbouring locations into at most `most` groups.

    Pooled counts of Poisson locations are Poisson with the pooled mean: nothing is left out, and
    a group of shallow bins is as deep as a spot. A small slide is not pooled.
    """
    n = len(coordinates)
    group = np.arange(n)
    extent = np.maximum(np.ptp(coordinates, axis=0), 1e-9)
    side = float(np.sqrt(extent.prod() / most))
    while len(group) and group.max() >= most:
        square = np.floor((coordinates - coordinates.min(axis=0)) / side).astype(np.int64)
        _, group = np.unique(square[:, 0] * (2**31) + square[:, 1], return_inverse=True)
        side *= 1.1
    ones = np.ones(n, dtype=np.float32)
    return sparse.csr_matrix((ones, (group, np.arange(n))), (int(group.max()) + 1, n))


def _bandwidth(
    left_out: LeftOut, amounts: Floats32, profiles: Floats32, counts: Any, totals: Floats
) -> float:
    """Bandwidth in µm at which left-out locations' variable genes are likeliest."""
    own = counts[left_out.locations].toarray()
    depth = totals.astype(np.float32)
    mean = amounts.sum(axis=0, dtype=np.float64) / totals.sum()
    likelihood = []
    for mixed in left_out.rates(amounts, depth, mean, prior_mass(totals)):
        rate = mixed @ profiles
        np.maximum(rate, np.float32(1e-12), out=rate)
        likelihood.append(float(np.einsum("ig,ig->", own, np.log(rate))))
    return left_out.grid[int(np.argmax(likelihood))]


def _all_profiles(
    measured: Measured, amounts: Floats32, groups: sparse.csr_matrix, run: Run
) -> Generator[Progress, None, Floats32]:
    """Profiles (K, g) of the genes to predict, fitted to the amounts of the factors."""
    g, pooled = len(measured.genes), groups @ amounts
    # By columns, which a large slide holds on disk: blocks of rows would be read once a block.
    columns = measured.counts.columns
    mean = (measured.counts.gene_totals / measured.totals.sum()).astype(np.float32)
    profiles = np.empty((pooled.shape[1], g), dtype=np.float32)
    block = max(1, _BLOCK_VALUES // len(pooled))
    for start in range(0, g, block):
        run.cancel.check()
        yield Progress("fitting all genes", start, g, 0.85 + 0.15 * start / g)
        genes = np.arange(start, min(start + block, g))
        counts = (groups @ columns[:, start : start + block].astype(np.float32)).toarray()
        even = np.broadcast_to(mean[genes], (pooled.shape[1], len(genes)))
        profiles[:, genes] = fit_profiles(counts, pooled, even, _PROFILE_STEPS)
    return profiles
