"""The instant preview: there without a run, named for what it is, never in the way."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_stsr.errors import Cancelled
from napari_stsr.slides import Region
from napari_stsr.slides.simulate import simulate_slide
from napari_stsr.viewer import preview
from napari_stsr.viewer.preview import Aim, Kernel


@pytest.fixture
def previewed(opened):
    """The window once the preview can be chosen, and has been."""
    button = opened.explore.kinds["kernel"]
    opened.wait(button.isEnabled)
    button.click()
    opened.wait(lambda: shown(opened) == ["kernel"])
    return opened


def shown(window) -> list[str]:
    scene = window.desk.scene
    layers = {kind: scene.layer(kind) for kind in ("measured", "kernel", "enhanced")}
    return [kind for kind, layer in layers.items() if layer is not None and layer.visible]


def test_a_slide_alone_has_a_preview_that_says_what_it_is(previewed):
    scene, explore = previewed.desk.scene, previewed.explore
    label = scene.view.label
    name = f"{label} · preview by factor kernel, 9 per spot"
    assert scene.layer("kernel").name == name
    assert name in previewed.viewer.canvas.overlays.text.text
    assert scene.layer("kernel").colorbar.visible
    assert explore.kinds["kernel"].isChecked()
    assert previewed.desk.workspace.results == []
    assert previewed.desk.result is None
    point = previewed.desk.slide.coordinates[40]
    said = scene.readout.sentence(point, scene.frames)
    assert f"{label} measured" in said
    assert "preview" in said


def test_the_preview_is_a_smooth_picture_of_the_gene(previewed):
    scene, slide = previewed.desk.scene, previewed.desk.slide
    frame, view = scene.frames["kernel"], scene.view
    counts = slide.counts.column(slide.genes.column(view.gene))
    parent = view.kernel.targets.parent
    whole = np.bincount(parent, frame.values, len(slide))
    assert np.corrcoef(whole, counts)[0, 1] > 0.3
    assert whole.sum() == pytest.approx(counts.sum(), rel=0.2)
    assert whole.std() < counts.std()


def test_arrow_keys_switch_the_preview_live_in_one_layer(previewed):
    scene, layer, seen = previewed.desk.scene, previewed.desk.scene.layer("kernel"), []
    for _ in range(3):
        QTest.keyClick(previewed.explore.finder.field, Qt.Key.Key_Down)
        label = scene.view.label
        previewed.wait(lambda label=label: layer.name.startswith(f"{label} · preview by"))
        seen.append(float(np.nansum(layer.data)))
    assert len(set(seen)) == 3
    assert scene.layer("kernel") is layer
    assert shown(previewed) == ["kernel"]


def test_it_follows_the_places_chosen_in_enhance(previewed):
    scene, enhance = previewed.desk.scene, previewed.enhance
    enhance.subspots.setCurrentIndex(enhance.subspots.count() - 1)
    enhance.step.setValue(60.0)
    previewed.wait(lambda: "factor kernel, 60 µm grid" in scene.layer("kernel").name)
    whole = len(scene.view.kernel)
    slide = previewed.desk.slide
    low, high = slide.coordinates.min(0), slide.coordinates.mean(0)
    previewed.desk.draw_region().add_rectangles([[low[1], low[0]], [high[1], high[0]]])
    previewed.wait(lambda: enhance.where.findText("ROI: ROI 1") >= 0)
    enhance.where.setCurrentText("ROI: ROI 1")
    previewed.wait(lambda: len(scene.view.kernel) < whole)
    places = scene.view.kernel.targets.coordinates
    assert previewed.desk.regions()[0].contains(places).all()


def test_it_stays_beside_a_result(previewed):
    previewed.run()
    previewed.wait(lambda: "enhanced" in previewed.desk.scene.frames)
    assert shown(previewed) == ["enhanced"]
    previewed.explore.kinds["kernel"].click()
    previewed.wait(lambda: shown(previewed) == ["kernel"])
    assert "Fake" not in previewed.desk.scene.layer("kernel").name
    previewed.explore.kinds["enhanced"].click()
    previewed.wait(lambda: shown(previewed) == ["enhanced"])


def test_one_scale_gives_measured_and_preview_the_same_shade_per_area(previewed):
    scene = previewed.desk.scene
    previewed.explore.contrast.shared.click()
    previewed.wait(lambda: scene.view.shared)

    def one_scale() -> bool:
        measured, kernel = scene.frames["measured"].limits, scene.frames["kernel"].limits
        return np.allclose(np.array(measured) / 9, kernel, rtol=1e-3)

    previewed.wait(one_scale)


def test_another_slide_cancels_the_preview_of_the_last(opened, monkeypatch):
    gate, ended = threading.Event(), []
    plain = Kernel._fit

    def held(self, targets):
        if self.slide is not another:
            assert gate.wait(20)
        try:
            return plain(self, targets)
        except Cancelled:
            ended.append(self.slide)
            raise

    another = simulate_slide(lattice="square", shape=(8, 8), genes=12, seed=2, image=False)
    monkeypatch.setattr(Kernel, "_fit", held)
    last = simulate_slide(lattice="square", shape=(9, 9), genes=12, seed=3, image=False)
    opened.desk.adopt(last)
    opened.wait(lambda: opened.desk.preview.slide is last)
    QTest.qWait(100)
    opened.desk.adopt(another)
    gate.set()
    opened.wait(lambda: opened.desk.scene.view.kernel is not None)
    assert ended == [last]
    assert opened.desk.scene.view.kernel.parents[0] in another.barcodes
    assert len(opened.desk.scene.view.kernel) == 9 * len(another)


def test_a_failure_is_told_in_words_and_the_slide_stays(opened, monkeypatch):
    monkeypatch.setattr(preview, "_MOST_TARGETS", 500)
    opened.desk.adopt(simulate_slide(lattice="square", shape=(8, 8), genes=12, seed=2, image=False))
    opened.wait(lambda: "No instant preview" in opened.explore.readout.text())
    assert "Choose a coarser grid" in opened.explore.readout.text()
    button = opened.explore.kinds["kernel"]
    assert not button.isEnabled()
    assert "No instant preview" in button.toolTip()
    assert "measured" in opened.desk.scene.frames
    opened.enhance.subspots.setCurrentIndex(opened.enhance.subspots.count() - 1)
    opened.enhance.step.setValue(150.0)
    opened.wait(button.isEnabled)
    assert "No instant preview" not in opened.explore.readout.text() + button.toolTip()


def test_a_slide_that_would_take_long_is_left_alone(slide, monkeypatch):
    from napari_stsr.errors import InputError

    monkeypatch.setattr(preview, "_MOST_SECONDS", 0.01)
    with pytest.raises(InputError, match=r"120 spots would take about .* Run Factor kernel"):
        Kernel(slide).at(Aim())


def test_places_are_compared_by_what_they_are():
    corners = [[0, 0], [100, 0], [100, 100]]
    one, same = (Region.from_polygons(name, [corners]).outline for name in ("a", "b"))
    assert Aim(9, None, one) == Aim(9, None, same)
    assert Aim(9) != Aim(4)
