"""Writing so that a file is complete or absent, where it can, and the folder for caches."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from napari_stsr.errors import RunError


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a sibling path to write to; rename it to `path` at the end, remove it on failure.

    Works for files and for folders (a zarr store). An existing target is replaced only once the
    new one is complete.

    Raises
    ------
    RunError
        When the place cannot be written or the disk is full.
    """
    path = Path(path)
    aside = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        _replace(aside, path)
    except OSError as error:
        _remove(aside)
        raise RunError(
            f"Could not write {str(path)!r}: {error.strerror or error}.",
            "Nothing was left behind; choose another place or free some space.",
        ) from error
    except BaseException:
        _remove(aside)
        raise


def check_writable(folder: Path) -> None:
    """Make a folder, and refuse before the work what could not be written after it.

    Raises
    ------
    RunError
        When it cannot be made or written into.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RunError(
            f"Cannot write into {str(folder)!r}: {error.strerror or error}.",
            "Choose another folder.",
        ) from error


def _replace(aside: Path, path: Path) -> None:
    if not path.is_dir():
        os.replace(aside, path)
        return
    old = path.with_name(f".{path.name}.old-{uuid.uuid4().hex[:8]}")
    os.replace(path, old)
    os.replace(aside, path)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    # Not there, or its folder is no folder: nothing is left behind either way.
    with contextlib.suppress(OSError):
        path.unlink()


def cache_folder() -> Path:
    """Folder for caches: `NAPARI_STSR_CACHE`, or the platform's own place."""
    chosen = os.environ.get("NAPARI_STSR_CACHE")
    if chosen:
        return Path(chosen)
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "napari-stsr"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home)) / "napari-stsr" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME", home / ".cache")) / "napari-stsr"
