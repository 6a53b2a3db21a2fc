"""What all baselines share: a field of expected counts over the plane, learned from one slide.

A baseline says what a whole location would hold at any place (x, y). Everything else follows: a
grid cell or a point takes its share of the area, a subspot one k-th, and the subspots of a
measured location can be made to add up to its counts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.methods.answer import Answer, Parts, measured_there
from napari_stsr.methods.base import Estimate, Family, Fitted, Method
from napari_stsr.methods.measured import Measured, read_field, write_field
from napari_stsr.methods.parameters import Params, parameter
from napari_stsr.results import Enhancement
from napari_stsr.results.expression import Composed, Expression, ScaledExpression
from napari_stsr.results.posterior import OwnCounts, Trust
from napari_stsr.slides import Slide, Targets, points
from napari_stsr.training.progress import Progress, Run, outcome

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class FieldParams(Params):
    """What every baseline lets the user set."""

    conserve: str = parameter(
        "expected",
        "Conservation",
        "Whether the parts of a measured location add up to its counts (expected), or show the "
        "baseline's own amounts (off).",
        choices=("expected", "off"),
    )


class FieldFitted(Fitted):
    """A field of expected counts, learned from a slide.

    Parameters
    ----------
    method : FieldMethod
    measured : Measured
        The slide's locations, and its counts of the genes to predict.
    params : FieldParams
    seed : int
    learned : mapping of str to array
        All that was learned; saved and read back as it is.

    Attributes
    ----------
    per_gene : mapping of str to int
        Learned arrays that hold a value for every gene, and the axis along which.
    """

    per_gene: ClassVar[Mapping[str, int]] = {}

    def __init__(
        self,
        method: FieldMethod,
        measured: Measured,
        params: FieldParams,
        seed: int,
        learned: Arrays,
    ) -> None:
        self.method = method
        self.measured = measured
        self.params = params
        self.seed = seed
        self.learned = dict(learned)

    @abstractmethod
    def field(self, coordinates: Floats, run: Run) -> tuple[Expression, Expression | None]:
        """Expected counts of a whole location centred at each place.

        Parameters
        ----------
        coordinates : (m, 2) float array
            Places (x, y) in µm.
        run : Run
            Its `cancel` is checked on the way.

        Returns
        -------
        expected : Expression
            (m, g), lazy in genes.
        sd : Expression or None
            Standard deviation of the expected counts, if the method has one.
        """

    def telling(
        self, coordinates: Floats, run: Run
    ) -> Generator[Progress, None, tuple[Expression, Expression | None]]:
        """`field` with reports on the way; a method that takes long there reports its steps."""
        yield Progress("predicting", 0, 1, 1.0)
        return self.field(coordinates, run)

    def predict(self, targets: Targets, run: Run | None = None) -> Enhancement:
        """Predict at subspots of the learned slide, or at any grid or points.

        Conservation holds for subspots, whole locations at a time, also where only some of a
        location's parts are asked for.
        """
        return outcome(self.predicting(targets, run))

    def predicting(
        self, targets: Targets, run: Run | None = None
    ) -> Generator[Progress, None, Enhancement]:
        """Predict with reports on the way; see `predict`."""
        run = run or Run()
        run.cancel.check()
        if targets.kind == "subspots":
            return (yield from self._subspots(targets, run))
        share = targets.area_um2 / self._location_area(targets)
        expected, sd = yield from self.telling(targets.coordinates, run)
        counted = None
        if self.trust is not None:
            there = self.measured.coordinates, self.measured.spacing_um
            counted = self._own_counts(expected, measured_there(targets, share, *there), 1)
        return self._enhancement(targets, Answer.of(*_scaled(expected, sd, share), counted))

    def of_genes(self, slide: Slide, genes: Ints) -> Self:
        """Keep some columns of the slide it was fitted to, in the order given."""
        held = self.measured.gene_columns
        if np.array_equal(genes, held):
            return self
        order = np.argsort(held)
        at = order[np.searchsorted(held, genes, sorter=order)]
        some = {name: self.learned[name].take(at, axis) for name, axis in self.per_gene.items()}
        measured = Measured.of(slide, genes)
        return type(self)(self.method, measured, self.params, self.seed, self.learned | some)

    @property
    def trust(self) -> Trust | None:
        """How far a location's own counts can be trusted; None where they are not weighed."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever reads the result must know, a sentence each."""
        return ()

    @property
    def depths(self) -> Floats:
        """Counts of every location in the genes that the depth of `field` is counted in, (n,)."""
        return self.measured.totals

    def _own_counts(self, expected: Expression, parent: Ints, parts: int) -> OwnCounts | None:
        """What was counted at the locations of targets, from what is expected of whole ones."""
        if self.trust is None:
            return None
        totals, depth = self.depths, cast(Composed, expected).depth / np.float32(parts)
        return OwnCounts.of(self.measured.counts, totals, parent, parts, depth, self.trust)

    def at(self, places: Floats, run: Run | None = None) -> Expression:
        """Expected counts of a whole location centred at each place (m, 2): the field itself."""
        run = run or Run()
        run.cancel.check()
        centres = points(places, self.measured.diameter_um).coordinates
        return self.field(centres, run)[0]

    def _subspots(self, targets: Targets, run: Run) -> Generator[Progress, None, Enhancement]:
        measured = self.measured
        parts = Parts.of(targets, measured.lattice, measured.coordinates)
        field, sd = yield from self.telling(parts.places, run)
        counted = self._own_counts(field, parts.parent, parts.each)
        expected, sd = _scaled(field, sd, parts.share)
        answer = Answer.of(expected, sd, counted)
        rule = self.params.conserve
        answer = answer.conserved(rule, expected, parts, measured.counts, self.seed)
        if not parts.complete:
            answer = answer.take(parts.rows)
        return self._enhancement(targets, answer, parts.owner)

    def _location_area(self, targets: Targets) -> float:
        """Area a whole location stands for, in the sense of the targets."""
        if targets.kind == "grid":
            return abs(float(np.linalg.det(self.measured.lattice.basis)))
        return float(np.pi * self.measured.diameter_um**2 / 4)

    def _enhancement(
        self, targets: Targets, answer: Answer, owner: Ints | None = None
    ) -> Enhancement:
        measured = self.measured
        parents = np.full(len(targets), "", dtype=measured.barcodes.dtype)
        flags = np.ones(len(targets), dtype=bool)
        return Enhancement(
            f"{measured.name} · {self.method.title}",
            targets,
            measured.genes,
            answer.expression,
            measured.scale,
            flags,
            flags,
            parents if owner is None else measured.barcodes[owner],
            denoised=answer.denoised,
            uncertainty=answer.uncertainty,
            unseen=answer.unseen,
            provenance={"notes": list(self.notes)} if self.notes else {},
        )

    def save(self, path: Path) -> None:
        """Write the measured counts and what was learned, complete or not at all."""
        write_field(
            Path(path), self.method.name, self.measured, self.params, self.seed, self.learned
        )


