from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from napari_stsr.results import (
    ConservedExpression,
    LoggedExpression,
    ScaledExpression,
    SelectedExpression,
    StoredExpression,
)
from napari_stsr.slides import Counts
from tests.results.made import decoded


def every(expression) -> np.ndarray:
    return expression.columns(np.arange(expression.shape[1]))


def test_decoded_follows_its_formula():
    source = decoded(30, 8)
    wide = [np.asarray(part, dtype=np.float64) for part in vars(source).values()]
    hidden, weight, bias, log_norm, depth = wide
    exact = depth[:, None] * np.exp(hidden @ weight.T + bias - log_norm[:, None])
    np.testing.assert_allclose(every(source), exact, rtol=2e-5)
    some = np.array([5, 0, 5])
    got = source.columns(some)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, exact[:, some], rtol=2e-5)
    rows = np.array([29, 3])
    np.testing.assert_allclose(every(source.take(rows)), exact[rows], rtol=2e-5)


@pytest.mark.parametrize("sparse_too", [False, True])
def test_stored_gives_columns_in_the_order_asked(sparse_too):
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    source = StoredExpression(sparse.csc_matrix(values) if sparse_too else values)
    np.testing.assert_array_equal(source.columns(np.array([2, 0])), values[:, [2, 0]])
    taken = source.take(np.array([True, False, False, True]))
    np.testing.assert_array_equal(every(taken), values[[0, 3]])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), parts=st.sampled_from([4, 7, 9]), empty=st.booleans())
def test_conserved_parts_sum_to_what_was_measured(seed, parts, empty):
    rng = np.random.default_rng(seed)
    locations, genes = 6, 5
    source = decoded(locations * parts, genes, seed)
    if empty:
        source.depth[:parts] = 0
    measured = rng.poisson(3, (locations, genes)).astype(np.float32)
    parent = np.repeat(np.arange(locations), parts)
    conserved = ConservedExpression(source, parent, Counts(sparse.csr_matrix(measured)), parts)
    got = every(conserved)
    sums = got.reshape(locations, parts, genes).astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(sums, measured, rtol=1e-6)
    predicted = every(source).astype(np.float64).reshape(locations, parts, genes)
    total = predicted.sum(axis=1, keepdims=True)
    share = np.where(total > 0, predicted / np.where(total > 0, total, 1), 1 / parts)
    np.testing.assert_allclose(got, (share * measured[:, None]).reshape(-1, genes), rtol=1e-5)


def test_conserving_leaves_targets_without_a_parent_as_predicted():
    source = decoded(5)
    parent = np.array([0, 0, -1, 1, 1])
    measured = Counts(sparse.csr_matrix(np.full((2, 5), 4.0)))
    got = every(ConservedExpression(source, parent, measured, 2))
    np.testing.assert_allclose(got[2], every(source)[2], rtol=1e-6)
    np.testing.assert_allclose(got[:2].sum(axis=0), 4, rtol=1e-6)


def test_taking_some_conserved_parts_does_not_change_their_share():
    source = decoded(14)
    measured = Counts(sparse.csr_matrix(np.full((2, 5), 7.0)))
    whole = ConservedExpression(source, np.repeat([0, 1], 7), measured, 7)
    some = whole.take(np.array([13, 2]))
    np.testing.assert_array_equal(every(some), every(whole)[[13, 2]])
    again = some.take(np.array([False, True]))
    assert isinstance(again, SelectedExpression)
    assert again.shape == (1, 5)
    np.testing.assert_array_equal(every(again), every(whole)[[2]])


def test_logs_are_counts_per_depth_and_survive_scaling_and_selecting():
    logs = np.array([[0.5, 2.0], [1.0, -0.3], [3.0, 0.0]], dtype=np.float32)
    depth = np.array([1e4, 2e4, 10.0])
    source = LoggedExpression(StoredExpression(logs), depth)
    expected = np.expm1(np.maximum(logs, 0)) * depth[:, None] / 1e4
    np.testing.assert_allclose(every(source), expected, rtol=1e-5)
    factor = np.array([0.5, 2.0, 0.1])
    rows = np.array([2, 0])
    scaled = SelectedExpression(ScaledExpression(source, factor), np.arange(3)).take(rows)
    np.testing.assert_allclose(every(scaled), (expected * factor[:, None])[rows], rtol=1e-5)
    both = np.array([1, 0])
    np.testing.assert_array_equal(scaled.logs(both), logs[rows][:, both])
    taken = ScaledExpression(source, factor).take(rows)
    np.testing.assert_array_equal(taken.logs(both), logs[rows][:, both])
    np.testing.assert_allclose(every(taken), every(scaled))


def test_counts_that_were_not_predicted_as_logs_have_none():
    counts = decoded(4, 3)
    for source in (ScaledExpression(counts, np.ones(4)), SelectedExpression(counts, np.arange(2))):
        assert not hasattr(source, "logs")
