from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

from napari_stsr.errors import InputError
from napari_stsr.slides.readers import CellColumns, open_slide_or_cells, read_cells
from tests.slides.cells import cell_table, cells_of


def test_a_table_gives_its_counts_places_and_names(tmp_path):
    table = cell_table()
    cells = cells_of(table, tmp_path)
    assert cells.kind == "cells"
    assert cells.lattice.kind == "none"
    assert cells.genes.ids.tolist() == [f"G{i}" for i in range(6)]
    assert cells.barcodes[:2].tolist() == ["c0", "c1"]
    np.testing.assert_array_equal(cells.counts.rows.toarray(), table.filter(regex="^G"))
    np.testing.assert_allclose(cells.coordinates, table[["x_centroid", "y_centroid"]])
    assert cells.annotations["celltype"].tolist() == table["celltype"].tolist()


def test_tabs_other_names_and_pixels(tmp_path):
    table = cell_table().rename(columns={"x_centroid": "col", "y_centroid": "row", "area": "n9"})
    table["n9"] = 3
    path = tmp_path / "cells.tsv"
    table.to_csv(path, index=False, sep="\t")
    cells = read_cells(path, CellColumns("col", "row", ("n9",)), um_per_px=0.5)
    np.testing.assert_allclose(cells.coordinates, 0.5 * table[["col", "row"]])
    assert cells.genes.ids.tolist() == [f"G{i}" for i in range(6)]


@pytest.mark.parametrize("ending", ["csv", "h5ad"])
def test_counts_divided_by_a_volume_are_given_back_and_intensities_left_out(tmp_path, ending):
    rng = np.random.default_rng(1)
    table = cell_table(genes=40)
    genes = table.filter(regex="^G")
    genes = genes.assign(G0=rng.poisson(3, len(genes)))
    factor = 1000 / rng.uniform(200, 1500, (len(genes), 1))
    values = (genes * factor).assign(STAIN=rng.exponential(1, len(genes)))
    path = tmp_path / f"cells.{ending}"
    if ending == "csv":
        pd.concat([table.drop(columns=genes.columns), values], axis=1).to_csv(path, index=False)
    else:
        places = table[["x_centroid", "y_centroid"]].to_numpy()
        stored = anndata.AnnData(values.to_numpy(np.float32), obsm={"spatial": places})
        stored.obs_names, stored.var_names = table["cell_id"], values.columns
        stored.write_h5ad(path)
    cells = read_cells(path)
    assert cells.counts.whole
    # A cell whose smallest count is two or three is told apart by nothing.
    smallest = np.where(genes > 0, genes, 99).min(axis=1)
    expected = genes.to_numpy() // smallest[:, None]
    single = smallest == 1
    assert single.mean() > 0.99
    np.testing.assert_array_equal(cells.counts.rows.toarray()[single], expected[single])
    assert "STAIN" not in cells.genes.ids
    assert any("left out: STAIN" in check.sentence for check in cells.checks)


def test_logs_are_refused(tmp_path):
    table = cell_table()
    genes = table.filter(regex="^G").columns
    table[genes] = np.log1p(table[genes] * 1e4 / np.arange(1, len(table) + 1)[:, None] ** 0.5)
    table[genes] += np.random.default_rng(0).random((len(table), len(genes)))
    with pytest.raises(InputError, match="no counts"):
        cells_of(table, tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="x_centroid"), "no columns of coordinates"),
        (lambda t: t.assign(x_centroid=np.nan), "'x_centroid'.* holds nothing in line 2, .*more"),
        (lambda t: t.drop(columns=t.filter(regex="^G").columns), "no columns of counts"),
        (lambda t: t.iloc[:0], "holds no cell"),
        (lambda t: t.assign(G1=-1), "negative"),
        (lambda t: t.assign(**dict.fromkeys(t.filter(regex="^G").columns, 0)), "no count at all"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        cells_of(change(cell_table(60)), tmp_path)


def one_cell(table: pd.DataFrame, column: str, row: int, value: object) -> pd.DataFrame:
    table[column] = table[column].astype(object)
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("n.d.", "'n.d.' in line 9, which is not a count. Repair it"),
        (np.nan, "nothing in line 9"),
        (-3, "-3 in line 9, which is not a count: it is negative"),
        (2.5, "2.5 in line 9, which is not a whole number"),
        ("inf", "inf in line 9"),
    ],
)
def test_a_bad_value_of_a_gene_is_named_with_its_column_and_line(tmp_path, value, said):
    with pytest.raises(InputError) as refused:
        cells_of(one_cell(cell_table(60), "G3", 7, value), tmp_path)
    assert "Column 'G3' of 'cells.csv.gz'" in str(refused.value)
    assert said in str(refused.value)
    assert "--not-genes" in str(refused.value)


