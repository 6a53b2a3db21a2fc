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
from napari_stsr.session.provenance import provenance
from napari_stsr.session.recipe import command_recipe, python_recipe
from napari_stsr.slides import Region, Slide, Targets
from napari_stsr.training import Progress, Run
from napari_stsr.training.progress import outcome


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

    def __post_init__(self) -> None:
        named = [self.subspots is not None, self.grid_um is not None, self.at is not None]
        if sum(named) > 1:
            raise InputError("Subspots, a grid and targets exclude each other.", "Choose one.")
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
        learned = slide
        if self.region is not None:
            learned = slide.within(self.region, self.halo_pitches * slide.lattice.pitch_um)
        targets = self.targets(learned)
        get_method(self.method).check(learned, targets, params)
        return learned, targets

    def targets(self, slide: Slide) -> Targets:
        """Places of a slide to predict at."""
        if self.at is not None:
            targets = self.at
        elif self.grid_um is not None:
            targets = slide.grid(self.grid_um)
        else:
            targets = slide.subspots(self.subspots)
        return targets if self.region is None else targets.within(self.region)

    def columns(self, slide: Slide) -> NDArray[np.int64] | None:
        """Gene columns to predict; None for all."""
        return None if self.genes is None else slide.genes.columns(self.genes)

    def estimate(self, slide: Slide) -> Estimate:
        """Memory and time of this plan."""
        learned, targets = self.prepare(slide)
        return get_method(self.method).estimate(learned, targets, self.params())

    def enhancing(self, slide: Slide, run: Run) -> Generator[Progress, None, Enhancement]:
        """Fit and predict, reporting on the way; the generator's return value is the result."""
        yield Progress("preparing", 0, 1, 0.0)
        learned, targets = self.prepare(slide)
        params = self.params()
        run.cancel.check()
        fitted = yield from get_method(self.method).fit(learned, params, run, self.columns(slide))
        result = yield from fitted.predicting(targets, run)
        # Flags are judged on the whole slide: the edge of a region is not the edge of the tissue.
        in_tissue, supported = support(slide, targets)
        record = {**provenance(slide, self, params, run), **result.provenance}
        name = f"{slide.name} · {get_method(self.method).title}"
        if self.region is not None:
            name = f"{name} · {self.region.name}"
        return replace(
            result, name=name, in_tissue=in_tissue, supported=supported, provenance=record
        )

    def as_python(self, slide_path: str, **more: Any) -> str:
        """Return the lines of Python that do the same; see `napari_stsr.session.recipe`."""
        return python_recipe(self, slide_path, **more)

    def as_command(self, slide_path: str, output: str, **more: Any) -> str:
        """Return the command that does the same; see `napari_stsr.session.recipe`."""
        return command_recipe(self, slide_path, output, **more)


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


def enhance(
    slide: Slide,
    method: str = "square",
    preset: str = "auto",
    *,
    run: Run | None = None,
    **plan: Any,
) -> Enhancement:
    """Enhance a slide and wait for the result.

    Parameters
    ----------
    slide : Slide
    method, preset : str
    run : Run, optional
        Seed, device, cancel token, checkpoints.
    **plan
        Any other field of `Plan`: ``values``, ``genes``, ``subspots``, ``grid_um``, ``at``,
        ``region``, ``halo_pitches``.

    Returns
    -------
    Enhancement

    Examples
    --------
    >>> from napari_stsr import enhance, simulate_slide
    >>> result = enhance(simulate_slide(), preset="fast")        # doctest: +SKIP
    """
    return outcome(Plan(method, preset, **plan).enhancing(slide, run or Run()))
