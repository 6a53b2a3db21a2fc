"""Sparse likelihoods against SciPy's distributions in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse, stats

from napari_stsr.methods.layers.likelihood import SparseBatch, log_likelihood


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mean = rng.gamma(0.5, 2.0, (6, 11)) + 1e-3
    size = rng.gamma(2.0, 1.0, 11) + 0.05
    return rng.poisson(mean).astype(float), mean, size


def _ours(
    y: np.ndarray, mean: np.ndarray, size: np.ndarray | None, zeros: np.ndarray | None
) -> np.ndarray:
    batch = SparseBatch.of(sparse.csr_matrix(y))
    as_log = [None if v is None else torch.from_numpy(np.log(v)) for v in (mean, size)]
    logit = None if zeros is None else torch.from_numpy(np.log(zeros / (1 - zeros)))
    assert as_log[0] is not None
    return log_likelihood(batch, as_log[0], as_log[1], logit).numpy()


def test_negative_binomial(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    y, mean, size = case
    expected = stats.nbinom.logpmf(y, size, size / (size + mean)).sum(1)
    np.testing.assert_allclose(_ours(y, mean, size, None), expected, rtol=1e-6)


def test_zero_inflated(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    y, mean, size = case
    zeros = np.linspace(0.05, 0.6, 11)
    nb = stats.nbinom.pmf(y, size, size / (size + mean))
    expected = np.log((1 - zeros) * nb + zeros * (y == 0)).sum(1)
    np.testing.assert_allclose(_ours(y, mean, size, zeros), expected, rtol=1e-6)


def test_poisson(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    y, mean, _ = case
    expected = stats.poisson.logpmf(y, mean).sum(1)
    np.testing.assert_allclose(_ours(y, mean, None, None), expected, rtol=1e-6)
