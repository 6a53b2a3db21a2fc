"""Own counts in the methods that weigh them: denoising gains, missing genes are not pulled down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from napari_stsr import simulate_slide
from napari_stsr.evaluation.task import halves
from napari_stsr.methods import Fitted, Method, get_method
from napari_stsr.methods.answer import measured_there
from napari_stsr.methods.own_counts import learn_trust
from napari_stsr.results.expression import DecodedExpression
from napari_stsr.slides import Counts, Slide, points
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome

SMALL = {
    "square": {"embedding_steps": 300, "graph_steps": 100, "hidden": 64, "width": 32},
    "suica": {"members": 3, "autoencoder_steps": 60, "field_steps": 60, "decoder_steps": 200},
}


@pytest.fixture(scope="module")
def split() -> tuple[Slide, Counts]:
    """A slide that shows half of its molecules, and the other half."""
    slide = simulate_slide(shape=(18, 18), genes=100, image=False, seed=3)
    seen, hidden = halves(slide.counts, 0)
    return slide.with_counts(seen), hidden


@dataclass(frozen=True)
class Fits:
    """The same method fitted twice, weighing own counts and not."""

    method: Method
    weighing: Fitted
    plain: Fitted


@pytest.fixture(scope="module", params=sorted(SMALL))
def fits(request: pytest.FixtureRequest, split: tuple[Slide, Counts]) -> Fits:
    method, made = get_method(request.param), []
    for own in (True, False):
        params = method.parameters("auto", {**SMALL[request.param], "own_counts": own})
        made.append(outcome(method.fit(split[0], params, Run(device="cpu"))))
    return Fits(method, *made)


def unlikeliness(expected: np.ndarray, counts: Counts) -> float:
    rate = np.maximum(expected, 1e-6).astype(float)
    return float((rate - counts.rows.toarray() * np.log(rate)).mean())


def test_the_other_half_of_the_molecules_is_likelier(fits, split):
    slide, hidden = split
    at, parts = slide.locations(), slide.subspots(4)
    genes = np.arange(len(slide.genes))
    own = fits.weighing.predict(at).expression_source.columns(genes)
    without = fits.plain.predict(at).expression_source.columns(genes)
    assert unlikeliness(own, hidden) < unlikeliness(without, hidden)
    # The parts of a location weigh the same counts as a whole.
    denoised = fits.weighing.predict(parts).denoised.columns(genes)
    whole = denoised.reshape(len(slide), 4, -1).sum(axis=1)
    assert unlikeliness(whole, hidden) < unlikeliness(without, hidden)


def test_a_field_has_no_dots_where_it_was_measured(fits, split):
    slide, _ = split
    centre = slide.coordinates[:5]
    genes = np.arange(len(slide.genes))
    there = fits.weighing.at(centre).columns(genes)
    beside = fits.weighing.at(centre + 0.01 * slide.lattice.pitch_um).columns(genes)
    np.testing.assert_allclose(there, beside, rtol=0.1, atol=1e-3)


def test_filled_in_genes_do_not_believe_their_zeros(fits, split):
    slide, _ = split
    result = fits.weighing.predict(slide.locations())
    genes = np.arange(len(slide.genes))
    known, missing = result.expression_source.columns(genes), result.unseen.expected.columns(genes)
    zero = slide.counts.rows.toarray() == 0
    assert (missing[zero] >= known[zero] - 1e-6).all()
    assert (missing[zero] > 1.02 * known[zero]).mean() > 0.2


def test_a_place_is_as_sure_whatever_else_is_asked(fits, split):
    slide, _ = split
    genes = np.arange(len(slide.genes))
    # Points as large as a part, beside the middle of a location: no counts are their own.
    small = points(slide.coordinates[:6] + 0.2 * slide.lattice.pitch_um, 0.5 * slide.diameter_um)
    whole = slide.locations().take(np.arange(6, 12))
    among = points(
        np.concatenate([small.coordinates, whole.coordinates]),
        np.concatenate([np.full(6, 0.5 * slide.diameter_um), np.full(6, slide.diameter_um)]),
    )
    alone = fits.weighing.predict(small).uncertainty.columns(genes)
    together = fits.weighing.predict(among).uncertainty.columns(genes)
    np.testing.assert_allclose(together[:6], alone, rtol=1e-4)
    own = fits.weighing.predict(whole).uncertainty.columns(genes)
    np.testing.assert_allclose(together[6:], own, rtol=1e-4)


def test_of_two_locations_at_one_place_none_is_meant():
    known = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 0.1], [20.0, 0.0]])
    asked = points(np.array([[0.0, 0.1], [10.0, 0.0], [20.0, 0.0], [15.0, 0.0]]), 5.0)
    share = np.array([1.0, 1.0, 0.5, 1.0])
    np.testing.assert_array_equal(measured_there(asked, share, known, 10.0), [0, -1, -1, -1])
    np.testing.assert_array_equal(measured_there(asked, share, known[:1], 10.0), [0, -1, -1, -1])


def test_weighing_is_kept_in_the_file(fits, split, tmp_path: Path):
    slide, _ = split
    fits.weighing.save(tmp_path / "fit")
    again = fits.method.load(tmp_path / "fit")
    genes = np.arange(len(slide.genes))
    for targets in (slide.locations(), slide.subspots(4)):
        first, second = fits.weighing.predict(targets), again.predict(targets)
        for name in ("expression_source", "uncertainty"):
            np.testing.assert_array_equal(
                getattr(first, name).columns(genes), getattr(second, name).columns(genes)
            )


def test_trust_is_the_variance_that_counts_were_drawn_with():
    rng = np.random.default_rng(0)
    n, g, per_gene, of_depth = 400, 60, 0.25, 0.09
    depth = np.full(n, 3000.0, dtype=np.float32)
    bias = np.full(g, -np.log(g), dtype=np.float32)
    expected = DecodedExpression(
        np.zeros((n, 1), np.float32),
        np.zeros((g, 1), np.float32),
        bias,
        np.zeros(n, np.float32),
        depth,
    )
    own = depth * rng.gamma(1 / of_depth, of_depth, n)
    rate = own[:, None] * np.exp(bias) * rng.gamma(1 / per_gene, per_gene, (n, g))
    truth = rng.poisson(rate).astype(np.float32)
    trust = outcome(learn_trust(expected, sparse.csr_matrix(truth), truth.sum(1), Run()))
    assert trust is not None
    assert trust.depth == pytest.approx(of_depth, rel=0.35)
    # Variances are told on a grid whose steps are a factor of 1.8.
    assert np.median(trust.genes) == pytest.approx(per_gene, rel=0.35)
