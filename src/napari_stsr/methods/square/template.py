"""The template of Square: which locations stand around a place, on any regular lattice.

Positions are told in a canonical frame, in steps of the lattice the template lives on: the lattice
of blocks while training, the lattice of locations at inference. In that frame both look the same.

A block is ``anchor + cells``; blocks sit on ``anchor + integers @ coarse``. A symmetry g of the
lattice turns or mirrors the whole template and leaves the canonical positions as they are: on a hex
lattice this also gives the second chirality of the √7 lattice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_stsr.slides import Division, Lattice

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Canonical steps: unit length, so that distances are in pitches.
_FRAME: dict[str, Floats] = {
    "hex": np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]]),
    "square": np.eye(2),
}


def symmetries(kind: str, which: Literal["all", "mirror"]) -> Ints:
    """Integer matrices that map the lattice onto itself, identity first: (8 or 12, 2, 2), or 2.

    They act on rows of sites from the right.
    """
    frame = _FRAME[kind]
    gram = frame @ frame.T
    matrices = [np.array(m).reshape(2, 2) for m in product((-1, 0, 1), repeat=4)]
    group = [m for m in matrices if np.allclose(m @ gram @ m.T, gram)]
    group.sort(key=lambda m: -(3 * m[0, 0] + m[1, 1]))
    identity, swap = np.eye(2, dtype=np.int64), np.array([[0, 1], [1, 0]])
    if which == "mirror":
        return np.stack([identity, swap])
    return np.stack([identity, *(m for m in group if not np.array_equal(m, identity))])


def ring_offsets(kind: str, rings: int) -> Ints:
    """Sites within some rings of (0, 0), without it: 6, 18, 36, 60 hex or 8, 24, 48, 80 square."""
    reach = range(-rings, rings + 1)
    sites = np.array([s for s in product(reach, reach) if s != (0, 0)])
    if kind == "hex":
        sites = sites[np.abs(sites.sum(axis=1)) <= rings]
    away = np.linalg.norm(sites @ _FRAME[kind], axis=1)
    order = np.lexsort((sites[:, 1], sites[:, 0], away.round(9)))
    ordered: Ints = sites[order]
    return ordered


def canonical(kind: str, steps: NDArray[np.generic]) -> Floats:
    """Positions in the canonical frame of sites or fractions of sites."""
    return np.asarray(steps, dtype=np.float64) @ _FRAME[kind]


def adjacent_cells(division: Division, kind: str) -> Ints:
    """Locations that touch a block without belonging to it: the raw ring of the slides."""
    steps = ring_offsets(kind, 1)
    around = (division.cells[:, None] + steps[None]).reshape(-1, 2)
    own = {tuple(c) for c in division.cells.tolist()}
    return np.array(sorted({tuple(c) for c in around.tolist()} - own))


@dataclass(frozen=True, eq=False)
class Blocks:
    """Superspots of a slide: one per anchor location, pooled over the block's measured cells.

    Attributes
    ----------
    members : (n, k) int array
        Locations of the block anchored at each location, -1 where a cell was not measured.
    """

    members: Ints

    @property
    def measured(self) -> Ints:
        """Measured cells of every block."""
        there: Ints = (self.members >= 0).sum(axis=1, dtype=np.int64)
        return there

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Blocks of which every cell was measured."""
        return np.asarray((self.members >= 0).all(axis=1))


def blocks(lattice: Lattice, division: Division) -> Blocks:
    """Block anchored at every location."""
    return Blocks(lattice.location_at(lattice.sites[:, None] + division.cells[None]))


@dataclass(frozen=True, eq=False)
class Tasks:
    """Training or prediction tasks that share one template.

    Node numbers count the locations first (0 … n-1), then the blocks (n … 2n-1); -1 is missing.

    Attributes
    ----------
    centre : (b,) int array
        Node in the centre.
    context : (b, s) int array
        Nodes around it.
    positions : (s, 2) float array
        Canonical positions of the context.
    truth : (b, v) int array
        Locations to give back, -1 where unknown.
    virtual : (b or 1, v, 2) float array
        Canonical positions of the virtual nodes.
    log_size : float
        Log of a virtual node's size in units of the centre: log(1/k), or 0 for a whole location.
    """

    centre: Ints
    context: Ints
    positions: Floats
    truth: Ints
    virtual: Floats
    log_size: float

    def __len__(self) -> int:
        return len(self.centre)


