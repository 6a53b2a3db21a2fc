from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_stsr.errors import InputError
from napari_stsr.slides import Counts
from napari_stsr.slides.pooling import (
    cell_bins,
    pool_blocks,
    pool_cells,
    pooled_counts,
    spot_parts,
)
from napari_stsr.slides.readers import open_slide
from napari_stsr.slides.simulate import simulate_slide
from tests.slides.cells import cell_table, cells_of


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return cells_of(cell_table(), tmp_path_factory.mktemp("cells"))


def whole_slide(lattice: str, rows: int = 13, columns: int = 14):
    return simulate_slide(
        lattice=lattice, shape=(rows, columns), genes=7, image=False, tissue=False
    )


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from([("square", 4), ("square", 9), ("hex", 7)]),
    phase=st.integers(0, 3),
    holes=st.integers(0, 20),
    seed=st.integers(0, 99),
)
def test_blocks_keep_every_molecule_and_their_subspots_are_the_locations(kind, phase, holes, seed):
    slide = whole_slide(kind[0])
    kept = np.ones(len(slide), dtype=bool)
    kept[np.random.default_rng(seed).choice(len(slide), holes, replace=False)] = False
    slide = slide.take(kept)
    pooled, members = pool_blocks(slide, kind[1], phase)
    rows = members.ravel()
    assert np.unique(rows).size == rows.size
    truth = slide.counts.rows[rows].toarray().reshape(len(pooled), kind[1], -1)
    np.testing.assert_array_equal(pooled.counts.rows.toarray(), truth.sum(axis=1))
    targets = pooled.subspots(kind[1])
    np.testing.assert_allclose(targets.coordinates, slide.coordinates[rows], atol=1e-6)
    assert pooled.lattice.pitch_um == pytest.approx(slide.lattice.pitch_um * kind[1] ** 0.5)
    np.testing.assert_allclose(
        pooled.lattice.position(pooled.lattice.sites), pooled.coordinates, atol=1e-6
    )


def test_the_phases_together_use_blocks_at_every_place():
    slide = whole_slide("square")
    anchors = [set(pool_blocks(slide, 4, phase)[1][:, 0].tolist()) for phase in range(4)]
    assert len(set().union(*anchors)) == sum(map(len, anchors)) == 12 * 13


def test_many_small_counts_do_not_overflow():
    slide = whole_slide("square")
    full = np.full(slide.counts.shape, 250, dtype=np.uint8)
    counts = Counts(slide.counts.rows.__class__(full))
    summed = pooled_counts(counts, np.zeros(len(slide), dtype=np.int64), 1)
    assert (summed.rows.toarray() == 250 * len(slide)).all()


@pytest.mark.parametrize(
    ("name", "k", "pitch"),
    [("dlpfc_151673", 7, 265.1), ("st_mob1/spaceranger_like", 4, 283.9)],
)
def test_real_slides_pool_to_the_next_lattice(data, name, k, pitch):
    slide = open_slide(data(name))
    pooled, members = pool_blocks(slide, k)
    assert pooled.lattice.pitch_um == pytest.approx(pitch, rel=0.001)
    assert pooled.lattice.kind == slide.lattice.kind
    away = pooled.subspots(k).coordinates - slide.coordinates[members.ravel()]
    assert np.linalg.norm(away, axis=1).max() < 0.1 * slide.lattice.pitch_um
    # Real spots lie off their lattice; the steps still lead from block to block.
    around = pooled.lattice.neighbours()
    near = np.linalg.norm(pooled.coordinates[around] - pooled.coordinates[:, None], axis=-1)
    assert near[around >= 0] == pytest.approx(pitch, rel=0.05)


