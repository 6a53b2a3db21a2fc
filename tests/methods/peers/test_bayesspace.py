"""BayesSpace on tissue whose domains are known, and on a real section."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from napari_stsr import open_slide
from napari_stsr.errors import InputError
from napari_stsr.methods.peers import BayesSpace
from napari_stsr.methods.peers.bayesspace import BayesSpaceFitted
from napari_stsr.slides import Lattice
from napari_stsr.slides.simulate import Simulation
from napari_stsr.slides.targets import points
from napari_stsr.training import Run
from tests.methods.peers.conftest import fit


def fitted(simulation: Simulation, **values: object) -> BayesSpaceFitted:
    made = fit("bayesspace", simulation.slide, **values)
    assert isinstance(made, BayesSpaceFitted)
    return made


def test_known_domains_are_found_below_the_spots(clear: Simulation) -> None:
    space = fitted(clear, sweeps=150)
    found = space.domains(clear.slide.subspots(9))
    inside = clear.domain >= 0
    copied = space.learned["domains"][clear.parent]
    score = adjusted_rand_score(clear.domain[inside], found[inside])
    assert score > 0.93
    assert score > adjusted_rand_score(clear.domain[inside], copied[inside])


def test_subspots_come_nearer_to_the_truth_than_even_shares(clear: Simulation) -> None:
    result = fitted(clear, sweeps=150).predict(clear.slide.subspots(9))
    even = clear.slide.counts.rows.toarray()[clear.parent] / 9
    truth = clear.truth.toarray()
    assert np.mean((result.expression() - truth) ** 2) < np.mean((even - truth) ** 2)
    assert result.denoised is not None
    denoised = result.denoised.columns(np.arange(150))
    assert np.mean((denoised - clear.mean) ** 2) < 0.5 * np.mean((even - clear.mean) ** 2)


def test_components_of_parts_average_to_the_spot(clear: Simulation) -> None:
    space = fitted(clear)
    embedding = space.predict(clear.slide.subspots(9)).embedding
    assert embedding is not None
    mean = embedding.reshape(len(clear.slide), 9, -1).mean(axis=1)
    np.testing.assert_allclose(mean, space.learned["values"], atol=1e-3)


def test_places_read_the_subspot_they_lie_in(clear: Simulation) -> None:
    slide = clear.slide
    space = fitted(clear, conserve="off")
    parts = slide.subspots(9)
    centres = points(parts.coordinates, slide.diameter_um)
    ratio = centres.area_um2[0] / (np.pi * slide.diameter_um**2 / 4)
    at_points = space.predict(centres).expression()
    np.testing.assert_allclose(at_points, 9 * ratio * space.predict(parts).expression(), rtol=1e-4)


def test_every_division_of_the_lattice_can_be_drawn(flowers: Simulation) -> None:
    space = fitted(flowers)
    for parts in (6, 7):
        assert len(space.predict(flowers.slide.subspots(parts))) == parts * len(flowers.slide)


def test_places_that_were_not_measured_are_refused(clear: Simulation) -> None:
    slide, method = clear.slide, BayesSpace()
    away = points(slide.coordinates[:1] - 2 * slide.lattice.pitch_um, slide.diameter_um)
    with pytest.raises(InputError, match="1 targets lie outside"):
        method.check(slide, away, method.parameters())
    with pytest.raises(InputError, match="outside"):
        fitted(clear).predict(away)
    loose = replace(slide, lattice=Lattice.none(slide.coordinates))
    with pytest.raises(InputError, match="lattice"):
        method.check(loose, slide.locations(), method.parameters())
    few = slide.take(np.arange(30))
    with pytest.raises(InputError, match="Lower domains"):
        method.check(few, few.subspots(9), method.parameters("auto", {"domains": 16}))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_layers_of_a_real_section_are_found(data: Callable[[str], Path]) -> None:
    folder = data("dlpfc_151673")
    slide = open_slide(folder)
    labels = pd.read_csv(folder / "layers.csv", index_col=0).iloc[:, 0].reindex(slide.barcodes)
    method = BayesSpace()
    fitting = method.fit(slide, method.parameters("auto", {"sweeps": 200}), Run())
    while True:
        try:
            next(fitting)
        except StopIteration as end:
            learned = end.value.learned
            break
    known = labels.notna().to_numpy()[learned["rows"]]
    layers = labels.to_numpy()[learned["rows"]][known]
    # The paper reports about .55 on this section.
    assert adjusted_rand_score(layers, learned["domains"][known]) > 0.45
