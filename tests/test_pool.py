"""``napari-stsr pool``, from a table of cells to a slide that opens."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pytest

from napari_stsr.cli import main
from napari_stsr.slides.pooling import pool_cells
from napari_stsr.slides.readers import open_slide, read_cells
from tests.slides.cells import cell_table


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "cells.csv"
    cell_table().to_csv(path, index=False)
    return path


@pytest.mark.parametrize(("kind", "more"), [("visium", ()), ("bins", ("--um", "20"))])
def test_what_is_written_opens_as_what_was_pooled(table, tmp_path, capsys, kind, more):
    out = tmp_path / "made" / "pseudo"
    assert main(["pool", str(table), "--as", kind, *more, "--seed", "3", "--output", str(out)]) == 0
    said = capsys.readouterr().out
    assert str(out) in said
    cells = read_cells(table)
    made = pool_cells(cells, kind, 20 if more else None, 3).slide
    slide = open_slide(out)
    assert (slide.name, slide.kind) == ("pseudo", made.kind)
    assert slide.barcodes.tolist() == made.barcodes.tolist()
    assert slide.genes.ids.tolist() == made.genes.ids.tolist()
    np.testing.assert_array_equal(slide.counts.rows.toarray(), made.counts.rows.toarray())
    np.testing.assert_allclose(slide.coordinates, made.coordinates)
    assert slide.diameter_um == made.diameter_um
    assert slide.lattice.pitch_um == pytest.approx(made.lattice.pitch_um)
    assert slide.lattice.kind == made.lattice.kind
    assert not [check for check in slide.checks if check.level == "problem"]


def test_the_truth_lies_beside_it_and_the_record_tells_from_where(table, tmp_path):
    out = tmp_path / "pseudo"
    assert main(["pool", str(table), "--as", "visium", "--output", str(out)]) == 0
    slide = open_slide(out)
    subspots = anndata.read_h5ad(out / "truth" / "subspots.h5ad")
    parents = {name: row for row, name in enumerate(slide.barcodes.tolist())}
    pooled = np.zeros(slide.counts.shape)
    np.add.at(pooled, [parents[p] for p in subspots.obs["parent"]], subspots.X.toarray())
    np.testing.assert_array_equal(pooled, slide.counts.rows.toarray())
    cells = anndata.read_h5ad(out / "truth" / "cells.h5ad")
    assert len(cells) == 1500
    under = cells[cells.obs["parent"] != ""]
    assert under.X.sum() == slide.counts.totals.sum()
    bins = anndata.read_h5ad(out / "truth" / "bins_16um.h5ad")
    assert bins.X.sum() > subspots.X.sum()
    steps = np.diff(np.unique(bins.obsm["spatial"][:, 0].round(6)))
    np.testing.assert_allclose(steps, 16)
    record = json.loads((out / "provenance.json").read_text())
    assert record["cells"]["hashes"]["cells.csv"].startswith("sha256:")
    assert record["molecules_pooled"] == slide.counts.totals.sum()


def test_nothing_that_was_there_is_replaced(table, tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("precious")
    assert main(["pool", str(table), "--as", "bins", "--output", str(mine)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (mine / "notes.txt").read_text() == "precious"
    out = str(tmp_path / "out")
    assert main(["pool", str(table), "--as", "bins", "--output", out]) == 0
    assert main(["pool", str(table), "--as", "visium", "--output", out]) == 2
    assert open_slide(out).kind == "visium-hd"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--as", "visium", "--um", "50"], "100 µm apart, not 50"),
        (["--as", "bins", "--um", "12.5"], "Bins of 12.5 µm have no folder name"),
        (["--as", "bins", "--um", "0"], "positive length"),
        (["--as", "bins", "--x", "left", "--y", "top"], "no column 'left'"),
        (["--as", "bins", "--seed", "-1"], "seed of -1"),
        (["--as", "bins", "--um", "-3"], "positive length"),
        (["--as", "bins", "--um-per-px", "0"], "A scale of 0 µm"),
        (["--as", "bins", "--um-per-px", "inf"], "A scale of inf µm"),
        (["--as", "bins", "--um", "900"], "too little for bins of 900 µm. Take bins of at most 23"),
    ],
)
def test_bad_input_ends_with_2_and_leaves_nothing(table, tmp_path, capsys, arguments, words):
    out = tmp_path / "out"
    assert main(["pool", str(table), *arguments, "--output", str(out)]) == 2
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.csv"]


@pytest.mark.parametrize("kind", ["visium", "bins"])
def test_so_few_cells_or_so_narrow_a_tissue_make_no_slide(tmp_path, capsys, kind):
    path, out = tmp_path / "few.csv", tmp_path / "out"
    command = ["pool", str(path), "--as", kind, "--output", str(out)]
    cell_table(3).to_csv(path, index=False)
    assert main(command) == 2
    assert "3 cells fill only" in capsys.readouterr().err
    cell_table(1500).assign(x_centroid=5.0).to_csv(path, index=False)
    assert main(command) == 2
    assert "span 0 × 699.6 µm, too little" in capsys.readouterr().err
    assert not out.exists()
