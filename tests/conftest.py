"""Fixtures shared by all tests: the real data, and a cache that is thrown away."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DATA = Path(
    os.environ.get("NAPARI_STSR_DATA", Path(__file__).parents[1].parent / "shared" / "data")
)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep caches out of the user's home, and empty at the start."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_STSR_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """Path of a folder or file of the real data, by name: ``data("her2st_C2/original")``.

    Where it is absent the test is skipped, or fails under ``NAPARI_STSR_REQUIRE_DATA=1``.
    """

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            reason = f"real data {name!r} is not in {str(DATA)!r} (set NAPARI_STSR_DATA)"
            if os.environ.get("NAPARI_STSR_REQUIRE_DATA") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find
