"""What SUICA is taught: some locations and genes of a slide, and who is held out from whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.suica.params import SuicaParams
from napari_stsr.methods.variable_genes import variable_genes
from napari_stsr.slides import Slide

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
# The published filters.
FEWEST_COUNTS, _FEWEST_OF_GENE, _MOST_OF_GENE = 200, 3, 200
PUBLISHED_TOTAL = 200.0


@dataclass(frozen=True, eq=False)
class Lesson:
    """Locations, genes and values to learn from.

    Parameters
    ----------
    rows : (r,) int array
        Locations of the slide.
    genes : (t,) int array
        Columns of the slide.
    values : CSR matrix (r, t)
        Float32 counts, or counts scaled to `PUBLISHED_TOTAL`.
    totals : (r,) float array
        Counts over `genes`.
    depths : (n,) float array
        The same for all locations of the slide.
    places : (r, 2) float array
        µm.
    fold : (r,) int array
        The member of the ensemble each location is held out from, -1 where from none.
    """

    rows: Ints
    genes: Ints
    values: sparse.csr_matrix
    totals: Floats
    depths: Floats
    places: Floats
    fold: Ints

    @classmethod
    def of(cls, slide: Slide, measured: Measured, params: SuicaParams, seed: int) -> Lesson:
        """Choose what to learn from.

        Raises
        ------
        InputError
            When the published filters leave too little.
        """
        published = params.published
        genes = published_genes(slide) if params.filters else np.arange(len(slide.genes))
        if len(genes) > params.variable_genes:
            chosen = variable_genes(slide.counts, params.variable_genes, measured.gene_columns)
            genes = np.intersect1d(genes, chosen)
        elif not params.filters:
            genes = variable_genes(slide.counts, params.variable_genes, measured.gene_columns)
        counts = slide.counts.genes(genes)
        totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        deep = totals > 0
        if params.filters:
            # The published filter looks at all genes of the slide.
            deep &= slide.counts.totals >= FEWEST_COUNTS
        rows = np.flatnonzero(deep)
        if len(rows) < 2 * params.members or not len(genes):
            word = slide.location_word
            raise InputError(
                f"{len(rows):,} {word}s and {len(genes):,} genes are left to learn from.",
                f"The published form drops {word}s under {FEWEST_COUNTS} counts and genes above "
                f"{_MOST_OF_GENE}; turn its filters off, or choose the preset auto."
                if params.filters
                else "Draw a larger ROI or lower the members of the ensemble.",
            )
        values = counts[rows].astype(np.float32)
        if published:
            values = (
                sparse.diags_array(PUBLISHED_TOTAL / totals[rows]).astype(np.float32) @ values
            ).tocsr()
        fold = np.full(len(rows), -1, dtype=np.int64)
        if params.members > 1:
            order = np.random.default_rng([seed, 41]).permutation(len(rows))
            fold[order] = np.arange(len(rows)) % params.members
        return cls(rows, genes, values, totals[rows], totals, slide.coordinates[rows], fold)

    def __len__(self) -> int:
        return len(self.rows)

    def seen(self, member: int) -> NDArray[np.bool_]:
        """Which locations of the lesson a member sees."""
        return np.asarray(self.fold != member)


def published_genes(slide: Slide) -> Ints:
    """Columns the published filter keeps: at most 200 counts in a location, 3 or more in all.

    Only locations that it keeps, of 200 counts or more, decide.
    """
    rows = slide.counts.rows
    kept = rows[np.flatnonzero(slide.counts.totals >= FEWEST_COUNTS)]
    highest = kept.max(axis=0).toarray().ravel() if kept.shape[0] else np.zeros(rows.shape[1])
    totals = np.asarray(kept.sum(axis=0)).ravel()
    return np.flatnonzero((totals >= _FEWEST_OF_GENE) & (highest <= _MOST_OF_GENE))
