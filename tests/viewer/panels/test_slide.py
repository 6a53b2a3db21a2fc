from qtpy.QtCore import QMimeData, QPoint, Qt, QUrl
from qtpy.QtGui import QDropEvent

from napari_stsr.viewer.panels.slide import headline


def drop(panel, path) -> None:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    event = QDropEvent(
        QPoint(5, 5),
        Qt.DropAction.CopyAction,
        mime,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    panel.dropEvent(event)


def test_a_dropped_folder_becomes_layers_and_a_list_of_checks(window, data):
    drop(window.slide, data("her2st_C2/spaceranger_like"))
    assert window.slide.busy.isVisibleTo(window.slide)
    window.wait(lambda: window.desk.slide is not None)
    assert window.layer_names() == ["H&E", "Tissue outline", "Total counts · measured"]
    for layer in window.viewer.layers:
        assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert window.viewer.canvas.overlays.scale_bar.visible
    said = window.slide.headline.text()
    assert "187 spots" in said
    assert "15,706 genes" in said
    assert "Only 187 spots" in window.slide.checks.text()
    assert not window.slide.busy.isVisibleTo(window.slide)


def test_a_folder_without_slide_is_refused_in_words_and_the_old_slide_stays(opened, tmp_path):
    before = opened.layer_names()
    opened.slide.open(str(tmp_path))
    opened.wait(lambda: not opened.desk.busy)
    assert "no slide" in opened.slide.checks.text()
    assert opened.layer_names() == before
    assert opened.desk.slide is not None


def test_bin_sizes_are_offered_with_their_memory(window, data):
    window.slide.open(str(data("format_fixtures/seurat_visium_hd_FAKE")))
    window.wait(lambda: window.slide.bin_choice.count() > 0)
    assert window.slide.bin_choice.itemText(0).startswith("8 µm")
    assert "GB" in window.slide.bin_choice.itemText(0)


def test_another_slide_replaces_the_layers_but_not_the_users(opened, data):
    opened.viewer.add_points([[0, 0]], name="mine", units=("um", "um"))
    opened.slide.open(str(data("dlpfc_151673")))
    opened.wait(lambda: opened.desk.slide.name == "dlpfc_151673")
    assert opened.layer_names() == ["mine", "H&E", "Tissue outline", "Total counts · measured"]


def test_headline_names_scale_and_its_source(slide):
    said = headline(slide)
    assert slide.name in said
    assert f"{slide.scale.um_per_px:.3g} µm/px" in said
    assert slide.scale.source in said