def _scaled(
    expected: Expression, sd: Expression | None, share: Floats
) -> tuple[Expression, Expression | None]:
    """What whole locations would hold, as the share of one."""
    return ScaledExpression(expected, share), None if sd is None else ScaledExpression(sd, share)


class FieldMethod(Method):
    """A baseline: `learn` looks at the slide, `fitted` answers at any place.

    Attributes
    ----------
    fewest : int
        Locations with counts it needs.
    fitted : type
        The subclass of `FieldFitted` that answers.
    """

    needs: ClassVar[tuple[str, ...]] = ("counts",)
    gives: ClassVar[tuple[str, ...]] = ("expression",)
    family: ClassVar[Family] = "baseline"
    paper = ""
    params = FieldParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"auto": {}, "fast": {}, "paper": {}}
    fewest: ClassVar[int] = 3
    fitted: ClassVar[type[FieldFitted]]

    def learn(
        self, slide: Slide, measured: Measured, params: Any, run: Run
    ) -> Generator[Progress, None, dict[str, NDArray[Any]]]:
        """Learn from a slide, reporting on the way; return arrays for `FieldFitted.learned`.

        By default there is nothing to learn: the answer follows from counts and places.

        Parameters
        ----------
        slide : Slide
            With all genes.
        measured : Measured
            The same, with the genes to predict and the totals over all genes.
        params : FieldParams
            Of the class's own `params`.
        run : Run
        """
        yield Progress("nothing to learn", 1, 1, 1.0)
        return {}

    def check(self, slide: Slide, targets: Targets, params: Params) -> None:
        """Refuse slides with too few locations, without counts, or with broken ones."""
        word = slide.location_word
        if targets.kind == "subspots":
            slide.lattice.division(targets.per_location)
        if not np.isfinite(slide.coordinates).all():
            lacking = int((~np.isfinite(slide.coordinates)).any(axis=1).sum())
            raise InputError(f"{lacking:,} {word}s have no coordinates.", "Leave them out.")
        totals, smallest = slide.counts.totals, slide.counts.rows.data.min(initial=0)
        if smallest < 0 or not np.isfinite(totals).all():
            raise InputError(
                f"Counts hold negative or missing numbers (smallest {smallest:g}).",
                f"{self.title} needs raw counts, not scaled or centred data.",
            )
        full = int((totals > 0).sum())
        if not full:
            raise InputError("All counts are zero.", "Open the filtered matrix of this slide.")
        if full < self.fewest:
            raise InputError(
                f"{self.title} needs at least {self.fewest} {word}s with counts; "
                f"there are {full:,}.",
                "Draw a larger ROI or enhance the whole tissue.",
            )

    def estimate(self, slide: Slide, targets: Targets, params: Params) -> Estimate:
        """Memory and time from the sizes of slide and targets, on one processor core."""
        memory = 600e6 + 12.0 * slide.counts.nnz + 100.0 * len(targets)
        seconds = 0.1 + 2e-8 * slide.counts.nnz + 1e-6 * len(targets) + self.seconds(slide, params)
        return Estimate(int(memory), float(seconds))

    def seconds(self, slide: Slide, params: Any) -> float:
        """Time that `learn` takes on one processor core, from measured constants."""
        return 0.0

    def fit(
        self, slide: Slide, params: Params, run: Run, genes: Ints | None = None
    ) -> Generator[Progress, None, FieldFitted]:
        """Learn from a slide, reporting on the way; the generator's return value is the fit."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        yield Progress("starting", 0, 1, 0.0)
        run.cancel.check()
        assert isinstance(params, self.params)
        measured = Measured.of(slide, genes)
        with threadpool_limits(run.threads):
            learned = yield from self.learn(slide, measured, params, run)
        assert isinstance(params, FieldParams)
        return self.fitted(self, measured, params, run.seed, learned)

    def load(self, path: Path) -> FieldFitted:
        """Read what `FieldFitted.save` wrote.

        Raises
        ------
        InputError
            When the file is missing, broken, or no saved fit of this method.
        """
        measured, values, seed, learned = read_field(Path(path), self.name, self.title)
        params = self.parameters("auto", values)
        assert isinstance(params, FieldParams)
        return self.fitted(self, measured, params, seed, learned)
