"""The continuous field in the window: any resolution, any window, any gene; profiles of places."""

from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_stsr.errors import InputError
from napari_stsr.viewer.panels.kept import keep


@pytest.fixture
def enhanced(opened):
    opened.run()
    opened.wait(lambda: "enhanced" in opened.desk.scene.frames)
    return opened


@pytest.fixture
def field(enhanced):
    """The field on screen, finished, on the whole tissue at 50 µm."""
    enhanced.explore.kinds["field"].click()
    settled(enhanced, 50)
    return enhanced


def settled(window, step, start="") -> str:
    """Wait for the finished picture of a step; return the layer's name."""

    def there() -> bool:
        layer = window.desk.scene.layer("field")
        done = layer is not None and f"predicted field at {step:g} µm" in layer.name
        return done and layer.name.startswith(start) and "on its way" not in said(window)

    window.wait(there)
    return window.desk.scene.layer("field").name


def said(window) -> str:
    return window.explore.field.said.text()


def click(window, place) -> None:
    event = SimpleNamespace(type="mouse_press", position=(place[1], place[0]))
    callback = window.desk.viewer.mouse_drag_callbacks[-1]
    clicking = callback(window.desk.viewer, event)
    next(clicking)
    event.type = "mouse_release"
    with pytest.raises(StopIteration):
        next(clicking)


def test_there_is_no_field_before_a_run(opened):
    assert not opened.explore.kinds["field"].isEnabled()
    assert not opened.explore.field.isVisibleTo(opened.explore)


def test_the_slider_evaluates_the_fit_anew_in_the_same_layer(field):
    scene, box = field.desk.scene, field.explore.field
    assert scene.kind == "field"
    assert scene.layer("field").visible
    assert not scene.layer("enhanced").visible
    assert not scene.layer("measured").visible
    layer, before = scene.layer("field"), scene.layer("field").data.shape
    assert layer.name in field.viewer.canvas.overlays.text.text
    assert layer.colorbar.visible
    box.step.marks[10].click()
    settled(field, 10)
    assert scene.layer("field") is layer
    assert min(np.divide(layer.data.shape, before)) > 4
    np.testing.assert_allclose(layer.affine.scale, 10.0)
    # Where it lies and what it holds: the field itself, at the centre of the pixel.
    fitted = field.desk.field.fitted
    place = field.desk.slide.coordinates[40]
    row, column = np.rint(np.array(layer.world_to_data(place[::-1]))).astype(int)
    centre = np.array(layer.data_to_world((row, column)))[::-1]
    gene = field.desk.slide.genes.column(scene.view.gene)
    expected = fitted.at(centre[None]).columns(np.array([gene]))[0, 0]
    assert layer.data[row, column] == pytest.approx(expected, rel=1e-3)
    slider = box.step.slider
    QTest.keyClick(slider, Qt.Key.Key_Home)
    settled(field, 200)
    assert box.step.value() == 200


def test_the_field_follows_the_gene_and_leaves_with_another_picture(field):
    scene, finder = field.desk.scene, field.explore.finder
    gene, name = scene.view.gene, scene.layer("field").name
    QTest.keyClick(finder.field, Qt.Key.Key_Down)
    assert scene.view.gene != gene
    field.wait(lambda: scene.layer("field").name.startswith(f"{scene.view.label} ·"))
    assert scene.layer("field").name != name
    assert field.explore.kinds["field"].isChecked()
    field.explore.kinds["measured"].click()
    assert not scene.layer("field").visible
    shown = scene.layer("field").name
    QTest.keyClick(finder.field, Qt.Key.Key_Down)
    field.wait(lambda: scene.view.label in scene.layer("measured").name)
    assert scene.layer("field").name == shown


def test_the_current_view_is_followed_when_it_rests(field):
    box, camera = field.explore.field, field.viewer.scene.camera
    whole = field.desk.scene.layer("field").data.shape
    box.where.setCurrentIndex(box.where.findData("Current view"))
    box.where.activated.emit(box.where.currentIndex())
    camera.zoom *= 6
    x, y = field.desk.slide.coordinates[0]
    camera.center = (0.0, float(y), float(x))
    layer = field.desk.scene.layer("field")
    field.wait(lambda: layer.data.size < whole[0] * whole[1] / 2)
    settled(field, 50)
    low = np.array(layer.data_to_world((0, 0)))[::-1]
    region = field.desk.view_region().bounds()
    assert (low >= np.array(region[:2]) - 50).all()


def test_a_region_can_be_chosen_and_is_followed(field):
    box, desk = field.explore.field, field.desk
    corner = desk.slide.coordinates.min(axis=0)
    ring = corner + np.array([(0.0, 0.0), (400.0, 0.0), (0.0, 400.0)])
    rois = desk.draw_region()
    rois.add_polygons([ring[:, ::-1]])
    rois.mode = "pan_zoom"
    name = desk.regions()[0].name
    box.where.setCurrentIndex(box.where.findData(name))
    box.where.activated.emit(box.where.currentIndex())
    layer = desk.scene.layer("field")
    field.wait(lambda: layer.data.shape[0] <= 10)
    settled(field, 50)
    values = np.asarray(layer.data)
    assert np.isfinite(values).any()
    assert np.isnan(values[-1, -1])
    field.viewer.layers.remove(rois)
    assert box.where.currentData() == "Whole tissue"


