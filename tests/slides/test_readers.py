"""One section in every layout gives the same slide; broken layouts are refused in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from napari_stsr.errors import InputError
from napari_stsr.slides.checks import require_histology
from napari_stsr.slides.readers import bins_available, is_slide, open_slide
from tests.slides.folders import UM_PER_PX, Outs, assert_holds, sentences, write_picture


@pytest.mark.parametrize("matrix", ["h5", "mtx", "mtx.gz"])
@pytest.mark.parametrize(
    "positions",
    ["tissue_positions_list.csv", "tissue_positions.csv", "tissue_positions.txt",
     "tissue_positions.parquet"],
)  # fmt: skip
def test_every_layout_gives_the_same_slide(tmp_path: Path, matrix: str, positions: str) -> None:
    outs = Outs()
    assert_holds(open_slide(outs.write(tmp_path / "outs", matrix, positions)), outs)


@pytest.mark.parametrize("prefix", ["V1_Brain_", "GSM123_"])
def test_prefixed_names_and_the_folder_around_outs(tmp_path: Path, prefix: str) -> None:
    outs = Outs()
    outs.write(tmp_path / "brain" / "outs", prefix=prefix)
    slide = open_slide(tmp_path / "brain")
    assert_holds(slide, outs)
    assert slide.name == "brain"


def test_the_order_of_the_positions_does_not_matter(tmp_path: Path) -> None:
    outs = Outs()
    outs.table = outs.table.sample(frac=1, random_state=1)
    assert_holds(open_slide(outs.write(tmp_path / "outs")), outs)


def test_filtered_comes_before_raw(tmp_path: Path) -> None:
    outs = Outs()
    outs.write(tmp_path / "outs", kind="raw")
    assert_holds(open_slide(tmp_path / "outs"), outs)
    outs.counts = outs.counts[:100]
    outs.write_h5(tmp_path / "outs" / "filtered_feature_bc_matrix.h5")
    assert len(open_slide(tmp_path / "outs")) == 100


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": False},
        {"compression": "lzf"},
        {"compression": None, "shuffle": False, "chunks": None},
        {"chunks": (7,)},
    ],
)
def test_every_h5_compression_is_read(tmp_path: Path, options: dict[str, object]) -> None:
    outs = Outs()
    folder = outs.write(tmp_path / "outs")
    outs.write_h5(folder / "filtered_feature_bc_matrix.h5", **options)
    assert_holds(open_slide(folder), outs)


@pytest.mark.parametrize(
    ("largest", "dtype"), [(255, "uint8"), (256, "uint16"), (65_536, "int32"), (0.5, "float32")]
)
def test_counts_take_the_smallest_type_that_holds_them(
    tmp_path: Path, largest: float, dtype: str
) -> None:
    outs = Outs()
    outs.counts = np.minimum(outs.counts, 200).astype(np.float64)
    outs.counts[50, 3] = largest
    slide = open_slide(outs.write(tmp_path / "outs"))
    assert slide.counts.rows.dtype == dtype
    np.testing.assert_array_equal(slide.counts.rows.toarray(), outs.counts)


def test_mismatched_barcodes_are_refused_or_dropped(tmp_path: Path) -> None:
    outs = Outs()
    whole = outs.table.copy()
    outs.table = whole.assign(barcode=whole["barcode"].str.replace("SPOT", "BIN"))
    with pytest.raises(InputError, match=r"None of the 168 barcodes .* has a position"):
        open_slide(outs.write(tmp_path / "none"))
    outs.table = whole.iloc[20:]
    slide = open_slide(outs.write(tmp_path / "some"))
    assert "20 of 168 barcodes have no position" in sentences(slide, "problem")
    np.testing.assert_array_equal(slide.counts.rows.toarray(), outs.counts[20:])
    assert slide.barcodes.tolist() == outs.barcodes[20:]


def test_locations_without_coordinates_are_dropped_and_counted(tmp_path: Path) -> None:
    outs = Outs()
    outs.table.loc[[3, 77, 100], "pxl_row_in_fullres"] = np.nan
    slide = open_slide(outs.write(tmp_path / "outs", positions="tissue_positions.parquet"))
    assert "3 of 168 spots have no coordinates" in sentences(slide, "notice")
    assert len(slide) == 165
    kept = np.delete(np.arange(168), [3, 77, 100])
    np.testing.assert_array_equal(slide.counts.rows.toarray(), outs.counts[kept])
    outs.table["pxl_row_in_fullres"] = np.nan
    with pytest.raises(InputError, match="all are NaN"):
        open_slide(outs.write(tmp_path / "all"))


def test_one_spot_opens(tmp_path: Path) -> None:
    outs = Outs()
    outs.counts = outs.counts[:1]
    slide = open_slide(outs.write(tmp_path / "outs"))
    assert len(slide) == 1
    assert slide.lattice.kind == "none"
    assert len(slide.locations()) == 1


def test_empty_spots_and_normalised_data_are_told(tmp_path: Path) -> None:
    outs = Outs()
    outs.counts[5:9] = 0
    slide = open_slide(outs.write(tmp_path / "empty"))
    assert "4 of 168 locations have no count" in sentences(slide, "notice")
    outs.counts = np.log1p(outs.counts.astype(np.float64))
    slide = open_slide(outs.write(tmp_path / "log"))
    assert "normalised data" in sentences(slide, "problem")


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    folder = Outs().write(tmp_path / "outs")
    shutil.move(folder / "spatial", tmp_path / "away")
    with pytest.raises(InputError, match="no tissue_positions file"):
        open_slide(folder)
    with pytest.raises(InputError, match="There is no file or folder"):
        open_slide(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="the folder is empty"):
        open_slide(tmp_path / "empty")
    assert not is_slide(tmp_path / "empty")


def test_a_scale_factor_whose_picture_is_missing_is_passed_over(tmp_path: Path) -> None:
    outs = Outs()
    folder = outs.write(tmp_path / "outs")
    (folder / "spatial" / "tissue_hires_image.png").unlink()
    slide = open_slide(folder)
    assert slide.image is not None
    assert slide.image.um_per_px == pytest.approx(UM_PER_PX / 0.03)


def test_an_image_of_another_size_is_told(tmp_path: Path) -> None:
    outs = Outs(rows=5, columns=4)
    folder = outs.write(tmp_path / "outs")
    height, width = outs.full_shape
    write_picture(tmp_path / "right.png", (height, width))
    slide = open_slide(folder, image=tmp_path / "right.png")
    assert not sentences(slide, "problem")
    assert slide.image is not None
    assert slide.image.um_per_px == slide.scale.um_per_px
    write_picture(tmp_path / "wider.png", (height, width + 200))
    slide = open_slide(folder, image=tmp_path / "wider.png")
    assert "but Space Ranger saw" in sentences(slide, "problem")
    with pytest.raises(InputError, match="There is no image"):
        open_slide(folder, image=tmp_path / "none.png")
    with pytest.raises(InputError, match="holds no picture"):
        open_slide(folder, image=folder / "spatial" / "scalefactors_json.json")


def test_sources_of_the_scale_are_ranked_and_compared(tmp_path: Path) -> None:
    outs = Outs()
    outs.scales["fiducial_diameter_fullres"] *= 1.1
    slide = open_slide(outs.write(tmp_path / "a"))
    assert slide.scale.source == "spot lattice"
    assert "fiducial diameter" in sentences(slide, "notice")
    slide = open_slide(tmp_path / "a", um_per_px=0.4)
    assert (slide.scale.um_per_px, slide.scale.source) == (0.4, "user")
    assert slide.lattice.pitch_um == pytest.approx(0.8 * 100, rel=0.01)
    with pytest.raises(InputError, match="cannot be"):
        open_slide(tmp_path / "a", um_per_px=-1)


def hd_folder(folder: Path, sizes: tuple[int, ...]) -> None:
    for size in sizes:
        outs = Outs(rows=40, columns=30)
        row, column = (a.ravel() for a in np.mgrid[:40, :30])
        outs.table = outs.table.assign(
            array_row=row,
            array_col=column,
            pxl_row_in_fullres=100 + row * size / 0.25 + column * 0.01,
            pxl_col_in_fullres=100 + column * size / 0.25,
        )
        outs.scales |= {"microns_per_pixel": 0.25, "bin_size_um": float(size)}
        outs.write(folder / f"square_{size:03d}um", positions="tissue_positions.parquet")


def test_bins_of_any_size_are_found_and_chosen(tmp_path: Path) -> None:
    hd_folder(tmp_path / "outs" / "binned_outputs", (2, 16, 24))
    assert [size for size, _ in bins_available(tmp_path)] == [2.0, 16.0, 24.0]
    slide = open_slide(tmp_path)
    assert (slide.kind, slide.diameter_um) == ("visium-hd", 2.0)
    assert "Bins of 2 µm of 2, 16, 24 µm" in sentences(slide, "notice")
    slide = open_slide(tmp_path / "outs", bin_um=16)
    assert slide.lattice.kind == "square"
    assert slide.lattice.pitch_um == pytest.approx(16, rel=1e-3)
    assert slide.location_word == "bin"
    with pytest.raises(InputError, match=r"There are 2, 16, 24 µm"):
        open_slide(tmp_path, bin_um=8)
    single = tmp_path / "outs" / "binned_outputs" / "square_024um"
    assert open_slide(single, bin_um=24).diameter_um == 24
    assert [size for size, _ in bins_available(single)] == [24.0]
    with pytest.raises(InputError, match=r"There are 24 µm"):
        open_slide(single, bin_um=16)


def test_the_bins_tell_the_scale_where_the_file_does_not(tmp_path: Path) -> None:
    hd_folder(tmp_path, (16,))
    scales = tmp_path / "square_016um" / "spatial" / "scalefactors_json.json"
    scales.write_text(json.dumps({"tissue_hires_scalef": 0.1}))
    slide = open_slide(tmp_path)
    assert slide.kind == "visium-hd"
    assert slide.scale.source == "spot lattice"
    assert slide.scale.um_per_px == pytest.approx(0.25, rel=1e-3)


def test_bins_are_refused_where_there_are_spots(tmp_path: Path) -> None:
    folder = Outs().write(tmp_path / "outs")
    assert bins_available(folder) == []
    with pytest.raises(InputError, match="Only Visium HD has bins"):
        open_slide(folder, bin_um=8)


def test_two_slides_in_one_folder_are_told_apart_by_their_matrix(tmp_path: Path) -> None:
    first, second = Outs(), Outs(seed=5)
    first.write(tmp_path / "a", prefix="GSM1_")
    second.write(tmp_path / "b", prefix="GSM2_")
    together = tmp_path / "both"
    together.mkdir()
    for path in [*(tmp_path / "a").rglob("*"), *(tmp_path / "b").rglob("*")]:
        if path.is_file():
            shutil.copy(path, together)
    with pytest.raises(InputError, match="holds several slides"):
        open_slide(together)
    for name, outs in (("GSM1_", first), ("GSM2_", second)):
        slide = open_slide(together / f"{name}filtered_feature_bc_matrix.h5")
        assert_holds(slide, outs)
        assert slide.image is not None
        assert Path(slide.image.path).name.startswith(name)


def test_wrong_array_places_are_told_and_do_not_change_the_platform(tmp_path: Path) -> None:
    outs = Outs()
    outs.table.loc[[4, 50], "array_col"] += 1
    slide = open_slide(outs.write(tmp_path / "outs"))
    assert slide.kind == "visium"
    assert slide.scale.um_per_px == pytest.approx(UM_PER_PX, rel=0.01)
    assert "2 of 168 array places break" in sentences(slide, "problem")
    assert slide.lattice.kind == "hex"


def test_a_cytassist_image_alone_is_shown_and_named(tmp_path: Path) -> None:
    outs = Outs()
    for name in ("pxl_row_in_fullres", "pxl_col_in_fullres"):
        outs.table[name] /= 10
    outs.scales = {"fiducial_diameter_fullres": 21.0, "tissue_hires_scalef": 2 / 3}
    folder = outs.write(tmp_path / "outs")
    for name in ("hires", "lowres"):
        (folder / "spatial" / f"tissue_{name}_image.png").unlink()
    write_picture(folder / "spatial" / "cytassist.png", (400, 420))
    (folder / "spatial" / "cytassist.png").rename(folder / "spatial" / "cytassist_image.tiff")
    slide = open_slide(folder)
    assert "cytassist_image.tiff is shown" in sentences(slide, "notice")
    assert "CytAssist" in sentences(slide, "notice")
    with pytest.raises(InputError, match="learns from histology"):
        require_histology(slide)


def test_an_unreadable_neighbour_does_not_hide_the_slide(tmp_path: Path) -> None:
    outs = Outs()
    outs.write(tmp_path / "good")
    shutil.rmtree(outs.write(tmp_path / "bad") / "spatial")
    assert_holds(open_slide(tmp_path), outs)
    shutil.rmtree(tmp_path / "good")
    with pytest.raises(InputError, match="no tissue_positions file"):
        open_slide(tmp_path)


def test_tables_with_fractions_join_after_rounding(tmp_path: Path) -> None:
    row, column = (a.ravel() for a in np.mgrid[1:9, 1:7])
    spots = pd.DataFrame(
        {
            "x": column + 0.03,
            "y": row - 0.04,
            "pixel_x": 50.0 + column * 400,
            "pixel_y": 80.0 + row * 400,
            "selected": (row < 5).astype(int),
        }
    )
    spots.to_csv(tmp_path / "S_selection.tsv", sep="\t", index=False)
    counts = pd.DataFrame(
        np.arange(48 * 3).reshape(48, 3),
        index=[f"{c}x{r}" for r, c in zip(row, column)],
        columns=["A", "B", "C"],
    )
    counts.to_csv(tmp_path / "S.tsv.gz", sep="\t")
    slide = open_slide(tmp_path)
    np.testing.assert_array_equal(slide.counts.rows.toarray(), counts.to_numpy())
    assert slide.scale.um_per_px == pytest.approx(0.5)
    assert slide.lattice.pitch_um == pytest.approx(200)
    assert slide.in_tissue.sum() == 24
    assert slide.image is None


def test_features_that_are_no_genes_are_left_out(tmp_path: Path) -> None:
    outs = Outs()
    folder = outs.write(tmp_path / "outs")
    with h5py.File(folder / "filtered_feature_bc_matrix.h5", "a") as file:
        types = file["matrix/features/feature_type"][:].astype("S32")
        types[[2, 5]] = b"Antibody Capture"
        del file["matrix/features/feature_type"]
        file["matrix/features/feature_type"] = types
        ids = file["matrix/features/id"][:]
        ids[1] = ids[0]
        file["matrix/features/id"][...] = ids
    slide = open_slide(folder)
    np.testing.assert_array_equal(
        slide.counts.rows.toarray(), np.delete(outs.counts, [2, 5], axis=1)
    )
    assert "2 Antibody Capture" in sentences(slide, "notice")
    assert slide.genes.ids[:2].tolist() == ["ENSG00000", "ENSG00000-1"]


def test_without_any_scale_the_user_is_asked(tmp_path: Path) -> None:
    outs = Outs()
    outs.counts, outs.table, outs.scales = outs.counts[:2], outs.table.iloc[:2], {}
    folder = outs.write(tmp_path / "outs")
    with pytest.raises(InputError, match="Give the size of a full-resolution pixel"):
        open_slide(folder)
    assert open_slide(folder, um_per_px=0.3).scale.source == "user"
    assert json.loads((folder / "spatial" / "scalefactors_json.json").read_text()) == {}
