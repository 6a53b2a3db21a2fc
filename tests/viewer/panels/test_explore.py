from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest


@pytest.fixture
def enhanced(opened):
    opened.run()
    opened.wait(lambda: "enhanced" in opened.desk.scene.frames)
    return opened


def shown(window) -> list[str]:
    kinds = ("measured", "enhanced", "denoised", "difference", "attention")
    layers = {kind: window.desk.scene.layer(kind) for kind in kinds}
    return [kind for kind, layer in layers.items() if layer is not None and layer.visible]


def test_arrow_keys_switch_the_gene_live_in_the_same_layers(enhanced):
    finder, scene = enhanced.explore.finder, enhanced.desk.scene
    layers = {kind: scene.layer(kind) for kind in ("measured", "enhanced")}
    seen = []
    for _ in range(3):
        before = scene.view.gene
        QTest.keyClick(finder.field, Qt.Key.Key_Down)
        assert scene.view.gene != before
        gene = scene.view.gene
        enhanced.wait(
            lambda gene=gene: scene.layer("enhanced").name.startswith(
                enhanced.desk.slide.genes.label(enhanced.desk.slide.genes.column(gene))
            )
        )
        seen.append(np.nan_to_num(np.asarray(layers["enhanced"].data)).sum())
    assert len(set(seen)) == 3
    assert {kind: scene.layer(kind) for kind in layers} == layers


def test_search_finds_by_symbol_and_id(opened):
    genes, finder = opened.desk.slide.genes, opened.explore.finder
    for text in (str(genes.symbols[11]), str(genes.ids[11])):
        finder.field.setText(text)
        QTest.keyClick(finder.field, Qt.Key.Key_Return)
        opened.wait(lambda: opened.desk.scene.view.gene == genes.ids[11])
        np.testing.assert_array_equal(
            opened.desk.slide.counts.column(11), opened.desk.slide.counts.column(genes.column(text))
        )
        finder.field.clear()


def test_a_pinned_gene_comes_first_and_is_kept(opened):
    finder, gene = opened.explore.finder, str(opened.desk.slide.genes.ids[-1])
    finder.show_gene(gene)
    finder.pin.click()
    finder.set_genes(opened.desk.slide.genes, opened.desk.slide.genes.ids[:5].tolist())
    assert finder.list.item(1).text().startswith("★")
    assert finder.list.item(1).data(Qt.ItemDataRole.UserRole) == gene


def test_buttons_show_one_picture_and_its_colour_bar(enhanced):
    for kind in ("measured", "difference", "denoised", "attention", "enhanced"):
        enhanced.explore.kinds[kind].click()
        enhanced.wait(lambda kind=kind: shown(enhanced) == [kind])
        layer = enhanced.desk.scene.layer(kind)
        bar = layer.face_colorbar if kind == "measured" else layer.colorbar
        assert bar.visible
        assert layer.name in enhanced.viewer.canvas.overlays.text.text


def test_pictures_a_result_does_not_have_cannot_be_chosen(enhanced):
    from dataclasses import replace

    assert enhanced.explore.kinds["denoised"].isEnabled()
    assert not enhanced.explore.kinds["uncertainty"].isEnabled()
    enhanced.desk.show_result(replace(enhanced.desk.result, denoised=None))
    enhanced.wait(lambda: "denoised" not in enhanced.desk.scene.frames)
    assert not enhanced.explore.kinds["denoised"].isEnabled()


def test_a_gene_that_was_not_predicted_falls_back_to_measured_and_says_so(enhanced):
    from dataclasses import replace

    result = enhanced.desk.result
    few = replace(
        result,
        genes=result.genes.take(np.array([0])),
        expression_source=SimpleNamespace(
            shape=(len(result), 1), columns=lambda g: np.ones((len(result), 1), np.float32)
        ),
    )
    enhanced.desk.show_result(few)
    enhanced.desk.look(gene=str(result.genes.ids[5]))
    enhanced.wait(lambda: "was not predicted" in enhanced.explore.readout.text())
    assert shown(enhanced) == ["measured"]
    assert not enhanced.explore.kinds["enhanced"].isEnabled()


def test_hover_reads_barcode_measured_and_enhanced(enhanced):
    slide, scene = enhanced.desk.slide, enhanced.desk.scene
    x, y = slide.coordinates[40]
    said = scene.readout.sentence(np.array([x, y]), scene.frames)
    value = scene.frames["measured"].values[40]
    assert said.startswith(f"{slide.barcodes[40]} · {scene.view.label} measured {value:.4g}")
    assert "enhanced" in said
    assert scene.readout.sentence(np.array([-1e5, -1e5]), scene.frames) == ""


