"""From expected counts to what is shown: own counts weighed, parts made to add up, targets picked.

All methods answer alike: for the parts of measured locations all parts of a location are told
together, since its counts are shared out among them; any other target stands alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stsr.results.conservation import conserved
from napari_stsr.results.expression import Expression
from napari_stsr.results.posterior import OwnCounts, Unseen, with_own_counts
from napari_stsr.slides import Counts, Lattice, Targets

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
# In distances of neighbours, and in shares of a location.
_SAME_PLACE, _SAME_SHARE = 0.05, 0.02


@dataclass(frozen=True, eq=False)
class Parts:
    """Subspots with all other parts of their locations, a location's parts together.

    Parameters
    ----------
    owner : (m,) int array
        Location of each subspot asked for.
    locations : (p,) int array
        All of these, once.
    each : int
        Parts k of a location.
    places : (p k, 2) float array
        Centres (x, y) of all parts in µm.
    rows : (m,) int array
        Where those asked for are among all.
    """

    owner: Ints
    locations: Ints
    each: int
    places: Floats
    rows: Ints

    @classmethod
    def of(cls, targets: Targets, lattice: Lattice, coordinates: Floats) -> Parts:
        """Find the locations of subspots.

        Raises
        ------
        InputError
            When a subspot divides a location that is not on the lattice.
        """
        k, owner = targets.per_location, targets.owners(lattice)
        locations, inverse = np.unique(owner, return_inverse=True)
        offsets = lattice.division(k).offsets @ lattice.basis
        places = (coordinates[locations][:, None] + offsets).reshape(-1, 2)
        return cls(owner, locations, k, places, inverse * k + targets.part)

    @property
    def complete(self) -> bool:
        """Whether all parts are asked for, in order."""
        return np.array_equal(self.rows, np.arange(len(self.places)))

    @property
    def parent(self) -> Ints:
        """Location of every part, (p k,)."""
        return np.repeat(self.locations, self.each)

    @property
    def share(self) -> Floats:
        """Share of its location that every part is, (p k,)."""
        return np.full(len(self.places), 1.0 / self.each)


@dataclass(frozen=True, eq=False)
class Answer:
    """What a method says of targets, (m, g) each.

    Parameters
    ----------
    expression : Expression
        What is shown.
    denoised : Expression, optional
        What the method itself expects, where what is shown was made to add up to counts.
    uncertainty : Expression, optional
        Standard deviation of what the method expects.
    unseen : Unseen, optional
        The same for genes that are missing at measured locations.
    """

    expression: Expression
    denoised: Expression | None = None
    uncertainty: Expression | None = None
    unseen: Unseen | None = None

    @classmethod
    def of(cls, expected: Expression, spread: Expression | None, own: OwnCounts | None) -> Answer:
        """Weigh own counts.

        Parameters
        ----------
        expected, spread : Expression
            Before own counts are known; the spread may lack.
        own : OwnCounts, optional
        """
        told, sd, unseen = with_own_counts(expected, spread, own)
        return cls(told, None, sd, unseen)

    def conserved(
        self, rule: str, expected: Expression, parts: Parts, measured: Counts, seed: int
    ) -> Answer:
        """Show what adds up to the counts of the locations, see `conservation.conserved`.

        Parameters
        ----------
        rule : str
        expected : Expression
            Of all parts, before own counts: they multiply all parts of a location alike, so what
            adds up is the same.
        parts : Parts
        measured : Counts
        seed : int
        """
        if rule == "off":
            return self
        shown = conserved(rule, expected, parts.parent, measured, parts.each, seed)
        return Answer(shown, self.expression, self.uncertainty, self.unseen)

    def take(self, rows: Ints) -> Answer:
        """Return some targets."""

        def some(every: Expression) -> Expression:
            return every.take(rows)

        return Answer(
            some(self.expression),
            None if self.denoised is None else some(self.denoised),
            None if self.uncertainty is None else some(self.uncertainty),
            None if self.unseen is None else self.unseen.each(some),
        )


def measured_there(targets: Targets, share: Floats, coordinates: Floats, spacing_um: float) -> Ints:
    """Location each target is, as it was measured, (m,); -1 for none.

    Where several locations lie at one place none of them is meant.

    Parameters
    ----------
    targets : Targets
    share : (m,) float array
        Of the area of a location.
    coordinates : (n, 2) float array
        Of the locations, in µm.
    spacing_um : float
        Between neighbours.
    """
    near, n = _SAME_PLACE * spacing_um, len(coordinates)
    tree = cKDTree(coordinates)
    _, found = tree.query(targets.coordinates, k=2, distance_upper_bound=near)
    whole = np.abs(share - 1) < _SAME_SHARE
    single = (found[:, 0] < n) & (found[:, 1] == n)
    return np.where(single & whole, found[:, 0], -1)
