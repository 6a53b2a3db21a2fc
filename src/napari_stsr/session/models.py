"""A model: what a method learned from a slide, kept to predict again without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.methods import Fitted
from napari_stsr.slides import Counts, Genes, Slide, Targets

if TYPE_CHECKING:
    from napari_stsr.session.plan import Plan

# Places and scales of one slide, opened twice, agree at least so far.
_SAME_PITCHES, _SAME_SCALE = 0.05, 0.01
_REMEDY = "Open the slide it learned from, or fit the method to this one."
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Model:
    """What a method learned from a slide, and how.

    Parameters
    ----------
    fitted : Fitted
        Predicts, at places of the slide it learned from.
    fit : dict
        How it was fitted, JSON-ready: method, preset, parameters, slide, region, seed, versions.
    slide : Slide
        The slide it learned from, with the genes it predicts: where its locations lie, without
        counts, image and annotations.
    totals : (n,) float array
        Counts of every location over all genes of the slide.
    plan : Plan, optional
        What it was fitted by in this session.
    file : dict
        Name and sha256 of the file it was read from; empty for a model of this session.
    """

    fitted: Fitted
    fit: Mapping[str, Any]
    slide: Slide
    totals: NDArray[np.float64]
    plan: Plan | None = None
    file: Mapping[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.fit["method"])

    @property
    def seed(self) -> int:
        """Seed of the fit."""
        return int(self.fit["run"]["seed"])

    @property
    def genes(self) -> Genes:
        """Genes it predicts."""
        return self.slide.genes

    def check(self, slide: Slide, genes: Sequence[str] | None = None) -> None:
        """Refuse genes the model does not predict, and a slide it has not learned from.

        Raises
        ------
        InputError
            With what differs.
        """
        if genes is not None:
            self._check_genes(genes)
        if slide is not self.slide:
            self._check_slide(slide)

    def check_targets(self, targets: Targets) -> None:
        """Refuse parts of locations the model has not seen, as those outside its region.

        Raises
        ------
        InputError
            With what to choose instead.
        """
        if targets.kind != "subspots":
            return
        region = self.fit["region"]
        where = "" if region is None else f", region {region['name']}"
        try:
            targets.owners(self.slide.lattice)
        except InputError as error:
            raise InputError(
                f"This model learned from {self.slide.name}{where}. {error.what}",
                "Choose the region it learned from, or a grid.",
            ) from error

    def _check_genes(self, genes: Sequence[str]) -> None:
        unknown = [gene for gene in genes if gene not in self.genes]
        if not unknown:
            return
        more = ", …" if len(unknown) > _NAMED else ""
        which = f"{len(unknown)} of the {len(genes)} genes asked are"
        if len(unknown) == 1:
            which = "1 gene asked is"
        raise InputError(
            f"{which} not in this model: {', '.join(unknown[:_NAMED])}{more}. It predicts "
            f"{len(self.genes):,} genes of {self.slide.name}.",
            "Ask for those, or fit again with the genes you need.",
        )

    def _check_slide(self, slide: Slide) -> None:
        mine = self.slide
        learned = f"This model learned from {mine.name} ({mine.lattice})"
        rows = pd.Index(slide.barcodes).get_indexer(pd.Index(mine.barcodes))
        here, there = np.flatnonzero(rows >= 0), rows[rows >= 0]
        before, now = mine.scale.um_per_px, slide.scale.um_per_px
        # Told first: from another scale follow another pitch and other places.
        pixels = mine.coordinates_px[here], slide.coordinates_px[there]
        if len(here) and abs(now / before - 1) > _SAME_SCALE and np.allclose(*pixels, atol=1.0):
            raise InputError(
                f"{learned} at {before:.4g} µm per pixel; here it is opened at {now:.4g}.",
                f"Open it with --um-per-px {before:.4g}, or fit the method again.",
            )
        pitch, other = mine.lattice.pitch_um, slide.lattice.pitch_um
        if slide.lattice.kind != mine.lattice.kind or abs(other - pitch) > _SAME_SCALE * pitch:
            raise InputError(f"{learned}; {slide.name} has {slide.lattice}.", _REMEDY)
        words = f"{mine.location_word}s"
        if not len(here):
            raise InputError(
                f"{learned}; {slide.name} has none of its {len(mine):,} {words}.", _REMEDY
            )
        away = np.linalg.norm(mine.coordinates[here] - slide.coordinates[there], axis=1)
        far = int((away > _SAME_PITCHES * pitch).sum())
        if far:
            raise InputError(
                f"{learned}; on {slide.name} {far:,} of its {len(mine):,} {words} lie elsewhere, "
                f"up to {away.max():,.0f} µm away.",
                _REMEDY,
            )
        differ = int((~np.isclose(self.totals[here], slide.counts.totals[there], rtol=1e-5)).sum())
        if differ:
            raise InputError(
                f"{learned}; on {slide.name} {differ:,} of its {len(mine):,} {words} hold other "
                "counts.",
                _REMEDY,
            )


def fit_words(fit: Mapping[str, Any]) -> str:
    """Say what a record of a fit is of, in one line: method, slide, place, genes."""
    region = fit["region"]
    parts = [f"{fit['method']}, {fit['preset']}", fit["slide"]["name"]]
    if region is not None:
        parts.append(region["name"])
    return " · ".join([*parts, f"{fit['predicts']:,} genes"])


def without_counts(slide: Slide, genes: Genes) -> Slide:
    """Return where the locations of a slide lie, of these genes, and nothing measured."""
    nothing = sparse.csr_matrix((len(slide), len(genes)), dtype=np.float32)
    return replace(
        slide,
        counts=Counts(nothing),
        genes=genes,
        image=None,
        annotations=pd.DataFrame(),
        checks=(),
    )
