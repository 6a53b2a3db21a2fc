"""Own counts: the gamma posterior against numerical integration, its limits, its bookkeeping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, sparse, stats

from napari_stsr.results import StoredExpression
from napari_stsr.results.expression import ScaledExpression
from napari_stsr.results.posterior import OwnCounts, Trust, with_own_counts
from napari_stsr.slides import Counts

GENE = np.array([0])


def own_of(counts, variance, parent=None, parts=1, gain=None, depth=0.0):
    """Own counts of locations with the given counts (n, g)."""
    counts = np.asarray(counts, dtype=np.float32)
    parent = np.arange(len(counts)) if parent is None else np.asarray(parent)
    gain = np.ones(len(parent)) if gain is None else gain
    trust = Trust(depth, np.full(counts.shape[1], variance))
    measured = Counts(sparse.csr_matrix(counts))
    return OwnCounts(measured, parent, parts, np.asarray(gain, np.float32), trust)


def expression(values):
    return StoredExpression(np.asarray(values, dtype=np.float32))


@pytest.mark.parametrize(("p", "y", "variance"), [(2.0, 5, 0.3), (0.4, 0, 1.5), (30.0, 22, 0.02)])
def test_mean_and_spread_are_those_of_the_posterior(p, y, variance):
    prior = stats.gamma(1 / variance, scale=p * variance)

    def moment(power):
        def at(rate):
            return rate**power * prior.pdf(rate) * stats.poisson.pmf(y, rate)

        return integrate.quad(at, 0, prior.ppf(1 - 1e-13), limit=400)[0]

    mean, square = moment(1) / moment(0), moment(2) / moment(0)
    before = expression([[np.sqrt(variance) * p]])
    told, spread, _ = with_own_counts(expression([[p]]), before, own_of([[y]], variance))
    np.testing.assert_allclose(told.columns(GENE), mean, rtol=1e-5)
    np.testing.assert_allclose(spread.columns(GENE), np.sqrt(square - mean**2), rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.integers(0, 50), min_size=3, max_size=3),
    st.integers(0, 10_000),
)
def test_between_the_prediction_and_conservation(parts, counts, seed):
    drawn = np.random.default_rng(seed).uniform(0.1, 5, (3 * parts, 1))
    parent = np.repeat(np.arange(3), parts)
    y = np.array(counts, dtype=float)[:, None]
    sums = {}
    for variance in (0.0, 0.5, 1e9):
        own = own_of(y, variance, parent, parts)
        told, _, _ = with_own_counts(expression(drawn), None, own)
        values = told.columns(GENE)
        sums[variance] = values.reshape(3, parts).sum(axis=1)
        # Within a location every part is multiplied alike.
        ratio = (values / drawn).reshape(3, parts)
        np.testing.assert_allclose(ratio, np.repeat(ratio[:, :1], parts, axis=1), rtol=1e-4)
    np.testing.assert_allclose(sums[0.0], drawn.reshape(3, parts).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(sums[1e9], y[:, 0], rtol=1e-3, atol=1e-4)
    low, high = np.minimum(sums[0.0], sums[1e9]), np.maximum(sums[0.0], sums[1e9])
    assert ((sums[0.5] >= low - 1e-3) & (sums[0.5] <= high + 1e-3)).all()


def test_a_deep_location_takes_its_own_total_and_others_keep_theirs():
    totals, depth = np.array([5000.0, 800.0]), np.array([4000.0, 1000.0, 77.0], dtype=np.float32)
    measured = Counts(sparse.csr_matrix(np.zeros((2, 1), dtype=np.float32)))
    parent = np.array([0, 1, -1])
    own = OwnCounts.of(measured, totals, parent, 1, depth, Trust(0.1, np.zeros(1)))
    np.testing.assert_allclose(own.gain * depth, [5000, 800, 77], rtol=0.005)
    unknown = OwnCounts.of(measured, totals, parent, 1, depth, Trust(0.0, np.zeros(1)))
    np.testing.assert_array_equal(unknown.gain, 1)


def test_what_is_no_measured_location_stays_as_it_was():
    values = np.array([[3.0], [4.0]])
    own = own_of([[9.0]], 0.5, parent=[-1, 0])
    told, spread, _ = with_own_counts(expression(values), expression(values / 2), own)
    assert told.columns(GENE)[0, 0] == 3
    assert told.columns(GENE)[1, 0] > 4
    assert spread.columns(GENE)[0, 0] == pytest.approx(1.5)
    nobody = own_of([[9.0]], 0.5, parent=[-1, -1])
    prediction = expression(values)
    assert with_own_counts(prediction, None, nobody) == (prediction, None, None)


def test_missing_genes_follow_the_total_alone():
    own = own_of([[0.0]], 0.5, gain=[2.0])
    told, _, unseen = with_own_counts(expression([[3.0]]), expression([[1.0]]), own)
    assert unseen is not None
    assert unseen.spread is not None
    assert unseen.expected.columns(GENE)[0, 0] == 6
    assert unseen.spread.columns(GENE)[0, 0] == 2
    assert told.columns(GENE)[0, 0] == pytest.approx(6 / (1 + 0.5 * 6))


def test_some_parts_are_those_of_the_whole_location():
    values = np.random.default_rng(0).uniform(0.5, 3, (6, 4))
    own = own_of(np.full((2, 4), 7.0), 0.3, parent=[0, 0, 0, 1, 1, 1], parts=3)
    share = np.full(6, 0.5)
    before = ScaledExpression(expression(values), share)
    told, spread, _ = with_own_counts(before, ScaledExpression(expression(values), share), own)
    genes, some = np.array([3, 1]), np.array([5, 0])
    for answer in (told, spread):
        whole = answer.columns(genes)
        np.testing.assert_array_equal(answer.take(some).columns(genes), whole[some])
