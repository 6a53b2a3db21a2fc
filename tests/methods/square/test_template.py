"""Geometry of the template: block lattice and location lattice look the same."""

from __future__ import annotations

import numpy as np
import pytest

from napari_stsr.methods.square.template import (
    block_tasks,
    blocks,
    canonical,
    location_tasks,
    ring_offsets,
    symmetries,
)
from napari_stsr.slides import Lattice


def _lattice(kind: str, size: int = 15) -> Lattice:
    basis = canonical(kind, np.eye(2)) * 100
    i, j = np.mgrid[:size, :size]
    sites = np.column_stack([i.ravel(), j.ravel()])
    return Lattice(kind, 100.0, sites, np.zeros(2), basis)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "counts"), [("hex", (6, 18, 36, 60)), ("square", (8, 24, 48, 80))]
)
def test_rings_hold_the_expected_number_of_neighbours(kind: str, counts: tuple[int, ...]) -> None:
    assert tuple(len(ring_offsets(kind, rings)) for rings in (1, 2, 3, 4)) == counts


@pytest.mark.parametrize(("kind", "order"), [("hex", 12), ("square", 8)])
def test_symmetries_form_the_point_group(kind: str, order: int) -> None:
    group = symmetries(kind, "all")
    known = {tuple(m.ravel()) for m in group}
    assert len(known) == order
    assert all(tuple((a @ b).ravel()) in known for a in group for b in group)
    assert np.array_equal(group[0], np.eye(2))


@pytest.mark.parametrize(("kind", "k"), [("hex", 7), ("square", 9), ("square", 4), ("square", 16)])
def test_every_symmetry_shows_the_same_canonical_template(kind: str, k: int) -> None:
    """Turned blocks, measured on the slide, have the canonical distances of the template."""
    lattice = _lattice(kind)
    division = lattice.division(k)
    middle = np.flatnonzero((lattice.sites == 7).all(axis=1))
    pooled = blocks(lattice, division)
    centre_of = lattice.position(lattice.sites + division.cells.mean(axis=0))
    scale = 100 * np.sqrt(len(division.cells))
    for symmetry in symmetries(kind, "all"):
        tasks = block_tasks(lattice, division, middle, symmetry, 1, "superspots")
        assert (tasks.truth >= 0).all()
        own = centre_of[tasks.centre[0] - len(lattice.sites)]
        # The truth of the parts are exactly the locations pooled in the centre.
        assert set(tasks.truth[0]) == set(pooled.members[tasks.centre[0] - len(lattice.sites)])
        present = tasks.context[0] >= 0
        around = centre_of[tasks.context[0][present] - len(lattice.sites)] - own
        parts = lattice.position(lattice.sites[tasks.truth[0]]) - own
        told = tasks.positions[present][:, None] - tasks.virtual[0][None]
        seen = (around[:, None] - parts[None]) / scale
        np.testing.assert_allclose(
            np.linalg.norm(told, axis=-1), np.linalg.norm(seen, axis=-1), atol=1e-9
        )


def test_hex_symmetries_hold_both_chiralities() -> None:
    lattice = _lattice("hex")
    division = lattice.division(7)
    middle = np.flatnonzero((lattice.sites == 7).all(axis=1))
    around = [
        set(block_tasks(lattice, division, middle, g, 1, "superspots").context[0].tolist())
        for g in symmetries("hex", "mirror")
    ]
    assert not around[0] & around[1]


def test_seven_flowers_cover_49_locations_once() -> None:
    lattice = _lattice("hex")
    division = lattice.division(7)
    middle = np.flatnonzero((lattice.sites == 7).all(axis=1))
    tasks = block_tasks(lattice, division, middle, np.eye(2, dtype=np.int64), 1, "superspots")
    n = len(lattice.sites)
    flowers = blocks(lattice, division).members[np.append(tasks.context[0], tasks.centre) - n]
    assert len(set(flowers.ravel())) == 49


def test_a_location_is_never_its_own_context() -> None:
    lattice = _lattice("hex")
    everyone = np.arange(len(lattice.sites))
    tasks = location_tasks(lattice, everyone, np.eye(2, dtype=np.int64), 2)
    assert not (tasks.context == everyone[:, None]).any()
    assert (tasks.centre == -1).all()
