"""A plan: everything that says how a slide is to be enhanced, before anything runs."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from shapely.geometry import MultiPolygon

from napari_stsr.errors import InputError
from napari_stsr.methods import Estimate, Params, get_method
from napari_stsr.results import Enhancement
from napari_stsr.session.models import Model, without_counts
from napari_stsr.session.provenance import fit_record, provenance
from napari_stsr.session.recipe import command_recipe, python_recipe
from napari_stsr.session.tasks import TASKS, Task, check_task, finished
from napari_stsr.slides import Region, Slide, Targets
from napari_stsr.training import Progress, Run


@dataclass(frozen=True, eq=False)
class Plan:
    """Method, parameters, genes and places of one enhancement.

    Parameters
    ----------
    method, preset : str
    values : mapping
        Parameters that differ from the preset.
    genes : tuple of str, optional
        Ids or symbols to predict; all by default.
    subspots : int, optional
        Parts per location; the lattice's default where no targets are named.
    grid_um : float, optional
        Square grid of this step instead of subspots.
    at : Targets, optional
        Any targets instead of subspots.
    region : Region, optional
        Enhance only here: the method learns from the region and its halo.
    halo_pitches : float
        Width of the halo.
    task : {"enhance", "denoise", "impute"}
        Predict at other places, at the measured locations, or there where zero was measured.
    """

    method: str = "square"
    preset: str = "auto"
    values: Mapping[str, Any] = field(default_factory=dict)
    genes: tuple[str, ...] | None = None
    subspots: int | None = None
    grid_um: float | None = None
    at: Targets | None = None
    region: Region | None = None
    halo_pitches: float = 2.0
    task: Task = "enhance"

    def __post_init__(self) -> None:
        named = [self.subspots is not None, self.grid_um is not None, self.at is not None]
        if sum(named) > 1:
            raise InputError("Subspots, a grid and targets exclude each other.", "Choose one.")
        check_task(self.task, any(named))
        if not (np.isfinite(self.halo_pitches) and self.halo_pitches >= 0):
            raise InputError(
                f"A halo of {self.halo_pitches:g} pitches cannot be.", "Choose 0 or more."
            )

    def params(self) -> Params:
        """Parameters of the method."""
        return get_method(self.method).parameters(self.preset, self.values)

    def prepare(self, slide: Slide) -> tuple[Slide, Targets]:
        """Slide to learn from, and targets to predict at; checked against the method.

        Raises
        ------
        InputError
            When the plan cannot work on this slide.
        """
        params = self.params()
        self.columns(slide)
        learned = self.learned(slide)
        targets = self.targets(learned)
        get_method(self.method).check(learned, targets, params)
        return learned, targets

    def learned(self, slide: Slide) -> Slide:
        """Part of a slide to learn from: the region and its halo, or all."""
        if self.region is None:
            return slide
        return slide.within(self.region, self.halo_pitches * slide.lattice.pitch_um)

    def targets(self, slide: Slide) -> Targets:
        """Places of a slide to predict at."""
        if self.task != "enhance":
            targets = slide.locations()
        elif self.at is not None:
            targets = self.at
        elif self.grid_um is not None:
            targets = slide.grid(self.grid_um)
        else:
            targets = slide.subspots(self.subspots)
        return targets if self.region is None else targets.within(self.region)

    def columns(self, slide: Slide) -> NDArray[np.int64] | None:
        """Gene columns to predict, each once; None for all."""
        return None if self.genes is None else _each_once(slide.genes.columns(self.genes))

    def estimate(self, slide: Slide) -> Estimate:
        """Memory and time of this plan."""
        learned, targets = self.prepare(slide)
        return get_method(self.method).estimate(learned, targets, self.params())

    def fitting(self, slide: Slide, run: Run) -> Generator[Progress, None, Model]:
        """Fit, reporting on the way; the generator's return value is the model."""
        yield Progress("preparing", 0, 1, 0.0)
        learned, _ = self.prepare(slide)
        run.cancel.check()
        columns = self.columns(slide)
        fitted = yield from get_method(self.method).fit(learned, self.params(), run, columns)
        genes = slide.genes if columns is None else slide.genes.take(columns)
        record = fit_record(slide, self, run, len(genes))
        return Model(fitted, record, without_counts(learned, genes), learned.counts.totals, self)

    def predicting(
        self, slide: Slide, model: Model, run: Run
    ) -> Generator[Progress, None, Enhancement]:
        """Predict by a model, reporting on the way; the generator's return value is the result."""
        own = model.plan is self
        if not own:
            model.check(slide, self.genes)
        targets = self.targets(self.learned(slide))
        if not own:
            model.check_targets(targets)
        run.cancel.check()
        result = yield from model.fitted.predicting(targets, run)
        if not own and self.genes is not None:
            result = result.with_genes(_each_once(model.genes.columns(self.genes)))
        result = finished(self.task, result, slide)
        # Flags are judged on the whole slide: the edge of a region is not the edge of the tissue.
        in_tissue, supported = support(slide, targets)
        if not own:
            # A model of a region knows nothing of the rest.
            supported &= support(model.slide, targets)[1]
        record = {**provenance(slide, self, model, run), **result.provenance}
        return replace(
            result,
            name=self._name(slide, model),
            in_tissue=in_tissue,
            supported=supported,
            provenance=record,
        )

    def _name(self, slide: Slide, model: Model) -> str:
        """Name of a result: slide, method, and what is not the usual."""
        parts = [slide.name, get_method(model.method).title]
        if self.task != "enhance":
            parts.append(TASKS[self.task].result)
        if self.region is not None:
            parts.append(self.region.name)
        return " · ".join(parts)

    def enhancing(self, slide: Slide, run: Run) -> Generator[Progress, None, Enhancement]:
        """Fit and predict, reporting on the way; the generator's return value is the result."""
        model = yield from self.fitting(slide, run)
        return (yield from self.predicting(slide, model, run))

    def as_python(self, slide_path: str, **more: Any) -> str:
        """Return the lines of Python that do the same; see `napari_stsr.session.recipe`."""
        return python_recipe(self, slide_path, **more)

    def as_command(self, slide_path: str, output: str, **more: Any) -> str:
        """Return the command that does the same; see `napari_stsr.session.recipe`."""
        return command_recipe(self, slide_path, output, **more)


def _each_once(columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop genes named before, by symbol and id for instance."""
    return np.array(list(dict.fromkeys(columns.tolist())), dtype=np.int64)


def united(regions: Sequence[Region]) -> Region:
    """Return several regions as one, so that they are learned together and share one result."""
    if len(regions) == 1:
        return regions[0]
    name = " + ".join(region.name for region in regions)
    outline = shapely.union_all([region.outline for region in regions])
    return Region(name, cast("MultiPolygon", outline))


def support(slide: Slide, targets: Targets) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which targets lie in tissue, and which within one pitch of a measured location.

    Returns
    -------
    in_tissue : (m,) bool array
        The nearest measured location is in tissue and within 0.75 pitch: a corner of a square
        cell is 0.71 pitch from its centre.
    supported : (m,) bool array
        A measured location lies within one pitch.
    """
    away, near = cKDTree(slide.coordinates).query(targets.coordinates)
    pitch = slide.lattice.pitch_um
    in_tissue = slide.in_tissue[near] & (away <= 0.75 * pitch)
    return in_tissue, away <= pitch