def block_tasks(
    lattice: Lattice,
    division: Division,
    anchors: Ints,
    symmetry: Ints,
    rings: int,
    context: Literal["superspots", "ring"],
) -> Tasks:
    """Give a pooled block back to its locations, seen through one symmetry of the lattice.

    Parameters
    ----------
    anchors : (b,) int array
        Locations whose block is complete.
    symmetry : (2, 2) int array
    rings : int
    context : {"superspots", "ring"}
    """
    n, kind = len(lattice.sites), lattice.kind
    sites = lattice.sites[anchors]
    cells = division.cells @ symmetry
    # The turned cells are the standard cells of another anchor: that one names the superspot.
    shift = _shift(division.cells, cells)
    if context == "superspots":
        offsets = ring_offsets(kind, rings)
        around = sites[:, None] + (offsets @ division.coarse @ symmetry)[None] + shift
        nodes, steps = lattice.location_at(around), offsets.astype(np.float64)
        nodes = np.where(nodes >= 0, nodes + n, -1)
    else:
        ring = adjacent_cells(division, kind)
        nodes = lattice.location_at(sites[:, None] + (ring @ symmetry)[None])
        steps = (ring - division.cells.mean(axis=0)) @ np.linalg.inv(division.coarse)
    own = lattice.location_at(sites + shift)
    return Tasks(
        np.where(own >= 0, own + n, -1),
        nodes,
        canonical(kind, steps),
        lattice.location_at(sites[:, None] + cells[None]),
        canonical(kind, _cell_offsets(division))[None],
        float(-np.log(len(division.cells))),
    )


def location_tasks(lattice: Lattice, centres: Ints, symmetry: Ints, rings: int) -> Tasks:
    """Give a whole location back from its neighbours alone: what a hidden spot needs."""
    offsets = ring_offsets(lattice.kind, rings)
    around = lattice.sites[centres][:, None] + (offsets @ symmetry)[None]
    return Tasks(
        np.full(len(centres), -1, dtype=np.int64),
        lattice.location_at(around),
        canonical(lattice.kind, offsets),
        centres[:, None],
        np.zeros((1, 1, 2)),
        0.0,
    )


def site_tasks(
    lattice: Lattice, sites: Ints, virtual: Floats, log_size: float, rings: int
) -> Tasks:
    """Predict at places given as sites and canonical positions relative to them.

    Parameters
    ----------
    sites : (b, 2) int array
    virtual : (b or 1, v, 2) float array
    log_size : float
    """
    offsets = ring_offsets(lattice.kind, rings)
    return Tasks(
        lattice.location_at(sites),
        lattice.location_at(sites[:, None] + offsets[None]),
        canonical(lattice.kind, offsets),
        np.full((len(sites), virtual.shape[1]), -1, dtype=np.int64),
        virtual,
        log_size,
    )


def _cell_offsets(division: Division) -> Floats:
    """Centres of the block's cells in steps of the lattice of blocks."""
    cells = division.cells - division.cells.mean(axis=0)
    return np.asarray(cells @ np.linalg.inv(division.coarse))


def _shift(cells: Ints, turned: Ints) -> Ints:
    """Step from the anchor to the anchor whose standard cells are the turned ones."""
    shift = np.asarray(np.rint(turned.mean(axis=0) - cells.mean(axis=0)), dtype=np.int64)
    moved = sorted(map(tuple, (cells + shift).tolist()))
    assert moved == sorted(map(tuple, turned.tolist())), "not a symmetry of the block"
    return shift


def log_adjacency(
    positions: Floats, virtual: Floats, centre_prior: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Prior weights of the edges, as logs: to observed and to virtual nodes.

    Between nodes of one type A = 1/d with d in pitches of the centre's lattice, and a node's own
    loop counts as half its nearest distance; centre → virtual t; context → virtual 1.

    Parameters
    ----------
    positions : (s, 2) float array
        Context, without the centre.
    virtual : (b or 1, v, 2) float array
    centre_prior : float
        t.

    Returns
    -------
    observed : (1, 1 + s, 1 + s) float32 array
    to_virtual : (b or 1, v, 1 + s + v) float32 array
    """
    nodes = np.concatenate([np.zeros((1, 2)), positions])
    observed = _log_inverse_distance(nodes[None])
    among = _log_inverse_distance(virtual)
    from_observed = np.zeros((*virtual.shape[:2], len(nodes)))
    from_observed[..., 0] = np.log(centre_prior)
    to_virtual = np.concatenate([from_observed, among], axis=2)
    return observed.astype(np.float32), to_virtual.astype(np.float32)


def _log_inverse_distance(positions: Floats) -> Floats:
    away = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    count = away.shape[1]
    own = np.eye(count, dtype=bool)
    if count == 1:
        return np.full(away.shape, np.log(2.0))
    nearest = np.where(own, np.inf, away).min(axis=2)
    away = np.where(own, 0.5 * nearest[:, :, None], away)
    return np.asarray(-np.log(np.maximum(away, 1e-3)))
