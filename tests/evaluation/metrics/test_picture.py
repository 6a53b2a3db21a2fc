"""SSIM on rasters of the targets' lattice."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity as ssim

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics import raster_place, structural_similarity


def grid(width: int = 14, height: int = 11) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return 16.0 * np.column_stack([x.ravel(), y.ravel()])


def hexagons(rows: int = 12, columns: int = 10) -> np.ndarray:
    r, c = (axis.ravel() for axis in np.indices((rows, columns)))
    return 100.0 * np.column_stack([c + 0.5 * (r % 2), r * np.sqrt(0.75)])


def test_on_a_full_grid_it_is_scikit_images():
    rng = np.random.default_rng(0)
    truth, predicted = rng.random((2, 154, 3))
    place = raster_place(grid())
    found = structural_similarity(truth, predicted, place).values
    for gene in range(3):
        low, high = truth[:, gene].min(), truth[:, gene].max()
        pictures = [np.empty(place.max(axis=0) + 1) for _ in range(2)]
        for picture, values in zip(pictures, (truth, predicted)):
            picture[tuple(place.T)] = values[:, gene]
        _, local = ssim(*pictures, data_range=high - low, win_size=7, full=True)
        assert found[gene] == pytest.approx(local.mean(), abs=1e-3)


@pytest.mark.parametrize("where", [grid(), hexagons()])
def test_a_perfect_map_scores_one_and_a_shuffled_one_little(where):
    truth = np.sin(where / np.ptp(where, axis=0) * 5)
    place = raster_place(where)
    np.testing.assert_allclose(structural_similarity(truth, truth, place).values, 1, atol=1e-5)
    shuffled = np.random.default_rng(0).permutation(truth)
    assert structural_similarity(truth, shuffled, place).median < 0.3


def test_targets_that_make_no_picture_have_no_place():
    scattered = np.random.default_rng(0).uniform(0, 1000, (200, 2))
    assert raster_place(scattered) is None
    assert raster_place(grid(5, 30)) is None
    thinned = grid(40, 40)[np.random.default_rng(0).random(1600) < 0.2]
    assert raster_place(thinned) is None


def test_hexagons_keep_their_neighbours():
    where = hexagons()
    place = raster_place(where)
    assert len(np.unique(place, axis=0)) == len(where)
    # Neighbours are one row and one column apart, or two columns.
    away = np.linalg.norm(where[:, None] - where, axis=-1)
    for i, j in np.argwhere((away > 0) & (away < 110)):
        assert sorted(np.abs(place[i] - place[j]).tolist()) in ([0, 2], [1, 1])


def test_constant_genes_and_small_rasters():
    place = raster_place(grid())
    truth = np.random.default_rng(0).random((154, 2))
    truth[:, 1] = 3
    found = structural_similarity(truth, truth, place)
    assert np.isnan(found.values).tolist() == [False, True]
    with pytest.raises(InputError, match="3 × 3 pixels is smaller"):
        structural_similarity(truth[:9], truth[:9], np.argwhere(np.ones((3, 3))))
