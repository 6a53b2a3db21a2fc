from __future__ import annotations

import threading

import anndata
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from napari_stsr.errors import InputError, RunError
from napari_stsr.results.writers import export, read_enhancement, stored
from napari_stsr.results.writers.stored import FileExpression
from tests.results.made import UM_PER_PX, assert_same, enhancement


@settings(max_examples=8, deadline=None)
@given(
    kind=st.sampled_from(["subspots", "grid", "points"]),
    full=st.booleans(),
    seed=st.integers(0, 99),
)
def test_reading_back_gives_the_same_enhancement(tmp_path_factory, kind, full, seed):
    path = tmp_path_factory.mktemp("h5ad") / "result.h5ad"
    one = enhancement(kind, full=full, seed=seed)
    export(one, path)
    back = read_enhancement(path)
    assert isinstance(back.expression_source, FileExpression)
    assert_same(one, back)
    again = path.with_name("again.h5ad")
    export(back, again)
    assert_same(one, read_enhancement(again))


def test_the_file_is_what_scanpy_expects(tmp_path):
    import scanpy

    one = enhancement()
    export(one, tmp_path / "r.h5ad")
    table = anndata.read_h5ad(tmp_path / "r.h5ad")
    assert table.obs_names.tolist() == one.targets.ids.tolist()
    assert table.obs_names[8] == "BC01-1/1"
    assert table.var_names.tolist() == one.genes.ids.tolist()
    assert table.var["symbol"].tolist() == one.genes.symbols.tolist()
    assert table.X.dtype == np.float32
    np.testing.assert_array_equal(table.X, one.expression())
    np.testing.assert_allclose(table.obsm["spatial"] * UM_PER_PX, one.targets.coordinates)
    np.testing.assert_array_equal(table.obsm["spatial_um"], one.targets.coordinates)
    assert table.obs["parent"].tolist() == one.parents.tolist()
    assert table.obs["in_tissue"].to_numpy().tolist() == one.in_tissue.tolist()
    assert table.obs["supported"].to_numpy().tolist() == one.supported.tolist()
    record = table.uns["napari_stsr"]
    assert (record["kind"], record["method"], record["run"]["seed"]) == ("predicted", "square", 3)
    assert record["params"] == {"lr": 1e-3, "conserve": True}
    assert sparse.issparse(table.obsm["attention_l1_h0"])
    assert table.layers["uncertainty_sd"].shape == table.shape

    scanpy.pp.normalize_total(table)
    scanpy.pp.log1p(table)
    scanpy.pp.pca(table, n_comps=3)
    assert table.obsm["X_pca"].shape == (len(one), 3)


def test_only_the_genes_asked_are_written_in_their_order(tmp_path):
    one = enhancement()
    export(one, tmp_path / "r.h5ad", genes=["MBP", "ERBB2", "ENSG2"])
    back = read_enhancement(tmp_path / "r.h5ad")
    assert back.genes.ids.tolist() == ["ENSG2", "ENSG1"]
    np.testing.assert_allclose(back.expression(), one.expression(["MBP", "ERBB2"]), rtol=1e-6)
    np.testing.assert_array_equal(
        back.uncertainty.columns(np.array([0])), one.uncertainty.columns(np.array([1]))
    )
    with pytest.raises(InputError, match="NOPE"):
        export(one, tmp_path / "s.h5ad", genes=["NOPE"])


def test_a_large_result_is_written_block_by_block(tmp_path, monkeypatch):
    one = enhancement(full=False)
    asked = []

    source = one.expression_source

    class Watched:
        shape = source.shape

        def columns(self, genes):
            asked.append(genes.tolist())
            return source.columns(genes)

        def take(self, targets):
            raise AssertionError

    monkeypatch.setattr(stored, "_BLOCK_VALUES", 2 * len(one))
    monkeypatch.setitem(stored._CHUNK_VALUES, "h5", len(one))
    object.__setattr__(one, "expression_source", Watched())
    export(one, tmp_path / "r.h5ad")
    assert asked == [[0, 1], [2, 3], [4]]
    with h5py.File(tmp_path / "r.h5ad") as file:
        assert file["X"].chunks == (len(one), 1)
    back = read_enhancement(tmp_path / "r.h5ad").expression()
    np.testing.assert_allclose(back, source.columns(np.arange(5)), rtol=1e-6)


def test_columns_are_read_in_any_order_from_any_thread(tmp_path):
    one = enhancement()
    export(one, tmp_path / "r.h5ad")
    source = read_enhancement(tmp_path / "r.h5ad").expression_source
    for genes in ([3, 4, 0, 2, 2], [], [1]):
        got = source.columns(np.array(genes, dtype=np.int64))
        np.testing.assert_array_equal(got, one.expression()[:, genes])
    rows = np.array([5, 1])
    np.testing.assert_array_equal(
        source.take(rows).columns(np.array([2])), one.expression()[rows][:, [2]]
    )
    wrong = []

    def read() -> None:
        got = [source.columns(np.array([gene]))[:, 0] for gene in range(5)]
        wrong.append(bool((np.column_stack(got) != one.expression()).any()))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [False] * 4


def test_a_file_saved_again_by_scanpy_still_opens(tmp_path):
    one = enhancement()
    export(one, tmp_path / "r.h5ad")
    table = anndata.read_h5ad(tmp_path / "r.h5ad")
    table.X = sparse.csr_matrix(table.X)
    table.write_h5ad(tmp_path / "again.h5ad")
    assert_same(one, read_enhancement(tmp_path / "again.h5ad"))


def test_files_that_hold_no_result_are_refused(tmp_path):
    with pytest.raises(InputError, match="no result"):
        read_enhancement(tmp_path / "none.h5ad")
    anndata.AnnData(np.ones((2, 2))).write_h5ad(tmp_path / "plain.h5ad")
    with pytest.raises(InputError, match="holds no enhancement"):
        read_enhancement(tmp_path / "plain.h5ad")
    export(enhancement(), tmp_path / "r.h5ad")
    whole = (tmp_path / "r.h5ad").read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        read_enhancement(tmp_path / "cut.h5ad")
    (tmp_path / "text.h5ad").write_text("hello")
    with pytest.raises(InputError, match="cannot be read"):
        read_enhancement(tmp_path / "text.h5ad")


def test_a_result_that_vanished_is_told_in_words(tmp_path):
    export(enhancement(), tmp_path / "r.h5ad")
    back = read_enhancement(tmp_path / "r.h5ad")
    (tmp_path / "r.h5ad").unlink()
    with pytest.raises(RunError, match="no longer be read"):
        back.expression(["MBP"])
