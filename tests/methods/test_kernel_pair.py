"""Factor kernel and Poisson kernel, mixed gene by gene."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from napari_stsr import simulate_slide
from napari_stsr.methods.baselines import FactorKernel, PoissonKernel
from napari_stsr.methods.empirical_bayes import posterior
from napari_stsr.methods.kernel_pair import SHARES, KernelPair, best_shares
from napari_stsr.slides import Counts, Slide
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome


def _predictions(rows: int, genes: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of which the first half of the genes are told by one, the others by the other."""
    rng = np.random.default_rng(0)
    right = rng.gamma(2.0, 2.0, (rows, genes)).astype(np.float32)
    wrong = np.tile(right.mean(axis=0), (rows, 1))
    first = np.arange(genes) < genes // 2
    truth = rng.poisson(right).astype(np.float32)
    return np.where(first, right, wrong), np.where(first, wrong, right), truth


def test_each_gene_takes_the_kernel_that_tells_it() -> None:
    one, other, truth = _predictions(2000)
    share = best_shares(one, other, truth)
    assert share[:30].max() < 0.05
    assert share[30:].min() > 0.9
    # What a location is made of decides, not how much it holds.
    np.testing.assert_allclose(best_shares(7 * one, 7 * other, truth), share, rtol=1e-5)


def test_few_locations_keep_the_factor_kernel() -> None:
    assert best_shares(*_predictions(10)).max() < 0.1


def test_the_likeliest_share_is_that_of_a_search() -> None:
    one, other, truth = _predictions(400, 2)
    mean = 0.4 * one + 0.6 * other
    truth = np.random.default_rng(1).poisson(mean).astype(np.float32)
    rates = [(1 - u) * one + u * other for u in SHARES]
    whole = [rate / rate.sum(axis=1, keepdims=True) for rate in rates]
    likelihood = np.array([(truth * np.log(p)).sum(axis=0) for p in whole])
    # Of two genes one share fixes the other; both are drawn to zero by 100 locations of 500.
    found = best_shares(one, other, truth) / 0.8
    assert found == pytest.approx(SHARES[likelihood.sum(axis=1).argmax()], abs=0.12)


def test_genes_that_cannot_tell_take_what_is_usual() -> None:
    likelihood = np.zeros((3, 10))
    likelihood[2, :9] = 40.0
    found = posterior(likelihood)
    np.testing.assert_allclose(found.sum(axis=0), 1)
    assert found[2, 9] > 0.95


def _slide(genes: int = 40) -> Slide:
    """Half of the genes follow one programme, the others waves of their own."""
    rng = np.random.default_rng(0)
    slide = simulate_slide(shape=(24, 24), genes=genes, image=False, seed=3)
    place = (slide.coordinates / np.ptp(slide.coordinates, axis=0).max()) * 12
    turn, phase = rng.normal(size=(2, genes)), rng.random(genes) * 6
    waves = np.sin(place @ turn + phase)
    waves[:, : genes // 2] = np.sin(place[:, :1])
    counts = rng.poisson(3 * np.exp(1.2 * waves)).astype(np.float32)
    return slide.with_counts(Counts(sparse.csr_matrix(counts)))


def test_it_is_the_mean_of_both_kernels_whatever_genes_are_asked() -> None:
    slide, method = _slide(), KernelPair()
    every = outcome(method.fit(slide, method.parameters("auto"), Run()))
    share = every.learned["share"]
    asked = np.array([33, 4])
    places = slide.coordinates[:50] + 20.0
    found = every.field(places, Run())[0].columns(asked)
    of = [
        outcome(kernel.fit(slide, kernel.parameters("auto"), Run()))
        .field(places, Run())[0]
        .columns(asked)
        for kernel in (FactorKernel(), PoissonKernel())
    ]
    np.testing.assert_allclose(found, (1 - share[asked]) * of[0] + share[asked] * of[1], rtol=1e-5)
    few = outcome(method.fit(slide, method.parameters("auto"), Run(), asked))
    np.testing.assert_allclose(few.learned["share"], share[asked], rtol=1e-6)
    np.testing.assert_allclose(few.field(places, Run())[0].columns(np.arange(2)), found, rtol=1e-5)
    again = every.of_genes(slide, asked)
    np.testing.assert_allclose(
        again.left_out(np.arange(9), Run()).columns(np.arange(2)),
        every.left_out(np.arange(9), Run()).columns(asked),
        rtol=1e-5,
    )
    assert share[20:].mean() > share[:20].mean()
