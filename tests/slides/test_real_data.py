"""Every folder of the real data opens, or is refused with a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_stsr.errors import InputError
from napari_stsr.slides.checks import require_histology
from napari_stsr.slides.readers import bins_available, is_slide, open_slide
from napari_stsr.slides.slide import Slide

Find = Callable[[str], Path]


def sentences(slide: Slide, level: str) -> str:
    return " ".join(check.sentence for check in slide.checks if check.level == level)


@pytest.mark.parametrize(
    ("name", "kind", "shape", "lattice", "pitch", "um_per_px", "total"),
    [
        ("her2st_C2/spaceranger_like", "st", (187, 15706), "square", 200, 0.689, 1_926_633),
        ("her2st_C3/spaceranger_like", "st", (180, 15821), "square", 200, 0.686, 2_033_498),
        ("her2st_C2/original", "st", (187, 15706), "square", 200, 0.689, 1_926_633),
        ("her2st_C3/original", "st", (180, 15821), "square", 200, 0.686, 2_033_498),
        ("st_mob1/spaceranger_like", "st", (379, 1000), "square", 141.4, 4.385, 958_111),
        ("dlpfc_151673", "visium", (3639, 5000), "hex", 100, 0.726, 4_919_405),
        ("dlpfc_151674", "visium", (3673, 5000), "hex", 100, 0.726, 6_177_993),
        ("visium_cytassist_mouse_eye", "visium", (2898, 19465), "hex", 100, 4.678, 3_085_005),
        ("breast_visium_xenium_west", "visium", (346, 18085), "hex", 100, 5.906, 4_166_825),
    ],
)
def test_a_real_slide_opens_with_its_counts_lattice_and_scale(
    data: Find,
    name: str,
    kind: str,
    shape: tuple[int, int],
    lattice: str,
    pitch: float,
    um_per_px: float,
    total: int,
) -> None:
    slide = open_slide(data(name))
    assert (slide.kind, slide.counts.shape, slide.lattice.kind) == (kind, shape, lattice)
    assert slide.lattice.pitch_um == pytest.approx(pitch, rel=0.01)
    assert slide.scale.um_per_px == pytest.approx(um_per_px, rel=1e-3)
    assert slide.scale.source == "spot lattice"
    assert slide.counts.totals.sum() == total
    assert slide.counts.rows.dtype.kind == "u"
    assert not sentences(slide, "problem")
    assert slide.source.hashes


def test_both_forms_of_a_section_agree(data: Find) -> None:
    """The tables and the Space Ranger folder made from them give the same spots and counts."""
    old, new = (
        open_slide(data("her2st_C2/original")),
        open_slide(data("her2st_C2/spaceranger_like")),
    )
    order = [old.barcodes.tolist().index(name) for name in new.barcodes]
    np.testing.assert_array_equal(old.counts.totals[order], new.counts.totals)
    # The folder's positions were rounded to whole pixels.
    assert np.abs(old.coordinates[order] - new.coordinates).max() < 1.0
    gene = new.genes.column("ERBB2")
    np.testing.assert_array_equal(
        old.counts.column(old.genes.column("ERBB2"))[order], new.counts.column(gene)
    )


def test_the_picture_beside_the_tables_serves_histology(data: Find) -> None:
    slide = open_slide(data("her2st_C2/original"))
    image = require_histology(slide)
    assert image.full_resolution
    assert image.shape == (9911, 9274)
    assert {"label"} <= set(slide.annotations.columns)
    assert slide.annotations["label"].notna().mean() > 0.9
    # Tissue absorbs light: the spots are darker than the glass in the corner of the picture.
    spot = np.mean([image.read((x - 50, y - 50, x + 50, y + 50), 10) for x, y in slide.coordinates])
    assert spot < image.read((0, 0, 200, 200), 10).mean() - 10


def test_a_full_resolution_image_is_taken_when_given(data: Find) -> None:
    picture = data("her2st_C2/original/5714_HE_BT_C2.jpg")
    slide = open_slide(data("her2st_C2/spaceranger_like"), image=picture)
    assert require_histology(slide).um_per_px == slide.scale.um_per_px


def test_the_hires_picture_given_as_full_resolution_is_refused(data: Find) -> None:
    folder = data("her2st_C2/spaceranger_like")
    with pytest.raises(InputError, match="not the full-resolution one"):
        open_slide(folder, image=folder / "spatial" / "tissue_hires_image.png")
    with pytest.raises(InputError, match="lie outside"):
        open_slide(data("her2st_C2/original"), image=folder / "spatial" / "tissue_hires_image.png")


def test_a_cytassist_picture_is_refused_for_histology(data: Find) -> None:
    slide = open_slide(data("visium_cytassist_mouse_eye"))
    assert "CytAssist" in sentences(slide, "notice")
    assert "11 gene symbols occur more than once" in sentences(slide, "notice")
    with pytest.raises(InputError, match="µm/px"):
        require_histology(slide)


def test_a_mirrored_slide_keeps_its_hand(data: Find) -> None:
    """The CytAssist slide is mirrored: its lattice must still fit within 0.05 pitches."""
    slide = open_slide(data("visium_cytassist_mouse_eye"))
    assert slide.lattice.residual < 0.01
    step = slide.lattice.basis
    back = slide.lattice.position(slide.lattice.sites)
    assert np.abs(back - slide.coordinates).max() < 5
    assert abs(np.linalg.det(step)) == pytest.approx(100 * 87, rel=0.02)


def test_an_uneven_picture_is_noticed(data: Find) -> None:
    slide = open_slide(data("st_mob1/spaceranger_like"))
    assert "longer along one axis" in sentences(slide, "notice")
    assert "45°" in str(slide.lattice)


def test_cells_in_um_open_as_points_without_a_lattice(data: Find) -> None:
    slide = open_slide(data("merfish_mouse_poa"))
    assert slide.scale.source == "coordinates in µm"
    assert slide.lattice.kind == "none"
    assert "normalised data" in sentences(slide, "problem")
    assert {"celltype", "neurontype"} <= set(slide.annotations.columns)
    assert len(slide.annotations) == len(slide) == 6509


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("her2st_C2", "holds 2 slides: 'original', 'spaceranger_like'"),
        ("st_mob1", "holds 2 slides"),
        ("format_fixtures", "holds 6 slides"),
        ("xenium_breast_patch_a", "holds no count matrix"),
        ("xenium_breast_patch_a/pikachu.csv.gz", "no slide"),
        ("her2st_C2/PROVENANCE.md", "no slide"),
    ],
)
def test_what_is_no_slide_is_refused_with_a_reason(data: Find, name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        open_slide(data(name))
    assert not is_slide(data(name))


@pytest.mark.parametrize(
    ("name", "shape", "lattice", "problem"),
    [
        ("scanpy_visium_1.0.0", (100, 100), "hex", ""),
        ("seurat_visium", (2695, 100), "hex", ""),
        ("visiumio_section1_outs", (50, 49), "hex", ""),
        ("sfe_sample01_outs", (12, 5), "hex", "outside the image"),
        ("visiumio_hd", (10, 10), "square", "no count at all"),
        ("seurat_visium_hd_FAKE", (2695, 100), "square", "outside the image"),
    ],
)
def test_every_format_fixture_opens(
    data: Find, name: str, shape: tuple[int, int], lattice: str, problem: str
) -> None:
    folder = data(f"format_fixtures/{name}")
    assert is_slide(folder)
    slide = open_slide(folder)
    assert slide.counts.shape == shape
    assert slide.lattice.kind == lattice
    assert problem in sentences(slide, "problem")
    if not problem:
        assert not sentences(slide, "problem")


def test_visium_hd_takes_its_scale_and_bins_from_the_folder(data: Find) -> None:
    folder = data("format_fixtures/visiumio_hd")
    assert [size for size, _ in bins_available(folder)] == [2.0]
    for place in (folder, folder / "binned_outputs", folder / "binned_outputs" / "square_002um"):
        slide = open_slide(place)
        assert (slide.kind, slide.diameter_um) == ("visium-hd", 2.0)
        assert slide.scale.source == "microns_per_pixel"
    with pytest.raises(InputError, match="no bins of 8 µm"):
        open_slide(folder, bin_um=8)


def test_a_file_inside_opens_its_slide(data: Find) -> None:
    folder = data("dlpfc_151673")
    slide = open_slide(folder / "filtered_feature_bc_matrix.h5")
    assert len(slide) == 3639
    eye = data("visium_cytassist_mouse_eye/filtered_feature_bc_matrix")
    assert len(open_slide(eye)) == len(open_slide(eye / "matrix.mtx.gz")) == 2898
