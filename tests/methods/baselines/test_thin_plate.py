"""The smoothed spline as a method; its weights are tested with the neighbourhoods."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from napari_stsr.errors import InputError
from napari_stsr.methods.baselines.thin_plate import ThinPlate
from napari_stsr.slides.targets import points

from .fields import fit, hexagonal, slide_of, smooth_slide


def test_every_gene_is_scipys_spline_with_its_own_smoothing(tmp_path):
    slide = smooth_slide()
    fitted = fit(ThinPlate(), slide, neighbours=400)
    targets = points(slide.coordinates[[20, 77, 150]] + [31.0, 17.0], slide.diameter_um)
    found = fitted.predict(targets)
    logs = np.log1p(1e4 * slide.counts.rows.toarray() / slide.counts.totals[:, None])
    pitch, learned = slide.lattice.pitch_um, fitted.learned
    for gene in range(6):
        smoothing = learned["grid"][learned["choice"][gene], 2]
        spline = RBFInterpolator(
            slide.coordinates / pitch, logs[:, gene], smoothing=smoothing, degree=1
        )
        expected = spline(targets.coordinates / pitch)
        np.testing.assert_allclose(
            found.expression_source.logs(np.array([gene]))[:, 0], expected, atol=1e-3
        )
    assert found.uncertainty is None
    fitted.save(tmp_path / "fit.npz")
    again = ThinPlate().load(tmp_path / "fit.npz").predict(targets)
    np.testing.assert_array_equal(again.expression(), found.expression())


def test_noise_is_smoothed_away_and_waves_are_kept():
    rng = np.random.default_rng(0)
    places = hexagonal(20, 20)
    wave = 100 * (1.5 + np.sin(places[:, 0] / 200))
    flat = np.full(len(places), 150.0)
    slide = slide_of(places, rng.poisson(np.stack([wave, flat, flat, flat], axis=1)))
    fitted = fit(ThinPlate(), slide)
    choice = fitted.learned["choice"]
    assert choice[0] < choice[1:].min()
    found = fitted.predict(slide.locations()).expression()
    assert np.corrcoef(found[:, 0], wave)[0, 1] > 0.95


def test_the_fewest_locations_work_and_a_line_is_refused():
    rng = np.random.default_rng(1)
    slide = slide_of(rng.random((4, 2)) * 300, rng.poisson(30, (4, 3)))
    assert np.isfinite(fit(ThinPlate(), slide).predict(slide.locations()).expression()).all()
    line = np.column_stack([np.arange(9.0), 2 * np.arange(9.0)]) * 100
    with pytest.raises(InputError, match="one line"):
        fit(ThinPlate(), slide_of(line, np.ones((9, 2))))