def test_a_bad_coordinate_is_named_and_words_beside_the_genes_are_kept(tmp_path):
    with pytest.raises(InputError, match=r"'y_centroid'.*'12,5' in line 9.*not a coordinate"):
        cells_of(one_cell(cell_table(60), "y_centroid", 7, "12,5"), tmp_path)
    notes = cells_of(cell_table(60), tmp_path).annotations
    assert set(notes["celltype"]) == {"neuron", "glia"}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("G4", "G1", "two columns named 'G1', the 7. and the 10. of 11"),
        ("G4", "", "Column 10 of 'twice.csv' has no name"),
    ],
)
def test_two_columns_of_one_name_and_one_of_none_are_refused(tmp_path, before, after, said):
    text = cell_table(60).to_csv(index=False)
    (tmp_path / "twice.csv").write_text(text.replace(before, after, 1))
    with pytest.raises(InputError, match=said):
        read_cells(tmp_path / "twice.csv")


def test_two_pairs_of_coordinates_are_a_question_unless_one_says_its_unit(tmp_path):
    table = cell_table(60)
    both = table.assign(x=table["x_centroid"] * 4, y=table["y_centroid"] * 4)
    with pytest.raises(InputError, match=r"x_centroid and y_centroid; x and y.*--x"):
        cells_of(both, tmp_path)
    chosen = read_cells(tmp_path / "cells.csv.gz", CellColumns("x_centroid", "y_centroid"))
    assert chosen.genes.ids.tolist() == [f"G{i}" for i in range(6)]
    np.testing.assert_allclose(chosen.coordinates, table[["x_centroid", "y_centroid"]])
    told = cells_of(both.rename(columns={"x_centroid": "x_um", "y_centroid": "y_um"}), tmp_path)
    np.testing.assert_allclose(told.coordinates, chosen.coordinates)
    assert "x" in told.annotations
    with pytest.raises(InputError, match="Name both x and y"):
        read_cells(tmp_path / "cells.csv.gz", CellColumns("x", None))


def test_a_wrong_column_and_a_missing_file_are_named(tmp_path):
    cells_of(cell_table(60), tmp_path)
    with pytest.raises(InputError, match="'nope'"):
        read_cells(tmp_path / "cells.csv.gz", CellColumns("nope", "y_centroid"))
    with pytest.raises(InputError, match="no file of cells"):
        read_cells(tmp_path / "none.csv")
    (tmp_path / "cells.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="no table of cells"):
        read_cells(tmp_path / "cells.parquet")


def test_real_cells_are_told_from_slides(data):
    xenium = open_slide_or_cells(data("xenium_breast_patch_a/pikachu.csv.gz"))
    assert (len(xenium), len(xenium.genes), xenium.kind) == (9430, 313, "cells")
    assert xenium.counts.totals.sum() == 1_681_676
    merfish = open_slide_or_cells(data("merfish_mouse_poa/merfish_mouse_poa.h5ad"))
    # 135 genes were counted one molecule at a time, 20 were stained.
    assert (len(merfish), len(merfish.genes), merfish.kind) == (6509, 135, "cells")
    assert merfish.counts.whole
    assert 200 < np.median(merfish.counts.totals) < 300
    assert open_slide_or_cells(data("her2st_C2/original")).kind == "st"


def test_spots_are_no_cells(tmp_path):
    y, x = np.mgrid[:6, :6] * 100.0
    places = np.column_stack([x.ravel(), y.ravel()])
    stored = anndata.AnnData(np.ones((36, 2), dtype=np.float32), obsm={"spatial": places})
    stored.write_h5ad(tmp_path / "spots.h5ad")
    with pytest.raises(InputError, match="spots or bins, not cells"):
        read_cells(tmp_path / "spots.h5ad")
    assert open_slide_or_cells(tmp_path / "spots.h5ad").kind == "anndata"
