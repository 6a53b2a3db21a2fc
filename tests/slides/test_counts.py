"""Counts answer the same by rows and columns, in memory and from the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.slides import Counts
from napari_stsr.slides import counts as counts_module
from napari_stsr.slides.counts import read_columns, write_columns
from napari_stsr.slides.readers.assemble import keep_rows


def table(seed: int, n: int = 70, g: int = 11, dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(seed)
    dense = rng.poisson(0.4, (n, g))
    dense[rng.random(n) < 0.2] = 0
    return dense.astype(dtype)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["uint8", "uint16", "int32", "float32"]))
def test_rows_and_columns_agree(seed: int, dtype: str) -> None:
    dense = table(seed, dtype=dtype)
    counts = Counts(sparse.csr_matrix(dense))
    np.testing.assert_array_equal(counts.totals, dense.sum(axis=1))
    np.testing.assert_array_equal(counts.gene_totals, dense.sum(axis=0))
    chosen = np.array([7, 0, 3])
    np.testing.assert_array_equal(counts.dense(chosen), dense[:, chosen])
    np.testing.assert_array_equal(counts.genes(chosen).toarray(), dense[:, chosen])
    some = np.arange(0, len(dense), 3)
    np.testing.assert_array_equal(counts.take(some).rows.toarray(), dense[some])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 100), st.integers(1, 100))
def test_rows_are_dropped_in_place(seed: int, chunk: int, share: int) -> None:
    dense = table(seed)
    kept = np.random.default_rng(seed).random(len(dense)) < share / 100
    rows = keep_rows(sparse.csr_matrix(dense), kept, chunk)
    np.testing.assert_array_equal(rows.toarray(), dense[kept])


@pytest.mark.parametrize("chunk", [1, 16, 1000])
def test_columns_come_back_from_the_disk(tmp_path: Path, chunk: int) -> None:
    dense = table(1)
    write_columns(sparse.csr_matrix(dense), tmp_path / "columns", chunk)
    columns = read_columns(tmp_path / "columns", dense.shape)
    np.testing.assert_array_equal(columns.toarray(), dense)
    assert isinstance(columns.indices, np.memmap)


def test_a_large_slide_reads_its_columns_from_the_cache(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(counts_module, "LARGE", 0)
    dense = table(2)
    np.testing.assert_array_equal(
        Counts(sparse.csr_matrix(dense), "some-slide").column(4), dense[:, 4]
    )
    assert (cache / "columns" / "some-slide" / "data.npy").is_file()

    def fail(*_: object) -> None:
        raise AssertionError("the cached columns were not used")

    monkeypatch.setattr(counts_module, "write_columns", fail)
    again = Counts(sparse.csr_matrix(dense), "some-slide")
    again.prepare_columns().join()
    np.testing.assert_array_equal(again.column(9), dense[:, 9])


def test_a_gene_named_twice_is_refused() -> None:
    with pytest.raises(InputError, match="twice"):
        Counts(sparse.csr_matrix(table(0))).genes(np.array([1, 1]))


def test_blocks_of_rows_cover_all_rows_whatever_their_size(monkeypatch):
    rng = np.random.default_rng(0)
    dense = rng.poisson(0.5, (57, 13)).astype(np.float32)
    dense[20:25] = 0
    for most in (1, 10, 40, 10_000):
        monkeypatch.setattr("napari_stsr.slides.counts._MOST_ENTRIES", most)
        counts = Counts(sparse.csr_matrix(dense))
        parts = list(counts.chunks(9))
        stops = [part.stop for part, *_ in parts]
        assert [part.start for part, *_ in parts] == [0, *stops[:-1]]
        assert stops[-1] == 57
        assert all(len(data) <= most or part.stop - part.start == 1 for part, data, *_ in parts)
        np.testing.assert_array_equal(counts.genes(np.array([4, 2])).toarray(), dense[:, [4, 2]])
