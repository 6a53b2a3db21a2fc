"""A slide and a method small enough for every test of the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from napari_stsr.slides import Slide
from napari_stsr.slides.simulate import simulate_slide
from tests.session.fake import FakeMethod, fake_method


@pytest.fixture
def method() -> Iterator[type[FakeMethod]]:
    with fake_method() as kind:
        yield kind


@pytest.fixture(scope="session")
def slide() -> Slide:
    return simulate_slide(lattice="hex", shape=(12, 10), genes=20, seed=1)