def test_a_click_shows_arrows_and_the_table_of_sources(enhanced):
    enhanced.explore.attention.pick.click()
    point = enhanced.desk.result.targets.coordinates[100]
    event = SimpleNamespace(type="mouse_press", position=(point[1], point[0]))
    callback = enhanced.desk.viewer.mouse_drag_callbacks[-1]
    clicking = callback(enhanced.desk.viewer, event)
    next(clicking)
    event.type = "mouse_release"
    with pytest.raises(StopIteration):
        next(clicking)
    table = enhanced.explore.attention.table
    assert table.rowCount() == 3
    weights = [float(table.item(row, 2).text()) for row in range(3)]
    assert sum(weights) == pytest.approx(1, abs=0.01)
    assert "parts sum to" in enhanced.explore.attention.said.text()
    arrows = enhanced.desk.scene.layer("arrows")
    assert arrows.nshapes == 3
    enhanced.explore.attention.pick.click()
    assert callback not in enhanced.desk.viewer.mouse_drag_callbacks


def test_only_boxes_of_the_kind_in_view_are_shown(enhanced):
    explore = enhanced.explore

    def boxes() -> list[str]:
        both = {"attention": explore.attention, "field": explore.field}
        return [name for name, box in both.items() if box.isVisibleTo(explore)]

    assert boxes() == []
    for kind in ("attention", "measured", "field", "enhanced"):
        explore.kinds[kind].click()
        assert boxes() == [kind] * (kind in ("attention", "field"))
    # As long as clicks pick, the button that ends it is there; as long as arrows are, their table.
    explore.kinds["attention"].click()
    explore.attention.pick.click()
    explore.kinds["enhanced"].click()
    assert boxes() == ["attention"]
    enhanced.desk.picked.emit(100)
    explore.attention.pick.click()
    assert boxes() == ["attention"]
    enhanced.desk.picked.emit(-1)
    assert boxes() == []


def test_a_pick_ends_with_its_result(enhanced):
    result, scene = enhanced.desk.result, enhanced.desk.scene
    enhanced.desk.picked.emit(len(result) - 1)
    assert scene.layer("arrows") is not None
    part = replace(result.take(np.arange(18)), name="a part")
    enhanced.desk.show_result(part)
    assert scene.layer("arrows") is None
    assert enhanced.explore.attention.table.rowCount() == 0
    assert not enhanced.explore.attention.isVisibleTo(enhanced.explore)


def test_a_drag_moves_the_view_and_picks_nothing(enhanced):
    picked = []
    enhanced.desk.picked.connect(picked.append)
    event = SimpleNamespace(type="mouse_press", position=(100.0, 100.0))
    clicking = enhanced.explore._on_click(enhanced.desk.viewer, event)
    next(clicking)
    event.type = "mouse_move"
    for _ in range(5):
        next(clicking)
    event.type = "mouse_release"
    with pytest.raises(StopIteration):
        next(clicking)
    assert picked == []


def test_shared_contrast_is_kept_between_starts(enhanced, qtbot):
    from napari_stsr.viewer.panels.contrast_box import ContrastBox

    enhanced.explore.contrast.shared.click()
    enhanced.wait(lambda: enhanced.desk.scene.view.shared)
    again = ContrastBox()
    qtbot.addWidget(again)
    assert again.shared.isChecked()


def test_the_picture_fades_where_uncertain_and_genes_still_switch(enhanced, qtbot):
    from napari_stsr.viewer.panels.contrast_box import ContrastBox

    scene, box = enhanced.desk.scene, enhanced.explore.contrast
    assert not box.faded.isVisibleTo(box)
    result = enhanced.desk.result
    enhanced.desk.show_result(replace(result, uncertainty=result.denoised))
    enhanced.wait(lambda: "uncertainty" in scene.frames)
    assert box.faded.isVisibleTo(box)
    assert not box.faded.isChecked()
    colour = scene.frames["enhanced"].values
    box.faded.click()
    enhanced.wait(lambda: scene.layer("enhanced").rgb)
    assert "faint where uncertain" in enhanced.viewer.canvas.overlays.text.text
    assert not scene.layer("enhanced").colorbar.visible
    layer, before = scene.layer("enhanced"), np.asarray(scene.layer("enhanced").data).copy()
    # As uncertain as large: half as opaque everywhere.
    assert before[..., 3].max() == 128
    np.testing.assert_array_equal(scene.frames["enhanced"].values, colour)
    other = str(result.genes.ids[2])
    enhanced.desk.look(gene=other)
    enhanced.wait(lambda: scene.view.gene == other and (layer.data != before).any())
    assert scene.layer("enhanced") is layer
    again = ContrastBox()
    qtbot.addWidget(again)
    assert again.faded.isChecked()
    box.faded.click()
    enhanced.wait(lambda: not scene.layer("enhanced").rgb)
    assert scene.layer("enhanced").colorbar.visible


