"""A real viewer with all panels, a small slide, and settings that are thrown away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from qtpy.QtCore import QSettings
from qtpy.QtTest import QTest

from napari_stsr.slides import Slide
from napari_stsr.slides.simulate import simulate_slide
from napari_stsr.viewer.desk import Desk, desk_of
from napari_stsr.viewer.launch import build_layout
from napari_stsr.viewer.panels.enhance import EnhancePanel
from napari_stsr.viewer.panels.explore import ExplorePanel
from napari_stsr.viewer.panels.slide import SlidePanel
from napari_stsr.viewer.panels.validate import ValidatePanel
from tests.session.fake import FakeMethod, fake_method


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch) -> None:
    """Keep the user's choices out of the tests, and the tests' out of theirs."""
    monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "1")
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path))


@pytest.fixture
def method() -> Iterator[type[FakeMethod]]:
    with fake_method() as kind:
        yield kind


@pytest.fixture(scope="session")
def slide() -> Slide:
    return simulate_slide(lattice="square", shape=(10, 12), genes=30, seed=1)


@dataclass
class Window:
    viewer: Any
    slide: SlidePanel
    enhance: EnhancePanel
    explore: ExplorePanel
    validate: ValidatePanel
    wait: Callable[..., None]

    @property
    def desk(self) -> Desk:
        return self.slide.desk

    def layer_names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]

    def show(self) -> None:
        """Put the window on the screen, laid out."""
        main = self.slide.window()
        main.show()
        self.wait(main.isVisible)
        for _ in range(20):
            QTest.qWait(10)

    def run(self, **values: Any) -> Any:
        """Press Run and wait for the end."""
        from napari_stsr.viewer.panels.parameter_form import set_value

        for name, value in values.items():
            set_value(self.enhance.card.params.field(name), value)
        before = self.enhance.runs.list.count()
        self.enhance.runs.run_button.click()
        self.wait(lambda: self.enhance.runs.list.count() > before)
        job = self.enhance.runs.current
        assert job is not None
        self.wait(lambda: job.ended)
        return job


@pytest.fixture
def window(make_napari_viewer_proxy, qtbot, method) -> Iterator[Window]:
    """All panels docked in a viewer that refuses to be touched from other threads."""
    viewer = make_napari_viewer_proxy(strict_qt=True)
    panels = build_layout(viewer)
    for panel in panels.values():
        qtbot.addWidget(panel)

    def wait(condition: Callable[[], Any], timeout: int = 20_000) -> None:
        qtbot.waitUntil(lambda: bool(condition()), timeout=timeout)

    yield Window(viewer, *(panels[n] for n in ("Slide", "Enhance", "Explore", "Validate")), wait)
    desk_of(viewer).close()


@pytest.fixture
def opened(window, slide) -> Window:
    """The window with the small slide on screen."""
    window.desk.adopt(slide)
    window.wait(lambda: "measured" in window.desk.scene.frames)
    return window
