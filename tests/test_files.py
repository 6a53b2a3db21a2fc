"""A folder that cannot be written is told before the work, not after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_stsr.cli.outputs import check_output
from napari_stsr.errors import RunError
from napari_stsr.files import check_writable


def test_a_new_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "below")
    assert list((tmp_path / "new" / "below").iterdir()) == []


def test_what_lies_below_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="Cannot write into"):
        check_writable(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "in the way"


def test_no_option_is_blamed_for_another(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError) as told:
        check_output(tmp_path / "file" / "model.stsr", ())
    assert "--output" not in str(told.value)
    assert "Choose another folder." in str(told.value)
