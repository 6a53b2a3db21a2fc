"""Protocols that hide no place: single entries muted, noise added, molecules split."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.evaluation.protocols.base import SHARED, Protocol, labels_of
from napari_stsr.evaluation.task import Task, halves
from napari_stsr.slides import Counts, Slide

_FEWEST = 25
_MOST_ENTRIES = 500_000_000


class _Entries(Protocol):
    """The locations themselves are asked for; a fold is another draw."""

    shares_noise = False

    def _check(self, slide: Slide, folds: int) -> None:
        if len(slide) < _FEWEST:
            raise InputError(
                f"{len(slide)} {slide.location_word}s are too few to compare anything.",
                f"Take at least {_FEWEST}.",
            )

    def _asked(
        self,
        slide: Slide,
        number: int,
        seen: Counts,
        truth: Counts,
        scored: sparse.csr_matrix | None = None,
        second: Counts | None = None,
    ) -> list[Task]:
        """Ask all locations of `slide`, of which only `seen` is shown."""
        task = Task(
            self.name,
            number,
            slide.with_counts(seen),
            slide.locations(),
            truth,
            np.arange(len(slide)),
            scored,
            labels_of(slide),
            second,
            self.shares_noise,
        )
        return [task]


class MutedGenes(_Entries):
    """Set 70 % of all entries of the matrix to zero and ask for them (SUICA's gene imputation)."""

    name = "muted-genes"
    title = "Muted genes"
    summary = "70 % of all entries, zeros among them, are set to zero; they are predicted."
    share = 0.7

    def _check(self, slide: Slide, folds: int) -> None:
        super()._check(slide, folds)
        if np.prod(slide.counts.shape) > _MOST_ENTRIES:
            n, g = slide.counts.shape
            raise InputError(
                f"muted-genes marks 70 % of {n:,} × {g:,} entries, too many for the memory.",
                "Choose fewer genes or a region.",
            )

    def _fold(self, slide: Slide, number: int, folds: int, seed: int) -> list[Task]:
        muted = self.muted(slide.counts.shape, [seed, 6, number])
        rows = slide.counts.rows
        # Subtracting what is muted from what there is keeps both sparse.
        kept = rows - rows.multiply(muted.astype(rows.dtype)).tocsr()
        kept = kept.astype(rows.dtype)
        kept.eliminate_zeros()
        return self._asked(slide, number, Counts(kept), slide.counts, scored=muted)

    def muted(self, shape: tuple[int, int], seed: list[int]) -> sparse.csr_matrix:
        """Draw the muted entries, each by itself."""
        rng, pieces = np.random.default_rng(seed), []
        for start in range(0, shape[0], 4096):
            block = rng.random((min(4096, shape[0] - start), shape[1]), dtype=np.float32)
            pieces.append(sparse.csr_matrix(block < self.share))
        return sparse.vstack(pieces, format="csr")


class Noise(_Entries):
    """Add Gaussian noise N(0, 1) to the non-zeros, clip at zero, ask for the counts (SUICA)."""

    name = "noise"
    title = "Noise"
    summary = f"Gaussian noise is added to every non-zero count; the counts are predicted.{SHARED}"
    spread = 1.0
    shares_noise = True

    def _fold(self, slide: Slide, number: int, folds: int, seed: int) -> list[Task]:
        rng, rows = np.random.default_rng([seed, 7, number]), slide.counts.rows
        data = rows.data + self.spread * rng.standard_normal(rows.nnz, dtype=np.float32)
        noisy = sparse.csr_matrix(
            (np.maximum(data, 0).astype(np.float32), rows.indices.copy(), rows.indptr.copy()),
            shape=rows.shape,
        )
        noisy.eliminate_zeros()
        return self._asked(slide, number, Counts(noisy), slide.counts)


class CountSplit(_Entries):
    """Show half of the molecules and ask for the other half: denoising, honestly measured."""

    name = "count-split"
    title = "Count split"
    summary = "Half of the molecules, drawn at random, are shown; the other half is the truth."
    splits = True

    def _fold(self, slide: Slide, number: int, folds: int, seed: int) -> list[Task]:
        seen, truth = halves(slide.counts, [seed, 8, number])
        return self._asked(slide, number, seen, truth, second=seen)