def test_a_region_beside_the_tissue_is_told(field):
    box, desk = field.explore.field, field.desk
    far = desk.slide.coordinates.max(axis=0) + 5000.0
    rois = desk.draw_region()
    rois.add_polygons([(far + np.array([(0.0, 0.0), (400.0, 0.0), (0.0, 400.0)]))[:, ::-1]])
    rois.mode = "pan_zoom"
    box.where.setCurrentIndex(box.where.findData(desk.regions()[0].name))
    box.where.activated.emit(box.where.currentIndex())
    field.wait(lambda: "The region holds no tissue. Draw it on the tissue." in said(field))


def test_a_click_gives_a_profile_of_pinned_genes_beside_what_was_measured(field):
    box, slide = field.explore.field, field.desk.slide
    pins = [str(slide.genes.ids[4]), str(slide.genes.ids[9])]
    keep("explore/pins", [*pins, "of another slide"])
    box.profile.click()
    place = slide.coordinates[33] + 12.0
    click(field, place)
    field.wait(lambda: box.plot.profile is not None)
    profile = box.plot.profile
    view = field.desk.scene.view
    genes = list(dict.fromkeys([view.gene, *pins]))
    columns = slide.genes.columns(genes)
    expected = field.desk.field.fitted.at(place[None]).columns(columns)[0]
    np.testing.assert_allclose(profile.predicted, expected, rtol=1e-5)
    np.testing.assert_array_equal(profile.measured, slide.counts.rows[33].toarray()[0, columns])
    assert profile.barcode == slide.barcodes[33]
    assert profile.away_um == pytest.approx(12 * np.sqrt(2))
    assert "predicted" in box.plot.accessibleDescription()
    # Two bars a gene: filled for predicted, hatched for measured.
    assert box.plot.height() > 2 * len(genes) * box.plot.fontMetrics().height()
    drawn = box.plot.grab().toImage()
    assert len({drawn.pixel(x, y) for x in range(0, 240, 3) for y in range(drawn.height())}) > 2
    mark = field.desk.scene.layer("place")
    np.testing.assert_allclose(mark.data[0], place[::-1])
    field.wait(lambda: "1 not predicted" in box.profile_said.text())
    other = int(np.flatnonzero(~np.isin(slide.genes.ids, genes))[0])
    field.desk.look(gene=str(slide.genes.ids[other]))
    field.wait(lambda: box.plot.profile.labels[0] == slide.genes.label(other))
    click(field, slide.coordinates[0] - 1e4)
    field.wait(lambda: "Click on the tissue" in box.profile_said.text())
    box.profile.click()
    assert field.desk.scene.layer("place") is None
    assert box.on_click not in field.viewer.mouse_drag_callbacks


def test_a_profile_that_comes_too_late_is_not_shown(field, monkeypatch):
    box, going_on, begun = field.explore.field, Event(), Event()
    profile = field.desk.field.profile

    def slow(genes, place):
        begun.set()
        going_on.wait(20)
        return profile(genes, place)

    box.profile.click()
    monkeypatch.setattr(field.desk.field, "profile", slow)
    click(field, field.desk.slide.coordinates[33])
    field.wait(begun.is_set)
    box.profile.click()
    going_on.set()
    field.wait(lambda: not box._profiler.busy)
    QTest.qWait(100)
    assert box.plot.profile is None
    assert field.desk.scene.layer("place") is None


def test_a_click_means_one_thing_at_a_time(field):
    attention, box = field.explore.attention, field.explore.field
    attention.pick.click()
    box.profile.click()
    assert not attention.pick.isChecked()
    attention.pick.click()
    assert not box.profile.isChecked()
    attention.pick.click()


def test_a_failure_is_said_and_the_window_goes_on(field, monkeypatch):
    box, fitted = field.explore.field, field.desk.field.fitted

    def broken(places, run=None):
        raise InputError("The model is worn out.", "Fit it again.")

    with monkeypatch.context() as patch:
        patch.setattr(fitted, "at", broken)
        box.step.marks[20].click()
        field.wait(lambda: "Fit it again" in said(field))
        assert field.desk.scene.layer("field") is None
        assert field.desk.scene.layer("measured").visible
    box.step.marks[10].click()
    settled(field, 10)


def test_a_step_too_fine_for_the_window_is_said(field):
    box = field.explore.field
    box.step.box.setValue(0.5)
    field.wait(lambda: "is the finest for so large a window" in said(field))


def test_choices_are_kept(field, qtbot):
    from napari_stsr.viewer.panels.field_box import FieldBox

    field.explore.field.step.marks[20].click()
    settled(field, 20)
    again = FieldBox(field.desk)
    qtbot.addWidget(again)
    assert again.step.value() == 20
    # Its window stays; it would be deleted under its own work.
    field.desk.closing.emit()


def test_another_slide_has_no_field(field, slide):
    from dataclasses import replace

    field.desk.adopt(replace(slide, name="another"))
    field.wait(lambda: "measured" in field.desk.scene.frames)
    assert field.desk.field is None
    assert not field.explore.kinds["field"].isEnabled()
    assert field.desk.scene.layer("field") is None
