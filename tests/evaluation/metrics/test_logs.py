"""Logs of counts: the expected log against the sum over all counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics import expected_log, measured_log


def summed(p: float, total: float) -> float:
    """E log1p(1e4 Y / T) by summing over every count that can occur."""
    most = int(p + 12 * np.sqrt(p) + 40)
    counts = np.arange(most)
    return float(poisson.pmf(counts, p) @ np.log1p(1e4 / total * counts))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-7, 4), min_size=1, max_size=5),
    st.floats(-4, 8),
)
def test_expected_log_is_the_sum_over_all_counts(powers, log_total):
    p, total = 10.0 ** np.array(powers), 10.0**log_total
    found = expected_log(p[None, :], [total])[0]
    want = [summed(float(np.float32(one)), total) for one in p]
    np.testing.assert_allclose(found, want, atol=1e-4)


def test_small_expectations_keep_their_order_beside_large_ones():
    p = np.concatenate([[3000.0], np.geomspace(1e-5, 1, 200)])[None, :]
    logs = expected_log(p, [5000.0])[0, 1:]
    assert (np.diff(logs) > 0).all()


def test_no_depth_and_no_counts_give_zero():
    logs = expected_log([[0.0, 2.0], [0.0, 0.0]], [0.0, 7.0])
    np.testing.assert_array_equal(logs, 0)
    np.testing.assert_array_equal(measured_log([[0.0, 2.0]], [0.0]), 0)


def test_tiles_with_and_without_depth_agree_with_single_rows():
    rng = np.random.default_rng(0)
    p = rng.gamma(0.4, 2, (300, 400)).astype(np.float32)
    totals = np.where(rng.random(300) < 0.1, 0, p.sum(axis=1))
    together = expected_log(p, totals)
    alone = np.vstack([expected_log(p[i : i + 1], totals[i : i + 1]) for i in range(0, 300, 29)])
    np.testing.assert_allclose(together[::29], alone, atol=2e-5)


def test_measured_log_is_log1p_of_counts_per_ten_thousand():
    counts = np.array([[1, 3], [0, 8]])
    want = np.log1p(counts / np.array([[4], [16]]) * 1e4)
    np.testing.assert_allclose(measured_log(counts, [4, 16]), want, rtol=1e-6)


@pytest.mark.parametrize(
    ("p", "total"), [([[-1.0]], [1.0]), ([[np.nan]], [1.0]), ([[np.inf]], [1.0])]
)
def test_what_is_no_expectation_is_refused(p, total):
    with pytest.raises(InputError, match="finite and not negative"):
        expected_log(p, total)


def test_totals_must_fit():
    with pytest.raises(InputError, match="one total a row"):
        expected_log([[1.0]], [1.0, 2.0])
