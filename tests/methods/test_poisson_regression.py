"""Poisson regression of all genes at once against scikit-learn's, gene by gene."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.linear_model import PoissonRegressor

from napari_stsr.methods.poisson_regression import chosen_ridge, poisson_weights


def test_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    n, width, genes = 400, 6, 5
    hidden = rng.normal(size=(n, width)).astype(np.float32)
    offset = rng.normal(0, 0.3, n).astype(np.float32)
    true = rng.normal(0, 0.4, (genes, width))
    counts = rng.poisson(np.exp(hidden @ true.T + offset[:, None] + [0.5, 1, -1, 0, 2]))
    weight, bias = poisson_weights(hidden, offset, sparse.csr_matrix(counts), ridge=1e-3, steps=60)
    exposure = np.exp(offset)
    for gene in range(genes):
        # Rates with exposure as sample weight are the same likelihood.
        reference = PoissonRegressor(alpha=0, tol=1e-8, max_iter=1000)
        reference.fit(hidden, counts[:, gene] / exposure, sample_weight=exposure)
        np.testing.assert_allclose(weight[gene], reference.coef_, atol=2e-3)
        np.testing.assert_allclose(bias[gene], reference.intercept_, atol=2e-3)


def test_a_gene_never_seen_stays_near_zero() -> None:
    hidden = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    weight, bias = poisson_weights(
        hidden,
        np.zeros(50, dtype=np.float32),
        sparse.csr_matrix((50, 2), dtype=np.float32),
        ridge=1.0,
    )
    assert np.exp(hidden @ weight.T + bias).sum() < 0.1


def test_noise_is_shrunk_and_signal_is_not() -> None:
    rng = np.random.default_rng(2)
    hidden = rng.normal(size=(300, 10)).astype(np.float32)
    flat = np.zeros(300, dtype=np.float32)
    noise = sparse.csr_matrix(rng.poisson(1.0, (300, 40)))
    signal = sparse.csr_matrix(rng.poisson(np.exp(hidden @ rng.normal(0, 0.5, (10, 40)))))
    assert chosen_ridge(hidden, flat, noise, 0) > chosen_ridge(hidden, flat, signal, 0)
