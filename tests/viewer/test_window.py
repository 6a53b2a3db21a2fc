"""The window as a whole: layout, keyboard, size, closing."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLabel, QLineEdit, QPushButton, QWidget

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
