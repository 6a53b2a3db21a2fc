"""A slide: what was measured, in µm, immutable, with cheap views by region."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.slides.counts import Counts
from napari_stsr.slides.genes import Genes
from napari_stsr.slides.lattice import Lattice
from napari_stsr.slides.region import Region
from napari_stsr.slides.targets import Targets, grid, points, subspots

if TYPE_CHECKING:
    from napari_stsr.slides.image import Pyramid

Level = Literal["good", "notice", "problem"]
SlideKind = Literal["visium", "visium-hd", "st", "anndata", "simulated", "cells"]


@dataclass(frozen=True)
class Check:
    """One finding about a slide: how serious, what, and what to do about it."""

    level: Level
    sentence: str
    remedy: str = ""


@dataclass(frozen=True)
class PixelScale:
    """Size of a full-resolution pixel and how it is known.

    Attributes
    ----------
    um_per_px : float
    source : str
        One of ``"microns_per_pixel"``, ``"spot lattice"``, ``"fiducial diameter"``,
        ``"image metadata"``, ``"user"``, ``"simulator"``, ``"coordinates in µm"``.
    """

    um_per_px: float
    source: str


@dataclass(frozen=True)
class Source:
    """Where a slide came from: its path and the hashes of the files read."""

    path: str
    hashes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Slide:
    """Measured counts at known places, with an optional histology image.

    Parameters
    ----------
    name : str
    kind : {"visium", "visium-hd", "st", "anndata", "simulated", "cells"}
    counts : Counts
        Locations × genes.
    genes : Genes
    coordinates : (n, 2) float array
        Centres (x, y) in µm; full-res px are ``coordinates / scale.um_per_px``.
    barcodes : (n,) array of str
    lattice : Lattice
    diameter_um : float
        Width of a measured location: spot diameter, or bin side.
    scale : PixelScale
    in_tissue : (n,) bool array
    image : Pyramid, optional
        Histology; its own affine places it in µm.
    annotations : DataFrame
        One row a location (labels, array positions); not used by any method.
    source : Source
    checks : tuple of Check
        Findings on load, worst first.
    """

    name: str
    kind: SlideKind
    counts: Counts
    genes: Genes
    coordinates: NDArray[np.float64]
    barcodes: NDArray[np.str_]
    lattice: Lattice
    diameter_um: float
    scale: PixelScale
    in_tissue: NDArray[np.bool_]
    image: Pyramid | None = None
    annotations: pd.DataFrame = field(default_factory=pd.DataFrame)
    source: Source = field(default_factory=lambda: Source(""))
    checks: tuple[Check, ...] = ()

    def __post_init__(self) -> None:
        n, g = self.counts.shape
        if (len(self.coordinates), len(self.barcodes), len(self.genes)) != (n, n, g):
            raise InputError(
                f"Counts are {n:,} × {g:,}, but there are {len(self.coordinates):,} coordinates, "
                f"{len(self.barcodes):,} barcodes and {len(self.genes):,} genes."
            )

    def __len__(self) -> int:
        return self.counts.shape[0]

    def __str__(self) -> str:
        n, g = self.counts.shape
        return f"{self.name}: {n:,} locations × {g:,} genes, {self.lattice}"

    @property
    def location_word(self) -> str:
        """What this platform calls a location."""
        return {"visium-hd": "bin", "cells": "cell"}.get(self.kind, "spot")

    @cached_property
    def coordinates_px(self) -> NDArray[np.float64]:
        """Centres (x, y) in full-resolution pixels."""
        return self.coordinates / self.scale.um_per_px

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Slide:
        """Return the slide with only some locations; the image is shared."""
        return replace(
            self,
            counts=self.counts.take(rows),
            coordinates=self.coordinates[rows],
            barcodes=self.barcodes[rows],
            lattice=self.lattice.take(rows),
            in_tissue=self.in_tissue[rows],
            annotations=self.annotations.iloc[
                np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
            ]
            if len(self.annotations)
            else self.annotations,
        )

    def with_counts(self, counts: Counts) -> Slide:
        """Return the slide with other counts of the same locations and genes."""
        return replace(self, counts=counts)

    def with_genes(self, columns: NDArray[np.int64]) -> Slide:
        """Return the slide with only some genes, in the order given.

        Raises
        ------
        InputError
            When a gene is named twice.
        """
        chosen = self.counts.genes(columns).astype(self.counts.rows.dtype)
        return replace(self, counts=Counts(chosen), genes=self.genes.take(columns))

    def within(self, region: Region, halo_um: float = 0.0) -> Slide:
        """Return the slide inside a region and a margin around it.

        Raises
        ------
        InputError
            When no measured location lies there.
        """
        reach = region.grown(halo_um) if halo_um > 0 else region
        inside = reach.contains(self.coordinates)
        if not inside.any():
            raise InputError(
                f"The region {region.name!r} holds none of the {len(self):,} measured "
                f"{self.location_word}s.",
                "Draw it over the tissue.",
            )
        return self.take(inside)

    def subspots(self, k: int | None = None) -> Targets:
        """Split every location into k parts; see `napari_stsr.slides.targets.subspots`."""
        return subspots(self.lattice, self.coordinates, k, self.barcodes)

    def grid(self, step_um: float) -> Targets:
        """Square grid over the tissue, up to 0.6 pitch from a measured location."""
        return grid(self.coordinates, step_um, 0.6 * self.lattice.pitch_um)

    def locations(self) -> Targets:
        """Return the measured locations themselves as targets."""
        return points(self.coordinates, self.diameter_um, self.barcodes)
