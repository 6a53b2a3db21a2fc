"""A result file is complete or absent, whatever goes wrong."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from napari_stsr.errors import InputError, RunError
from napari_stsr.results import StoredExpression
from napari_stsr.results.writers import export, read_enhancement
from tests.results.made import enhancement

resource = pytest.importorskip("resource", reason="file size limits need a POSIX system")
NAMES = ["r.h5ad", "r.csv", "r.ome.tif"]


@contextlib.contextmanager
def full_disk(room: int):
    """Let no file grow beyond `room` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def large():
    one = enhancement(full=False)
    noise = np.random.default_rng(0).random((len(one), 5)).astype(np.float32)
    object.__setattr__(one, "expression_source", StoredExpression(noise))
    return one


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("room", [0, 3000])
def test_a_full_disk_leaves_nothing_behind(tmp_path, name, room):
    with full_disk(room), pytest.raises(RunError, match="Could not write"):
        export(large(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_leaves_the_file_that_was_there(tmp_path, name):
    export(large(), tmp_path / name)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with full_disk(3000), pytest.raises(RunError):
        export(large(), tmp_path / name)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.filterwarnings("ignore")
def test_a_full_disk_leaves_no_half_store(tmp_path):
    pytest.importorskip("spatialdata", exc_type=ImportError)
    with full_disk(700), pytest.raises(RunError, match="Could not write"):
        export(large(), tmp_path / "r.zarr")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_half_way_leaves_nothing_behind(tmp_path, name):
    class Broken:
        shape = (140, 5)

        def columns(self, genes):
            raise KeyboardInterrupt

    one = enhancement()
    object.__setattr__(one, "expression_source", Broken())
    with pytest.raises(KeyboardInterrupt):
        export(one, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_place_that_cannot_be_written_is_told(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    place = tmp_path / "file" / name
    with pytest.raises(RunError, match="Could not write"):
        export(enhancement(), place)


def test_a_folder_of_other_things_is_never_replaced(tmp_path):
    for name in ("r.h5ad", "r.zarr", "r.csv"):
        folder: Path = tmp_path / name
        folder.mkdir()
        (folder / "precious.txt").write_text("mine")
        with pytest.raises(InputError, match="is a folder"):
            export(enhancement(), folder)
        assert (folder / "precious.txt").read_text() == "mine"


def test_an_unknown_ending_lists_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"\.h5ad, \.zarr, \.csv"):
        export(enhancement(), tmp_path / "r.xlsx")
    export(enhancement(), tmp_path / "r.dat", format="h5ad")
    assert len(read_enhancement(tmp_path / "r.dat")) == 140
