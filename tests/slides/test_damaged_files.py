"""Files that are cut off, damaged or not what they are named."""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import pytest

from napari_stsr.errors import InputError
from napari_stsr.slides.readers import open_slide
from tests.slides.folders import Outs, assert_holds


def test_plain_text_named_gz_is_read(tmp_path: Path) -> None:
    outs = Outs()
    folder = outs.write(tmp_path / "outs", matrix="mtx.gz")
    packed = folder / "filtered_feature_bc_matrix" / "features.tsv.gz"
    packed.write_bytes(gzip.decompress(packed.read_bytes()))
    assert_holds(open_slide(folder), outs)


@pytest.mark.parametrize("part", ["features.tsv.gz", "matrix.mtx.gz", "barcodes.tsv.gz"])
def test_a_damaged_part_is_refused(tmp_path: Path, part: str) -> None:
    folder = Outs().write(tmp_path / "outs", matrix="mtx.gz")
    path = folder / "filtered_feature_bc_matrix" / part
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="cannot be read"):
        open_slide(folder)


@pytest.mark.parametrize("left", [0.3, 0.6, 0.95])
def test_a_truncated_h5_is_refused(tmp_path: Path, left: float) -> None:
    folder = Outs().write(tmp_path / "outs")
    path = folder / "filtered_feature_bc_matrix.h5"
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    with pytest.raises(InputError, match=r"cannot be read|no slide"):
        open_slide(path)


def test_a_damaged_chunk_is_refused(tmp_path: Path) -> None:
    folder = Outs().write(tmp_path / "outs")
    path = folder / "filtered_feature_bc_matrix.h5"
    with h5py.File(path) as file:
        info = file["matrix/indices"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    content[info.byte_offset : info.byte_offset + info.size] = b"\xff" * info.size
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="damaged"):
        open_slide(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("spatial/tissue_positions.csv", "barcode,in_tissue\nA,1\n"),
        ("spatial/tissue_positions.csv", "A,1,x,y,z,w\n"),
        ("spatial/tissue_positions.csv", ""),
        ("spatial/scalefactors_json.json", "{"),
        ("spatial/scalefactors_json.json", "[1]"),
    ],
)
def test_broken_side_files_are_named(tmp_path: Path, name: str, content: str) -> None:
    folder = Outs().write(tmp_path / "outs")
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=Path(name).name):
        open_slide(folder)