def test_what_cannot_be_pooled_is_refused(cells):
    slide = whole_slide("hex")
    with pytest.raises(InputError, match="cannot be split into 9"):
        pool_blocks(slide, 9)
    with pytest.raises(InputError, match="Blocks of 6 do not tile"):
        pool_blocks(slide, 6)
    with pytest.raises(InputError, match="no lattice"):
        pool_blocks(cells, 7)
    with pytest.raises(InputError, match="is complete"):
        pool_blocks(slide.take(np.arange(0, len(slide), 3)), 7)
    with pytest.raises(InputError, match="no table of single cells"):
        pool_cells(slide)
    with pytest.raises(InputError, match="positive length"):
        pool_cells(cells, "bins", -3)
    with pytest.raises(InputError, match="too large"):
        pool_cells(cells, "bins", 1e-3)
    with pytest.raises(InputError, match="too little"):
        pool_cells(cells, um=2000)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_bins_hold_every_cell(cells, seed):
    pooled = pool_cells(cells, "bins", 16, seed)
    assert (pooled.owner >= 0).all()
    assert pooled.slide.counts.totals.sum() == cells.counts.totals.sum()
    off = np.abs(cells.coordinates - pooled.slide.coordinates[pooled.owner])
    assert off.max() <= 8 + 1e-9
    assert (pooled.slide.kind, pooled.slide.diameter_um) == ("visium-hd", 16)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_spots_hold_the_cells_under_their_disc_and_no_others(cells, seed):
    pooled = pool_cells(cells, seed=seed)
    slide = pooled.slide
    away = np.linalg.norm(cells.coordinates[:, None] - slide.coordinates[None], axis=-1)
    under = away <= 27.5
    np.testing.assert_array_equal(pooled.owner >= 0, under.any(axis=1))
    expected = under.T.astype(int) @ cells.counts.rows.toarray()
    np.testing.assert_array_equal(slide.counts.rows.toarray(), expected)
    assert slide.lattice.kind == "hex"
    assert slide.lattice.pitch_um == pytest.approx(100)
    low, high = cells.coordinates.min(axis=0) + 27.5, cells.coordinates.max(axis=0) - 27.5
    assert ((slide.coordinates >= low) & (slide.coordinates <= high)).all()


def test_parts_of_a_spot_share_its_cells_evenly(cells):
    pooled = pool_cells(cells)
    owner, centres = spot_parts(pooled, cells)
    counts = pooled_counts(cells.counts, owner, len(centres)).rows.toarray()
    spots = counts.reshape(len(pooled.slide), 7, -1).sum(axis=1)
    np.testing.assert_array_equal(spots, pooled.slide.counts.rows.toarray())
    # By area: a fine grid under one disc falls to the seven parts in equal shares.
    y, x = np.mgrid[-28:28:0.25, -28:28:0.25]
    grid = np.column_stack([x.ravel(), y.ravel()])
    grid = grid[np.linalg.norm(grid, axis=1) <= 27.5]
    offsets = centres[:7] - pooled.slide.coordinates[0]
    part = np.argmin(np.linalg.norm(grid[:, None] - offsets[None], axis=-1), axis=1)
    np.testing.assert_allclose(np.bincount(part, minlength=7) / len(grid), 1 / 7, atol=0.003)


def test_bins_lie_under_the_spots_and_between_them(cells):
    pooled = pool_cells(cells)
    targets, owner = cell_bins(pooled, cells, 16)
    inside = owner >= 0
    off = np.abs(cells.coordinates[inside] - targets.coordinates[owner[inside]])
    assert off.max() <= 8 + 1e-9
    assert inside.mean() > 0.7
    assert inside[pooled.owner < 0].any()
    assert targets.area_um2.tolist() == [256] * len(targets)


def test_genes_are_taken_in_order_with_their_own_counts():
    slide = whole_slide("square")
    some = slide.with_genes(np.array([4, 1]))
    assert some.genes.ids.tolist() == slide.genes.ids[[4, 1]].tolist()
    np.testing.assert_array_equal(
        some.counts.rows.toarray(), slide.counts.rows.toarray()[:, [4, 1]]
    )
    assert some.counts.rows.dtype == slide.counts.rows.dtype
    with pytest.raises(InputError, match="named twice"):
        slide.with_genes(np.array([1, 1]))