def test_removing_a_layer_by_hand_breaks_nothing(enhanced):
    enhanced.viewer.layers.remove(enhanced.desk.scene.layer("enhanced"))
    enhanced.desk.look(gene=str(enhanced.desk.slide.genes.ids[2]))
    enhanced.wait(lambda: enhanced.desk.scene.layer("enhanced") is not None)


@pytest.mark.parametrize("suffix", [".h5ad", ".csv", ".ome.tif"])
def test_export_writes_the_result_and_says_where(enhanced, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    enhanced.explore.export.write(str(path))
    enhanced.wait(lambda: "Written" in enhanced.explore.export.said.text())
    assert path.stat().st_size > 0
    if suffix == ".h5ad":
        from napari_stsr import read_enhancement

        again, result = read_enhancement(path), enhanced.desk.result
        np.testing.assert_allclose(
            again.expression([result.genes.ids[1]]), result.expression([result.genes.ids[1]])
        )


def test_an_exported_picture_is_the_canvas(enhanced, tmp_path):
    from imageio.v3 import imread

    enhanced.show()
    enhanced.explore.export.write(str(tmp_path / "view.png"))
    picture = imread(tmp_path / "view.png")
    assert min(picture.shape[:2]) >= 200
    assert np.ptp(picture[..., :3]) > 100


def test_regions_are_exported_as_geojson(opened, tmp_path):
    from napari_stsr import read_regions

    rois = opened.desk.draw_region()
    rois.add_rectangles([[0, 0], [300, 200]])
    opened.explore.export.write(str(tmp_path / "rois.geojson"))
    opened.wait(lambda: "Written" in opened.explore.export.said.text())
    assert read_regions(tmp_path / "rois.geojson")[0].bounds() == (0, 0, 200, 300)


def test_an_unwritable_place_is_told_and_leaves_nothing(enhanced, tmp_path):
    (tmp_path / "file").write_text("")
    enhanced.explore.export.write(str(tmp_path / "file" / "out.h5ad"))
    enhanced.wait(lambda: "Could not write" in enhanced.explore.export.said.text())
    assert enhanced.explore.export.button.isEnabled()


def test_results_stay_in_a_list_and_can_be_chosen_again(enhanced):
    first = enhanced.desk.result
    enhanced.run(steps=4)
    enhanced.wait(lambda: enhanced.explore.result_choice.count() == 2)
    enhanced.explore.result_choice.setCurrentIndex(0)
    enhanced.explore.result_choice.activated.emit(0)
    assert enhanced.desk.result is first


def test_a_picture_kept_beside_stays_while_another_gene_is_shown(enhanced):
    scene, explore = enhanced.desk.scene, enhanced.explore
    explore.show_kind("enhanced")
    enhanced.wait(lambda: shown(enhanced) == ["enhanced"])
    source = scene.layer("enhanced")
    explore.beside.click()
    (kept,) = [layer for layer in enhanced.viewer.layers if layer.name.endswith("· kept")]
    before = np.array(kept.data)
    np.testing.assert_array_equal(before, source.data)
    tissue = enhanced.desk.slide.coordinates[:, 0].max()
    assert kept.extent.world[0][1] > tissue
    np.testing.assert_allclose(
        kept.extent.world[1] - kept.extent.world[0], source.extent.world[1] - source.extent.world[0]
    )
    gene = str(enhanced.desk.slide.genes.ids[-1])
    enhanced.desk.look(gene=gene)
    enhanced.wait(
        lambda: scene.view.gene == gene and scene.layer("enhanced").name != kept.name[:-7]
    )
    explore.show_kind("measured")
    assert kept.visible
    np.testing.assert_array_equal(kept.data, before)
    explore.beside.click()
    second = [layer for layer in enhanced.viewer.layers if layer.name.endswith("· kept")][-1]
    assert second.extent.world[0][1] > kept.extent.world[1][1]
    layers = enhanced.viewer.layers
    said = layers["Names of what was kept"].features["name"].tolist()
    assert len(said) == 2
    assert said[0].split("\n")[1] == "enhanced"
    layers.remove(kept)
    enhanced.wait(lambda: layers["Names of what was kept"].features["name"].tolist() == said[1:])
    layers.selection = {second, layers["Names of what was kept"]}
    layers.remove_selected()
    enhanced.wait(lambda: not any("kept" in layer.name for layer in layers))


def test_another_slide_takes_kept_pictures_off(enhanced):
    enhanced.explore.beside.click()
    enhanced.desk.scene.show_slide(
        enhanced.desk.slide, enhanced.desk.scene.prepared(enhanced.desk.slide)
    )
    assert not any("kept" in layer.name for layer in enhanced.viewer.layers)
    assert any(layer.name.endswith("measured") for layer in enhanced.viewer.layers)
