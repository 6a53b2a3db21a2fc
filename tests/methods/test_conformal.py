"""Uncertainty learned from left-out counts, on counts whose spread is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from napari_stsr.evaluation.metrics import probability_transform, transformed_coverage
from napari_stsr.methods.conformal import (
    RELATIVE_VARIANCES,
    conformal_factor,
    dispersion_likelihood,
    interval_share,
    relative_variances,
)


def drawn(expected: np.ndarray, relative: np.ndarray | float, seed: int = 0) -> np.ndarray:
    """Counts around expectations that are known up to a relative variance."""
    rng = np.random.default_rng(seed)
    shape = 1 / np.broadcast_to(relative, expected.shape)
    return rng.poisson(expected * rng.gamma(shape, 1 / shape)).astype(np.float32)


def expectations(locations: int, genes: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    level = np.geomspace(0.05, 200, genes)
    return (level * rng.gamma(4, 0.25, (locations, genes))).astype(np.float32)


def test_the_spread_of_every_gene_is_found_beyond_counting_noise() -> None:
    p = expectations(300, 200)
    true = np.where(np.arange(200) % 2, 0.05, 0.5)
    y = drawn(p, true)
    found = relative_variances(dispersion_likelihood(sparse.csr_matrix(y), p))
    deep = p.mean(axis=0) > 5
    np.testing.assert_allclose(np.log(found[deep] / true[deep]), 0, atol=0.35)
    # Genes with hardly a molecule take what is usual for the others.
    rare = p.mean(axis=0) < 0.1
    assert (found[rare] > 0.05).all()
    assert (found[rare] < 0.5).all()


def test_what_a_method_names_itself_is_not_counted_twice() -> None:
    p = expectations(300, 100)
    named = np.random.default_rng(2).choice([0.02, 0.8], p.shape).astype(np.float32)
    y = sparse.csr_matrix(drawn(p, 0.1 + named))
    deep = p.mean(axis=0) > 5
    rest = relative_variances(dispersion_likelihood(y, p, named))[deep]
    assert np.median(rest) == pytest.approx(0.1, rel=0.3)
    assert np.median(relative_variances(dispersion_likelihood(y, p))[deep]) > 0.3


def test_pure_counting_noise_leaves_next_to_nothing() -> None:
    p = expectations(300, 60)
    y = np.random.default_rng(0).poisson(p).astype(np.float32)
    found = relative_variances(dispersion_likelihood(sparse.csr_matrix(y), p))
    assert np.median(found) < 0.01
    assert found.min() >= RELATIVE_VARIANCES[0]


@pytest.mark.parametrize("wrong", [0.5, 1.0, 2.0])
def test_a_deviation_that_is_off_by_a_factor_is_put_right(wrong: float) -> None:
    p = expectations(400, 40) + 2
    deviation = wrong * np.sqrt(0.2) * p
    factor = conformal_factor(drawn(p, 0.2), p, deviation, votes=0)
    assert factor == pytest.approx(1 / wrong, rel=0.1)
    fresh = drawn(p, 0.2, seed=9)
    coverage = transformed_coverage(probability_transform(fresh, p, factor * deviation))
    assert coverage[0.9] == pytest.approx(0.9, abs=0.015)


def test_few_locations_and_rare_genes_leave_the_deviation_as_it_is() -> None:
    p = expectations(400, 40) + 2
    wide = drawn(p, 0.8)
    deviation = np.sqrt(0.2) * p
    alone = conformal_factor(wide, p, deviation, votes=0)
    few = conformal_factor(wide[:10], p[:10], deviation[:10])
    assert 1 < few < 1 + 0.25 * (alone - 1)
    assert conformal_factor(wide[:0], p[:0], deviation[:0]) == 1
    rare = np.full((400, 5), 0.01, dtype=np.float32)
    assert conformal_factor(drawn(rare, 0.2), rare, rare, votes=0) == 1


def test_intervals_agree_with_the_evaluations_own() -> None:
    p = expectations(200, 30)
    y, deviation = drawn(p, 0.3), np.sqrt(0.3) * p
    u = np.random.default_rng(0).random(y.shape)
    judged = transformed_coverage(probability_transform(y, p, deviation))
    for level in (0.5, 0.9):
        assert interval_share(y, p, deviation, u, level) == pytest.approx(judged[level], abs=0.002)
