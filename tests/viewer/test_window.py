"""The window as a whole: layout, keyboard, size, closing."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLabel, QLineEdit, QPushButton, QWidget

from napari_stsr.viewer.launch import dock_of
from napari_stsr.viewer.panels.explore import ExplorePanel
from napari_stsr.viewer.panels.panel import MIN_WIDTH


def test_no_field_is_wider_than_its_panel(opened, qtbot):
    opened.run()
    opened.wait(lambda: "enhanced" in opened.desk.scene.frames)
    opened.show()
    for panel in (opened.slide, opened.enhance, opened.explore, opened.validate):
        assert panel.minimumWidth() >= MIN_WIDTH
        assert panel.body.width() <= panel.viewport().width()
        assert panel.minimumWidth() <= 360


def test_slide_and_enhance_share_a_column_and_explore_stands_beside(window, qtbot):
    window.show()

    def left(panel: QWidget) -> int:
        return panel.mapTo(panel.window(), panel.rect().topLeft()).x()

    assert abs(left(window.slide) - left(window.enhance)) < 5
    assert left(window.explore) >= left(window.slide) + window.slide.width()


def test_every_field_can_be_reached_by_keyboard_and_has_a_name(opened):
    for panel in (opened.slide, opened.enhance, opened.explore, opened.validate):
        for kind in (QPushButton, QComboBox, QLineEdit):
            for field in panel.findChildren(kind):
                inside = field.parent()
                if isinstance(inside, QComboBox) or field.objectName() == "qt_spinbox_lineedit":
                    continue
                assert field.focusPolicy() & Qt.FocusPolicy.TabFocus, field
                text = field.text() if isinstance(field, QPushButton) else ""
                buddies = [b for b in panel.findChildren(QLabel) if b.buddy() is not None]
                named = any(field in (b.buddy(), b.buddy().focusProxy()) for b in buddies)
                assert text or field.accessibleName() or field.placeholderText() or named, field


def test_closing_the_window_ends_a_run(opened, method):
    method.gate.clear()
    opened.enhance.runs.run_button.click()
    opened.wait(lambda: opened.enhance.runs.current is not None)
    job = opened.enhance.runs.current
    method.gate.set()
    opened.desk.close()
    assert job.ended


def test_a_panel_that_was_closed_listens_no_longer(opened, qtbot):
    viewer, gone = opened.viewer, []
    moving, dragging = list(viewer.mouse_move_callbacks), list(viewer.mouse_drag_callbacks)
    panel = ExplorePanel(viewer)
    viewer.window.add_dock_widget(panel, name="Explore again")
    panel.destroyed.connect(lambda: gone.append(True))
    panel.field.profile.setChecked(True)
    assert len(viewer.mouse_move_callbacks) == len(moving) + 1
    assert len(viewer.mouse_drag_callbacks) == len(dragging) + 1
    viewer.window.remove_dock_widget(dock_of(panel))
    opened.wait(lambda: gone)
    assert viewer.mouse_move_callbacks == moving
    assert viewer.mouse_drag_callbacks == dragging
    # What the others listen to goes on.
    viewer.scene.camera.zoom *= 1.5
    with qtbot.waitSignal(opened.desk.scene.drawn, timeout=20_000):
        opened.desk.look(gene=str(opened.desk.slide.genes.ids[4]))
