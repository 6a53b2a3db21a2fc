from __future__ import annotations

import numpy as np
import pytest

from napari_stsr.errors import InputError
from napari_stsr.results import Enhancement, StoredExpression
from tests.results.made import UM_PER_PX, enhancement


def test_expression_is_found_by_symbol_and_id_in_the_order_asked():
    one = enhancement()
    both = one.expression(["mbp", "ENSG1"])
    np.testing.assert_array_equal(both, one.expression()[:, [1, 0]])
    with pytest.raises(InputError, match=r"ERB2.*ERBB2"):
        one.expression(["ERB2"])


def test_pixels_are_those_of_the_slide():
    one = enhancement()
    np.testing.assert_allclose(one.coordinates_px * UM_PER_PX, one.targets.coordinates)


def test_some_targets_keep_all_that_belongs_to_them():
    one = enhancement()
    rows = np.array([9, 0, 33])
    some = one.take(rows)
    np.testing.assert_array_equal(some.expression(), one.expression()[rows])
    np.testing.assert_array_equal(some.targets.ids, one.targets.ids[rows])
    np.testing.assert_array_equal(some.parents, one.parents[rows])
    np.testing.assert_array_equal(some.embedding, one.embedding[rows])
    gene = np.array([1])
    np.testing.assert_array_equal(
        some.uncertainty.columns(gene), one.uncertainty.columns(gene)[rows]
    )
    np.testing.assert_array_equal(
        some.attention.matrix(1, 0).toarray(), one.attention.matrix(1, 0).toarray()[rows]
    )


def test_blocks_cover_all_genes_once():
    one = enhancement()
    tiny = 4 * len(one) * 2 / 1e6
    blocks = list(one.blocks(tiny))
    assert [len(columns) for columns, _ in blocks] == [2, 2, 1]
    np.testing.assert_array_equal(np.hstack([v for _, v in blocks]), one.expression())


def test_everything_at_once_is_refused_when_it_cannot_fit():
    one = enhancement()
    object.__setattr__(one, "targets", range(10**10))
    with pytest.raises(InputError, match="do not fit"):
        one.expression()


def test_expression_of_the_wrong_size_is_refused():
    one = enhancement()
    wrong = StoredExpression(np.zeros((3, 5), dtype=np.float32))
    with pytest.raises(InputError, match="140 targets and 5 genes"):
        Enhancement(
            "x", one.targets, one.genes, wrong, one.scale, one.in_tissue, one.supported, one.parents
        )


def test_some_genes_keep_all_that_belongs_to_them():
    one = enhancement()
    columns = np.array([3, 0])
    some = one.with_genes(columns)
    assert some.genes.ids.tolist() == one.genes.ids[columns].tolist()
    every = np.arange(2)
    for field in ("expression_source", "denoised", "uncertainty"):
        whole = getattr(one, field).columns(columns)
        np.testing.assert_array_equal(getattr(some, field).columns(every), whole)
        taken = getattr(some.take(np.array([4, 1])), field).columns(np.array([1]))
        np.testing.assert_array_equal(taken, whole[[4, 1], 1:])
    assert some.with_genes(np.array([1])).genes.ids.tolist() == one.genes.ids[:1].tolist()
