"""BayesSpace, our implementation: spatial clustering, then spots split into subspots."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from napari_stsr.errors import InputError
from napari_stsr.methods.base import Estimate
from napari_stsr.methods.field import FieldFitted, FieldMethod, FieldParams
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.parameters import Params, parameter
from napari_stsr.methods.peers.logs import deep, log_normalised, regressed_logs
from napari_stsr.methods.peers.mixture import Neighbourhood, PottsMixture
from napari_stsr.methods.variable_genes import variable_genes
from napari_stsr.results import Enhancement
from napari_stsr.results.expression import LinearExpression, LoggedExpression
from napari_stsr.slides import Lattice, Slide, Targets
from napari_stsr.training.progress import Pace, Progress, Run, outcome

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SPREAD = 0.3
# Targets at the border of the tissue may lie just outside the last cell, by its corner at most.
_REACH = 0.75


@dataclass(frozen=True)
class BayesSpaceParams(FieldParams):
    """What the user can set; see docs/methods/peers.md for the model."""

    domains: int = parameter(7, "Domains (q)", "Number of spatial clusters.", low=2, high=50)
    gamma: float = parameter(
        0.0,
        "Smoothing (gamma)",
        "How strongly neighbours share a domain; 0 takes the published 3 on hex lattices and 2 on "
        "square ones.",
        low=0.0,
        high=10.0,
    )
    errors: str = parameter(
        "t",
        "Errors",
        "Distribution within a domain: t with 4 degrees of freedom, or normal.",
        choices=("t", "normal"),
        advanced=True,
    )
    components: int = parameter(
        15, "Principal components", "Dimensions of a spot.", low=1, high=50, advanced=True
    )
    variable_genes: int = parameter(
        2000, "Variable genes", "Genes the components come from.", low=2, high=20000, advanced=True
    )
    sweeps: int = parameter(
        1000,
        "Sweeps",
        "Draws of all unknowns, for spots and again for subspots; the first fifth is not kept.",
        low=10,
        high=200_000,
        advanced=True,
    )


class Divided(FieldFitted):
    """One division into subspots; `learned` holds their centres, components and domains."""

    def field(self, coordinates: Floats, run: Run) -> tuple[LoggedExpression, None]:
        """Expression of the nearest subspot, at the depth of the nearest location."""
        subspots = self.nearest(coordinates)
        logs = LinearExpression(
            self.learned["values"][subspots], self.learned["weight"], self.learned["bias"]
        )
        _, location = cKDTree(self.measured.coordinates).query(coordinates)
        return LoggedExpression(logs, self.measured.totals[location]), None

    def nearest(self, coordinates: Floats) -> Ints:
        """Subspot each place belongs to.

        Raises
        ------
        InputError
            For places outside the measured locations.
        """
        lattice = self.measured.lattice
        _refuse_outside(coordinates, self.measured.coordinates, lattice.pitch_um)
        return np.asarray(cKDTree(self.learned["centres"]).query(coordinates)[1])


class BayesSpaceFitted(FieldFitted):
    """Clusters of spots, what their components say of genes, and the divisions drawn so far."""

    def predict(self, targets: Targets, run: Run | None = None) -> Enhancement:
        """Predict subspots, or read grids and points inside measured spots from them."""
        return outcome(self.predicting(targets, run))

    def predicting(
        self, targets: Targets, run: Run | None = None
    ) -> Generator[Progress, None, Enhancement]:
        """Draw the division into subspots, unless it is known already, then predict."""
        divided = yield from self.divided(self._parts(targets), run or Run())
        result = divided.predict(targets, run)
        at = divided.nearest(targets.coordinates)
        return replace(result, embedding=divided.learned["values"][at])

    def domains(self, targets: Targets, run: Run | None = None) -> Ints:
        """Spatial domain of every target, 0 … q-1."""
        divided = outcome(self.divided(self._parts(targets), run or Run()))
        return np.asarray(divided.learned["domains"][divided.nearest(targets.coordinates)])

    def field(self, coordinates: Floats, run: Run) -> tuple[LoggedExpression, None]:
        """Expression of the nearest subspot of the published division."""
        divided = outcome(self.divided(_published(self.measured.lattice), run))
        return divided.field(coordinates, run)

    def _parts(self, targets: Targets) -> int:
        if targets.kind == "subspots":
            return targets.per_location
        return _published(self.measured.lattice)

    def divided(self, parts: int, run: Run) -> Generator[Progress, None, Divided]:
        """Draw the components and domains of the subspots of all spots."""
        named = {name: f"{name}/{parts}" for name in ("centres", "values", "domains")}
        if named["values"] not in self.learned:
            rows = self.learned["rows"]
            lattice = self.measured.lattice.take(rows)
            centres, around = subspots(lattice, parts)
            values = np.repeat(self.learned["values"], parts, axis=0)
            labels = np.repeat(self.learned["domains"], parts)
            mixture = _mixture(self.params, lattice, values, labels, around, parts)
            yield from _swept(mixture, self.params, run, [self.seed, parts], "dividing spots")
            offsets = lattice.division(parts).offsets @ lattice.basis
            centres = (self.measured.coordinates[rows][:, None] + offsets).reshape(-1, 2)
            drawn = (centres, mixture.mean_values, mixture.domains)
            self.learned.update(zip(named.values(), drawn, strict=True))
        learned = {name: self.learned[key] for name, key in named.items()}
        learned.update({name: self.learned[name] for name in ("weight", "bias")})
        return Divided(self.method, self.measured, self.params, self.seed, learned)


class BayesSpace(FieldMethod):
    """Spots split into subspots whose components are drawn under a spatial mixture."""

    name = "bayesspace"
    title = "Our implementation of BayesSpace"
    summary = (
        "Clusters spots under a prior that neighbours agree, splits them into subspots by the same "
        "model, and reads genes from the subspots' principal components."
    )
    paper = "Zhao et al., Nature Biotechnology 2021 (10.1038/s41587-021-00935-2)"
    needs = ("counts", "lattice")
    gives = ("expression", "domains")
    family = "peer"
    params = BayesSpaceParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "auto": {},
        "fast": {"sweeps": 200},
        "paper": {"sweeps": 10_000},
    }
    fewest = 20
    fitted = BayesSpaceFitted

    def check(self, slide: Slide, targets: Targets, params: Params) -> None:
        """Refuse slides without lattice, and targets outside the measured locations."""
        super().check(slide, targets, params)
        assert isinstance(params, BayesSpaceParams)
        word = slide.location_word
        if slide.lattice.kind == "none":
            raise InputError(
                f"{self.title} splits {word}s on a regular lattice; this slide has {slide.lattice}."
            )
        taught = int(deep(slide.counts.totals).sum())
        if taught < 2 * params.domains:
            raise InputError(
                f"{params.domains} domains need at least {2 * params.domains} {word}s; there are "
                f"{taught} with counts enough.",
                "Lower domains.",
            )
        if targets.kind != "subspots":
            _refuse_outside(targets.coordinates, slide.coordinates, slide.lattice.pitch_um)

    def estimate(self, slide: Slide, targets: Targets, params: Params) -> Estimate:
        """Memory and time of the draws; the constants were measured on one core."""
        assert isinstance(params, BayesSpaceParams)
        subspot = targets.kind == "subspots"
        parts = targets.per_location if subspot else _published(slide.lattice)
        d, q, places = params.components, params.domains, len(slide) * (1 + parts)
        seconds = 2 + 1e-7 * slide.counts.nnz
        seconds += params.sweeps * (4e-4 + places * (5e-8 * q + 2.5e-8 * d))
        memory = 400e6 + 24.0 * slide.counts.nnz + places * (40.0 * d + 24 * q)
        return Estimate(int(memory), seconds)

    def learn(
        self, slide: Slide, measured: Measured, params: Any, run: Run
    ) -> Generator[Progress, None, dict[str, NDArray[Any]]]:
        """Cluster the spots, and regress the log of every gene on their components."""
        yield Progress("principal components", 0, 1, 0.0)
        rows = np.flatnonzero(deep(measured.totals))
        totals = measured.totals[rows]
        genes = variable_genes(slide.counts, params.variable_genes, measured.gene_columns)
        # Scaled to the typical depth, as published: 10,000 would blow up the noise of few counts.
        counts = slide.counts.genes(genes)[rows]
        logs = log_normalised(counts, totals, float(totals.mean()))
        run.cancel.check()
        values = principal_components(logs, params.components, run.seed)
        lattice = measured.lattice.take(rows)
        around = Neighbourhood.of(lattice.neighbours(), colours(lattice))
        labels = gaussian_mixture(values, params.domains, run.seed)
        mixture = _mixture(params, lattice, values, labels, around)
        yield from _swept(mixture, params, run, [run.seed, 1], "clustering spots")
        weight, bias = regressed_logs(measured.counts.rows[rows], totals, values)
        domains = mixture.domains
        return {"rows": rows, "values": values, "domains": domains, "weight": weight, "bias": bias}


def _refuse_outside(places: Floats, measured: Floats, pitch_um: float) -> None:
    away, _ = cKDTree(measured).query(places, distance_upper_bound=_REACH * pitch_um)
    outside = int((~np.isfinite(away)).sum())
    if outside:
        raise InputError(
            f"{outside:,} targets lie outside the measured locations that BayesSpace splits.",
            "Choose subspots, or another method for places that were not measured.",
        )


def _published(lattice: Lattice) -> int:
    """Subspots of a spot in the paper: six triangles, or 3 × 3 squares."""
    return 6 if lattice.kind == "hex" else 9


def colours(lattice: Lattice) -> Ints:
    """Colour of every location, such that neighbours differ: 3 on hex lattices, 2 on square."""
    i, j = lattice.sites.T
    return np.asarray((i - j) % 3 if lattice.kind == "hex" else (i + j) % 2)


def subspots(lattice: Lattice, parts: int) -> tuple[Floats, Neighbourhood]:
    """Ideal centres (n·parts, 2) of all subspots, and who neighbours whom.

    Subspots of the same number in different spots never touch: a class each.
    """
    offsets = lattice.division(parts).offsets @ lattice.basis
    centres = (lattice.position(lattice.sites)[:, None] + offsets).reshape(-1, 2)
    tree = cKDTree(centres)
    nearest = np.median(tree.query(centres, k=2)[0][:, 1])
    _, near = tree.query(centres, k=7, distance_upper_bound=1.2 * nearest)
    neighbours = np.where(near[:, 1:] < len(centres), near[:, 1:], -1)
    return centres, Neighbourhood.of(neighbours, np.tile(np.arange(parts), len(lattice.sites)))


def principal_components(logs: sparse.csr_matrix, components: int, seed: int) -> NDArray[Any]:
    """Scores of the first principal components of sparse logs, (n, components) float32.

    Raises
    ------
    InputError
        Where no gene differs between locations.
    """
    from sklearn.decomposition import PCA

    mean = np.asarray(logs.mean(axis=0)).ravel()
    square = np.asarray(logs.multiply(logs).mean(axis=0)).ravel()
    if not (square - mean**2 > 1e-8).any():
        raise InputError(
            "All locations hold the same shares of the same genes; there is nothing to divide.",
            "Choose other genes, or another method.",
        )

    most = min(components, min(logs.shape) - 1)
    pca = PCA(most, svd_solver="arpack", random_state=seed % 2**32)
    return np.asarray(pca.fit_transform(logs.astype(np.float64)), dtype=np.float32)


def gaussian_mixture(values: NDArray[Any], domains: int, seed: int) -> Ints:
    """Clusters of one common shape, without looking at space: where the sampler starts."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(domains, covariance_type="tied", n_init=3, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(mixture.fit_predict(values), dtype=np.int64)


def _mixture(
    params: Any,
    lattice: Lattice,
    values: NDArray[Any],
    labels: Ints,
    around: Neighbourhood,
    parts: int = 1,
) -> PottsMixture:
    gamma = params.gamma or (3.0 if lattice.kind == "hex" else 2.0)
    spread = _SPREAD * float(values.var(axis=0).mean())
    tailed = params.errors == "t"
    return PottsMixture(values, labels, around, params.domains, gamma, tailed, parts, spread)


def _swept(
    mixture: PottsMixture, params: Any, run: Run, seed: list[int], stage: str
) -> Generator[Progress, None, None]:
    """Run the sampler to its end; the first fifth is not kept."""
    rng, pace, sweeps = np.random.default_rng(seed), Pace(), params.sweeps
    pace.begin(0.0)
    for sweep in range(1, sweeps + 1):
        run.cancel.check()
        mixture.sweep(rng, keep=sweep > sweeps // 5)
        if pace.due() or sweep == sweeps:
            done = sweep / sweeps
            yield Progress(stage, sweep, sweeps, done, eta_s=pace.eta_s(done))
