"""Findings and sizes of pixels, by themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.slides import Check, Counts, Genes
from napari_stsr.slides import checks as look
from napari_stsr.slides.image import pyramid_from_array
from napari_stsr.slides.scale import choose_scale, lattice_scale


def levels(found: list[Check]) -> list[str]:
    return [check.level for check in found]


def test_the_worst_comes_first() -> None:
    mixed = [Check("good", "a"), Check("problem", "b"), Check("notice", "c"), Check("problem", "d")]
    assert [check.sentence for check in look.worst_first(mixed)] == ["b", "d", "c", "a"]


@pytest.mark.parametrize(
    ("values", "level", "words"),
    [
        ([[1, 2], [3, 0]], "good", "whole numbers"),
        ([[0.5, 2], [3, 0]], "problem", "normalised data"),
        ([[-1, 2], [3, 0]], "problem", "negative"),
        ([[0, 0], [3, 0]], "notice", "1 of 2 locations have no count"),
        ([[0, 0], [0, 0]], "problem", "no count at all"),
    ],
)
def test_counts_are_judged(values: list[list[float]], level: str, words: str) -> None:
    dense = np.array(values)
    dtype = dense.dtype if dense.dtype.kind == "f" else np.int32
    found = look.check_counts(Counts(sparse.csr_matrix(dense.astype(dtype))))
    assert levels(found)[0] == level
    assert words in found[0].sentence


def test_repeated_symbols_are_named() -> None:
    genes = Genes(np.array(["a", "b", "c"]), np.array(["X", "X", ""]))
    assert "X" in look.check_genes(genes)[0].sentence


def test_small_sections_are_to_be_validated_with_folds() -> None:
    assert "5 folds" in look.check_size(187, "spot")[0].remedy
    assert look.check_size(3000, "spot") == []


def test_spots_outside_a_picture_are_refused_or_counted() -> None:
    image = pyramid_from_array(np.random.default_rng(0).integers(0, 255, (100, 200, 3)), 0.5)
    px = np.array([[10.0, 10.0], [199.4, 99.4], [150.0, 50.0]])
    assert levels(look.check_image(image, px, 0.5, given=True)) == ["good"]
    px[0] = [210, 10]
    found = look.check_image(image, px, 0.5, given=True)
    assert found[0].level == "problem"
    assert "1 of 3" in found[0].sentence
    px[1] = [10, 210]
    with pytest.raises(InputError, match="2 of 3 locations lie outside"):
        look.check_image(image, px, 0.5, given=True)
    assert "2 of 3" in look.check_image(image, px, 0.5, given=False)[0].sentence


def test_memory_is_asked_for_before_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "_physical_memory", lambda: 1_000_000_000)
    assert look.check_memory(1000, 1_000_000) == []
    assert levels(look.check_memory(1000, 100_000_000)) == ["notice"]
    with pytest.raises(InputError, match=r"need about 6\.0 GB; this computer has 1\.0 GB"):
        look.check_memory(1000, 1_000_000_000)
    monkeypatch.setattr(look, "_physical_memory", lambda: None)
    assert look.check_memory(1000, 10**12) == []


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 6), st.floats(0, 360), st.booleans())
def test_the_array_tells_the_size_of_a_pixel(um: float, degrees: float, mirrored: bool) -> None:
    row, half = (a.ravel() for a in np.mgrid[:30, :20])
    array = np.column_stack([2 * half + row % 2, row])
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    px = array * [50, 87] / um @ np.diag([1 - 2 * mirrored, 1]) @ turn + 1000
    px[3] = np.nan
    found = lattice_scale(array, px)
    assert found is not None
    assert found == (pytest.approx(um), pytest.approx(1.0), "hex")


def test_the_large_array_is_a_little_denser() -> None:
    row, half = (a.ravel() for a in np.mgrid[:128, :112])
    array = np.column_stack([2 * half + row % 2, row])
    found = lattice_scale(array, array * [50, 86.5] / 0.25)
    assert found is not None
    assert found[0] == pytest.approx(0.25)


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_places_tell_no_size(count: int) -> None:
    assert lattice_scale(np.zeros((count, 2), np.int64), np.zeros((count, 2))) is None
    line = np.column_stack([np.arange(9), np.zeros(9, np.int64)])
    assert lattice_scale(line, line * 100.0) is None


def test_sources_of_the_size_are_ranked() -> None:
    scale, found = choose_scale({"fiducial diameter": 0.5, "microns_per_pixel": 0.27})
    assert (scale.um_per_px, scale.source) == (0.27, "microns_per_pixel")
    assert "fiducial diameter 0.5 (+85 %)" in found[0].sentence
    scale, found = choose_scale({"fiducial diameter": 0.5, "spot lattice": 0.505})
    assert scale.source == "spot lattice"
    assert levels(found) == ["good"]
    with pytest.raises(InputError, match="Nothing says how large a pixel is"):
        choose_scale({"user": None})
