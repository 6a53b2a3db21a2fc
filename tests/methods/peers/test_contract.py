"""What every peer owes the rest of the program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from napari_stsr.errors import Cancelled, InputError
from napari_stsr.slides import Counts
from napari_stsr.slides.simulate import Simulation
from napari_stsr.slides.targets import points
from napari_stsr.training import Run
from tests.methods.peers.conftest import PEERS, fit

every_peer = pytest.mark.parametrize("name", list(PEERS))


@every_peer
def test_it_says_whose_implementation_it_is(name: str) -> None:
    method, _ = PEERS[name]
    assert method.title.startswith("Our implementation of ")
    assert method.family == "peer"
    assert method.name == name
    assert set(method.presets) == {"auto", "fast", "paper"}
    for preset in method.presets:
        method.parameters(preset)


@every_peer
def test_parts_add_up_to_the_spot_unless_switched_off(name: str, flowers: Simulation) -> None:
    slide = flowers.slide
    genes = np.array([7, 3, 40])
    measured = slide.counts.dense(genes)
    targets = slide.subspots(7)
    kept = fit(name, slide, genes=genes).predict(targets)
    assert kept.expression().shape == (len(targets), 3)
    sums = kept.expression().reshape(-1, 7, 3).sum(axis=1)
    np.testing.assert_allclose(sums, measured, rtol=1e-4, atol=1e-4)
    assert kept.denoised is not None
    free = fit(name, slide, genes=genes, conserve="off").predict(targets)
    assert free.denoised is None
    np.testing.assert_array_equal(free.expression(), kept.denoised.columns(np.arange(3)))
    assert (free.expression() >= 0).all()
    assert np.isfinite(free.expression()).all()


@every_peer
def test_same_seed_same_result_also_after_saving(
    name: str, flowers: Simulation, tmp_path: Path
) -> None:
    method, _ = PEERS[name]
    slide, run = flowers.slide, Run(seed=5, device="cpu")
    targets = slide.subspots(7)
    first, second = fit(name, slide, run), fit(name, slide, run)
    first.save(tmp_path / "fit.npz")
    expected = second.predict(targets).expression()
    np.testing.assert_array_equal(first.predict(targets).expression(), expected)
    loaded = method.load(tmp_path / "fit.npz")
    np.testing.assert_array_equal(loaded.predict(targets).expression(), expected)
    other = fit(name, slide, Run(seed=6, device="cpu")).predict(targets)
    assert np.abs(other.expression() - expected).max() > 0


@every_peer
def test_some_targets_are_answered_as_among_all(name: str, flowers: Simulation) -> None:
    fitted = fit(name, flowers.slide)
    targets = flowers.slide.subspots(7)
    rows = np.array([40, 3, 200, 41])
    some = fitted.predict(targets.take(rows))
    whole = fitted.predict(targets).take(rows)
    np.testing.assert_allclose(some.expression(), whole.expression(), rtol=1e-4, atol=1e-5)


@every_peer
def test_one_molecule_in_a_spot_does_no_harm(name: str, clear: Simulation) -> None:
    slide = clear.slide
    rows = slide.counts.rows.tolil()
    rows[100] = 0
    rows[100, 7] = 1
    broken = replace(slide, counts=Counts(sparse.csr_matrix(rows)))
    targets = points(slide.coordinates[[101, 118]] + 20.0, slide.diameter_um)
    values = fit(name, broken, conserve="off").predict(targets).expression()
    assert np.isfinite(values).all()
    # One molecule scaled to 10,000 would be the whole depth of the slide.
    assert values[:, 7].max() < 0.3 * slide.counts.totals.mean()


@every_peer
def test_cancel_stops_it(name: str, flowers: Simulation) -> None:
    method, quick = PEERS[name]
    run = Run(device="cpu")
    fitting = method.fit(flowers.slide, method.parameters("auto", quick), run)
    next(fitting)
    next(fitting)
    run.cancel.cancel()
    with pytest.raises(Cancelled):
        for _ in fitting:
            pass


@every_peer
def test_a_slide_of_zeros_is_refused(name: str, flowers: Simulation) -> None:
    method, _ = PEERS[name]
    slide = flowers.slide
    empty = replace(slide, counts=Counts(sparse.csr_matrix(slide.counts.shape, dtype=np.int32)))
    with pytest.raises(InputError, match="zero"):
        method.check(empty, slide.subspots(7), method.parameters())


@every_peer
def test_the_estimate_grows_with_the_work(name: str, flowers: Simulation) -> None:
    method, _ = PEERS[name]
    slide, targets = flowers.slide, flowers.slide.subspots(7)
    short, long = (method.estimate(slide, targets, method.parameters(p)) for p in ("fast", "paper"))
    assert 0 < short.seconds <= long.seconds
    assert short.memory_bytes > 0
