from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from napari_stsr.errors import InputError
from napari_stsr.results import Enhancement, StoredExpression
from napari_stsr.results.writers.picture import write_picture
from napari_stsr.slides.simulate import simulate


@pytest.fixture(scope="module")
def simulated():
    found = simulate(lattice="hex", shape=(14, 12), genes=20)
    slide, targets = found.slide, found.slide.subspots()
    yes = np.ones(len(targets), dtype=bool)
    parents = slide.barcodes[targets.parent]
    source = StoredExpression(found.mean)
    return slide, Enhancement("x", targets, slide.genes, source, slide.scale, yes, yes, parents)


def test_the_prediction_is_drawn_where_it_is_high(tmp_path, simulated):
    slide, result = simulated
    values = np.zeros((len(result), 20), dtype=np.float32)
    left = result.targets.coordinates[:, 0] < np.median(slide.coordinates[:, 0])
    values[left, 0] = 5
    object.__setattr__(result, "expression_source", StoredExpression(values))
    write_picture(tmp_path / "p.png", slide, result, [str(slide.genes.ids[0])], width=200)
    write_picture(tmp_path / "q.png", slide, result, [str(slide.genes.ids[1])], width=200)
    drawn, plain = (np.asarray(Image.open(tmp_path / f"{n}.png")).astype(int) for n in "pq")
    assert drawn.shape == plain.shape
    half = drawn.shape[1] // 2
    changed = (np.abs(drawn - plain).sum(axis=2) > 60)[30:-40, half:]
    width = changed.shape[1]
    assert changed[:, : width // 2 - 10].mean() > 0.6
    assert changed[:, width // 2 + 10 :].mean() < 0.02


def test_the_picture_shows_the_histology_below(tmp_path, simulated):
    slide, result = simulated
    write_picture(tmp_path / "p.png", slide, result, ["SIM020", "SIM019"], width=150)
    one = np.asarray(Image.open(tmp_path / "p.png"))
    assert one.shape[0] > one.shape[1] / 2
    pink = (one[..., 0] > one[..., 1] + 30) & (one[..., 2] > one[..., 1])
    assert pink.mean() > 0.1


def test_other_endings_are_refused(tmp_path, simulated):
    with pytest.raises(InputError, match=r"\.png"):
        write_picture(tmp_path / "p.gif", *simulated, [])
