"""Linear and cubic interpolation, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import CloughTocher2DInterpolator, griddata
from scipy.spatial import cKDTree

from napari_stsr.errors import InputError
from napari_stsr.methods.baselines.clough_tocher import cubic_weights, gradient_system, gradients
from napari_stsr.methods.baselines.interpolation import Cubic, Linear
from napari_stsr.methods.baselines.triangulation import Triangulation
from napari_stsr.slides.targets import points

from .fields import fit, hexagonal, slide_of, smooth_slide


@pytest.fixture(scope="module")
def scattered():
    rng = np.random.default_rng(0)
    places, values = rng.random((80, 2)) * 10, rng.normal(size=(80, 3)).astype(np.float32)
    return places, values, rng.random((400, 2)) * 12 - 1


@pytest.mark.parametrize("kind", ["linear", "cubic"])
def test_inside_the_hull_it_is_scipys_outside_the_nearest(scattered, kind):
    places, values, targets = scattered
    triangles = Triangulation.of(places, np.ones(80, dtype=bool))
    if kind == "linear":
        found = triangles.linear(targets) @ values
        expected = griddata(places, values, targets, "linear")
    else:
        weights, slopes = cubic_weights(triangles, targets)
        system = gradient_system(triangles.delaunay)
        found = weights @ values + slopes @ gradients(system, triangles.merge @ values)
        expected = CloughTocher2DInterpolator(places, values, tol=1e-10, maxiter=2000)(targets)
    inside = np.isfinite(expected[:, 0])
    assert 0.5 < inside.mean() < 0.9
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-5)
    nearest = cKDTree(places).query(targets)[1]
    np.testing.assert_allclose(found[~inside], values[nearest[~inside]], atol=1e-6)


@pytest.mark.parametrize("method", [Linear(), Cubic()])
def test_logs_are_interpolated_and_come_back_at_the_data(method):
    slide = smooth_slide()
    fitted = fit(method, slide)
    enhanced = fitted.predict(slide.locations())
    counts, totals = slide.counts.rows.toarray(), slide.counts.totals
    every = np.arange(len(slide.genes))
    logs = np.log1p(1e4 * counts / totals[:, None])
    np.testing.assert_allclose(enhanced.expression_source.logs(every), logs, atol=1e-4)
    np.testing.assert_allclose(enhanced.expression(), counts, rtol=1e-3, atol=1e-3)
    middle = points(slide.coordinates[[50]] + [30.0, 20.0], slide.diameter_um)
    some = fitted.predict(middle).expression_source
    if method.name == "linear":
        expected = griddata(slide.coordinates, logs, middle.coordinates, "linear")
        np.testing.assert_allclose(some.logs(every), expected, atol=1e-4)
    np.testing.assert_allclose(some.columns(every[[2, 0]]), some.columns(every)[:, [2, 0]])


@pytest.mark.parametrize("method", [Linear(), Cubic()])
def test_locations_at_one_place_are_averaged(method):
    slide = smooth_slide()
    places = np.concatenate([slide.coordinates, slide.coordinates[:3]])
    counts = slide.counts.rows.toarray()
    twice = slide_of(places, np.concatenate([counts, 3 * counts[:3]]))
    once = slide_of(slide.coordinates, counts)
    every = np.arange(len(slide.genes))
    for made in (once, twice):
        logs = fit(method, made).predict(points(slide.coordinates[:3], 55.0)).expression_source
        expected = np.log1p(1e4 * counts[:3] / counts[:3].sum(axis=1, keepdims=True))
        np.testing.assert_allclose(logs.logs(every), expected, atol=1e-4)


@pytest.mark.parametrize("method", [Linear(), Cubic()])
def test_locations_on_a_line_are_refused(method):
    line = np.column_stack([np.arange(9.0), 2 * np.arange(9.0)]) * 100
    with pytest.raises(InputError, match="one line"):
        fit(method, slide_of(line, np.ones((9, 2))))
    with pytest.raises(InputError, match="at least 4"):
        fit(method, slide_of(hexagonal(1, 3), np.ones((3, 2))))
    one_place = np.repeat(hexagonal(1, 2), 4, axis=0)
    with pytest.raises(InputError, match="one line"):
        fit(method, slide_of(one_place, np.ones((8, 2))))
