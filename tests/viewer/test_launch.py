"""The window as the command line opens it."""

from types import SimpleNamespace

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QMainWindow

from napari_stsr import enhance, export
from napari_stsr.slides.simulate import simulate_slide
from napari_stsr.slides.writing import write_slide
from napari_stsr.viewer.desk import desk_of
from napari_stsr.viewer.launch import build_layout, open_in


def test_a_slide_opened_with_a_result_shows_the_result(
    make_napari_viewer_proxy, qtbot, slide, tmp_path
):
    write_slide(slide, tmp_path / "outs")
    export(enhance(slide, "kernel", genes=["SIM003"]), tmp_path / "result.h5ad")
    viewer = make_napari_viewer_proxy(strict_qt=True)
    open_in(viewer, str(tmp_path / "outs"), str(tmp_path / "result.h5ad"))
    desk = desk_of(viewer)
    qtbot.waitUntil(lambda: "enhanced" in desk.scene.frames, timeout=20_000)
    assert desk.scene.kind == "enhanced"
    assert desk.scene.view.gene == "SIM003"
    assert any("enhanced" in layer.name and layer.visible for layer in viewer.layers)
    # Only the first picture: what the user chooses afterwards stays.
    desk.scene.show_kind("measured")
    with qtbot.waitSignal(desk.scene.drawn, timeout=20_000):
        desk.look(gene="SIM001")
    assert desk.scene.view.gene == "SIM001"
    assert desk.scene.kind == "measured"
    desk.close()


def test_a_result_of_another_slide_is_not_shown(make_napari_viewer_proxy, qtbot, slide, tmp_path):
    write_slide(slide, tmp_path / "outs")
    other = simulate_slide(lattice="hex", shape=(10, 12), genes=30, seed=2)
    export(enhance(other, "kernel", genes=["SIM003"]), tmp_path / "result.h5ad")
    viewer = make_napari_viewer_proxy(strict_qt=True)
    open_in(viewer, str(tmp_path / "outs"), str(tmp_path / "result.h5ad"))
    desk = desk_of(viewer)
    readout = viewer.window.dock_widgets["Explore"].readout
    qtbot.waitUntil(lambda: "is not a result of" in readout.text(), timeout=20_000)
    assert desk.result is None
    desk.close()


def test_the_window_fits_the_screen(make_napari_viewer_proxy, qtbot, monkeypatch):
    viewer = make_napari_viewer_proxy(strict_qt=True)
    screen = SimpleNamespace(availableSize=lambda: QSize(1366, 740))
    monkeypatch.setattr(QMainWindow, "screen", lambda _: screen)
    panels = build_layout(viewer)
    window = panels["Slide"].window()
    window.show()
    qtbot.waitUntil(window.isVisible)
    assert window.width() <= 1366
    assert window.height() <= 740
    assert panels["Explore"].isVisible()
    desk_of(viewer).close()
