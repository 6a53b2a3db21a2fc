"""A result is shown on the slide it was made from, and on no other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_stsr import enhance, export
from napari_stsr.errors import InputError
from napari_stsr.session.belonging import check_result, read_result
from napari_stsr.slides import Slide, points
from napari_stsr.slides.simulate import simulate_slide


@pytest.fixture(scope="module")
def slide() -> Slide:
    return simulate_slide(shape=(8, 9), genes=20, seed=1, image=False)


@pytest.mark.parametrize(
    "places", [{}, {"grid_um": 100}, {"at": points(np.array([[300.0, 300.0]]), 50.0)}]
)
def test_a_result_comes_back_to_its_slide(slide: Slide, places: dict, tmp_path: Path) -> None:
    made = enhance(slide, "kernel", genes=["SIM003"], **places)
    export(made, tmp_path / "result.h5ad")
    again = read_result(tmp_path / "result.h5ad", slide)
    np.testing.assert_allclose(again.expression(), made.expression(), rtol=1e-6)


def test_equal_barcodes_at_other_places_are_another_slide(slide: Slide) -> None:
    made = enhance(slide, "kernel", genes=["SIM003"])
    order = np.random.default_rng(0).permutation(len(slide))
    other = replace(slide, coordinates=slide.coordinates[order], name="other")
    with pytest.raises(InputError, match=r"not a result of other.*subspots do not lie in their"):
        check_result(made, other)


def test_spots_the_slide_does_not_have_are_told(slide: Slide) -> None:
    made = enhance(slide, "kernel", genes=["SIM003"])
    with pytest.raises(InputError, match="9 of its 648 subspots"):
        check_result(made, slide.take(np.arange(1, len(slide))))


def test_a_grid_somewhere_else_is_told(slide: Slide) -> None:
    made = enhance(slide, "kernel", genes=["SIM003"], grid_um=100)
    other = replace(slide, coordinates=slide.coordinates + 1e5, name="other")
    with pytest.raises(InputError, match="none of its places lies near a spot"):
        check_result(made, other)


def test_other_genes_and_another_scale_are_told(slide: Slide) -> None:
    made = enhance(slide, "kernel", genes=["SIM003"])
    with pytest.raises(InputError, match="no gene in common"):
        check_result(made, slide.with_genes(np.array([4])))


def test_a_slide_opened_at_another_scale_is_told_how(slide: Slide) -> None:
    made = enhance(slide, "kernel", genes=["SIM003"])
    twice = 2 * slide.scale.um_per_px
    other = replace(
        slide,
        scale=replace(slide.scale, um_per_px=twice),
        coordinates=2 * slide.coordinates,
        lattice=replace(slide.lattice, basis=2 * slide.lattice.basis),
    )
    with pytest.raises(InputError) as told:
        check_result(made, other)
    assert f"--um-per-px {slide.scale.um_per_px:.4g}" in told.value.remedy
