"""A task: what a method may see of a slide, where it must answer, and what is true there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.slides import Counts, Slide, Targets

_CHUNK = 8_000_000


@dataclass(frozen=True, eq=False)
class Task:
    """One question to a method, with the answer kept from it.

    Tasks of one fold that ask the same slide at other places share the very same `slide` object,
    so that one fit answers all of them.

    Parameters
    ----------
    protocol : str
        What the task is reported under, such as ``"hidden-spots"`` or ``"pseudo-visium-bins"``.
        Tasks of different names are never averaged.
    fold : int
        Number of the fold, or of the repetition where a protocol has no folds.
    slide : Slide
        All that the method may see.
    targets : Targets
        Where it must answer.
    truth : Counts
        (m, g) counts at the targets, genes in the order of ``slide.genes``. Whole numbers, except
        where the slide itself holds none.
    parent : (m,) int array
        Row of `slide` whose cell of the lattice holds the target, -1 where there is none. Where a
        protocol hides whole locations it is -1 everywhere.
    scored : sparse bool matrix (m, g), optional
        Entries that count; None means all.
    labels : (m,) str array, optional
        Known domains at the targets, "" where unknown.
    second : Counts, optional
        A second measurement of the same targets by other molecules: given the tissue it is
        independent of `truth` and has the same expectation. The -split protocols have one, the
        molecules of the input before pooling; it must never reach a method.
    shares_noise : bool
        The truth holds the very molecules that were shown, noise included: then no ceiling bounds
        what hands its input on.

    Notes
    -----
    The noise ceiling of a gene is what its noise-free expectation would score against `truth`: the
    square root of the truth's reliability. With `second` the reliability is the correlation of
    `truth` with `second`. Without it `halves` splits the truth itself: if the halves correlate by
    r, the whole has a reliability of 2 r / (1 + r) (Spearman and Brown).
    """

    protocol: str
    fold: int
    slide: Slide
    targets: Targets
    truth: Counts
    parent: NDArray[np.int64]
    scored: sparse.csr_matrix | None = None
    labels: NDArray[np.str_] | None = None
    second: Counts | None = None
    shares_noise: bool = False

    def __post_init__(self) -> None:
        expected = (len(self.targets), len(self.slide.genes))
        others = [self.scored, self.second]
        shapes = {self.truth.shape, *(o.shape for o in others if o is not None)}
        if shapes != {expected} or len(self.parent) != expected[0]:
            raise InputError(
                f"The task {self.protocol!r} asks {expected[0]:,} targets and {expected[1]:,} "
                f"genes, but its truth is {self.truth.shape[0]:,} × {self.truth.shape[1]:,}.",
                "Give truth and slide the same genes.",
            )

    def __len__(self) -> int:
        return len(self.targets)


def halves(counts: Counts, seed: int | list[int]) -> tuple[Counts, Counts]:
    """Split the molecules at random into two halves (binomial thinning).

    If the counts are Poisson, the halves are independent Poisson counts of half the expectation.

    Parameters
    ----------
    counts : Counts
    seed : int or list of int
        Same seed, same halves.

    Returns
    -------
    first, second : Counts
        They sum to `counts` exactly.

    Raises
    ------
    InputError
        When the counts are not whole numbers.
    """
    if not counts.whole:
        raise InputError(
            "Counts that are not whole numbers have no molecules to split.",
            "Open the raw counts instead of normalised ones.",
        )
    rng, rows = np.random.default_rng(seed), counts.rows
    drawn = np.empty_like(rows.data)
    for start in range(0, len(drawn), _CHUNK):
        part = slice(start, start + _CHUNK)
        drawn[part] = rng.binomial(rows.data[part].astype(np.int64), 0.5)
    left = rows.data - drawn
    return _like(rows, drawn), _like(rows, left)


def _like(rows: sparse.csr_matrix, data: NDArray[np.generic]) -> Counts:
    """Counts of other values in the places of a matrix; zeros are dropped, from `data` too."""
    made = sparse.csr_matrix((data, rows.indices.copy(), rows.indptr.copy()), shape=rows.shape)
    made.eliminate_zeros()
    return Counts(made)
