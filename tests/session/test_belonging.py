"""A result is shown on the slide it was made from, and on no other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_stsr import denoise, enhance, export, impute
from napari_stsr.errors import InputError
from napari_stsr.session.belonging import check_result, read_result
from napari_stsr.slides import Slide, points
from napari_stsr.slides.simulate import simulate_slide
from napari_stsr.slides.slide import Source


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
    with pytest.raises(InputError, match=r"not a result of other.*places do not lie in their"):
        check_result(made, other)


def test_spots_the_slide_does_not_have_are_told(slide: Slide) -> None:
    made = enhance(slide, "kernel", genes=["SIM003"])
    with pytest.raises(InputError, match="9 of its 648 places"):
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


@pytest.mark.parametrize("task", ["denoise", "impute"])
def test_measured_places_of_another_slide_are_told(slide: Slide, task: str) -> None:
    made = {"denoise": denoise, "impute": impute}[task](slide, "kernel", genes=["SIM003"])
    check_result(made, slide)
    order = np.random.default_rng(0).permutation(len(slide))
    with pytest.raises(InputError, match="places do not lie in their"):
        check_result(made, replace(slide, coordinates=slide.coordinates[order]))


def test_the_files_decide_where_they_are_known(slide: Slide) -> None:
    """Slides lie at one place of the stage, and a place in a gap is far from all spots."""
    first, second = (
        replace(slide, source=Source("outs", {"matrix.h5": digest})) for digest in ("a", "b")
    )
    far = points(np.array([[1e5, 1e5]]), 50.0)
    made = enhance(first, "kernel", genes=["SIM003"], at=far)
    check_result(made, first)
    for result in (made, enhance(first, "kernel", genes=["SIM003"], grid_um=100)):
        with pytest.raises(InputError, match="other files"):
            check_result(result, second)


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
