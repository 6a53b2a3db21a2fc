import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qtpy.QtWidgets import QApplication

from napari_stsr.training import Progress
from napari_stsr.viewer.panels.gene_choice import IN_VIEW, LISTED, named_genes
from napari_stsr.viewer.panels.loss_curve import LossCurve
from napari_stsr.viewer.panels.run_box import history_shown, progress_words


def test_run_ends_in_enhanced_layers(opened):
    job = opened.run()
    assert job.state == "done"
    opened.wait(lambda: "enhanced" in opened.desk.scene.frames)
    names = opened.layer_names()
    assert any("· enhanced (Fake, 9 per spot)" in name for name in names)
    shown = [layer.name for layer in opened.viewer.layers if layer.visible]
    assert not any("measured" in name for name in shown)
    assert opened.enhance.runs.progress.text() == "done"
    assert "done" in opened.enhance.runs.list.item(0).text()
    steps = opened.enhance.runs.curve.lines["training"]
    np.testing.assert_allclose(steps[:, 1], 1 / steps[:, 0])


def test_the_estimate_comes_before_the_start(opened):
    opened.wait(lambda: "Estimate" in opened.enhance.estimate.text())
    assert "1 min 01 s, 1.5 GB" in opened.enhance.estimate.text()


def test_cancel_stops_and_leaves_the_window_ready(opened, method):
    method.gate.clear()
    opened.enhance.runs.run_button.click()
    opened.wait(lambda: opened.enhance.runs.current is not None)
    job = opened.enhance.runs.current
    opened.enhance.runs.cancel_button.click()
    method.gate.set()
    opened.wait(lambda: job.ended)
    assert job.state == "cancelled"
    opened.wait(lambda: "cancelled" in opened.enhance.runs.list.item(0).text())
    assert opened.run().state == "done"


def test_pause_waits_and_resume_goes_on(opened, method, qtbot):
    method.gate.clear()
    opened.enhance.runs.run_button.click()
    opened.wait(lambda: opened.enhance.runs.current is not None)
    job = opened.enhance.runs.current
    opened.enhance.runs.pause_button.click()
    assert opened.enhance.runs.pause_button.text() == "&Resume"
    method.gate.set()
    qtbot.wait(100)
    assert not job.ended
    opened.enhance.runs.pause_button.click()
    opened.wait(lambda: job.state == "done")


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("in words", "The disk is full. Free some space."),
        ("by a bug", "wires crossed"),
        ("out of memory", "The memory ran out. Choose fewer genes"),
    ],
)
def test_a_failing_run_is_told_in_words_and_everything_stays_alive(opened, ends, said):
    before = opened.layer_names()
    job = opened.run(ends=ends)
    assert job.state == "failed"
    opened.wait(lambda: opened.enhance.runs.message.isVisibleTo(opened.enhance))
    assert said in opened.enhance.runs.message.text()
    assert opened.enhance.runs.details_button.isVisibleTo(opened.enhance)
    assert opened.layer_names() == before
    assert opened.run(ends="well").state == "done"


def test_what_a_result_has_to_note_stands_under_the_runs(opened):
    message = opened.enhance.runs.message
    assert opened.run().state == "done"
    assert not message.isVisibleTo(opened.enhance)
    assert opened.run(ends="with a note").state == "done"
    opened.wait(lambda: message.isVisibleTo(opened.enhance))
    assert "Two genes were left out." in message.text()


def test_a_drawn_region_is_enhanced_alone(opened):
    rois = opened.desk.draw_region()
    low, high = opened.desk.slide.coordinates.min(0), opened.desk.slide.coordinates.mean(0)
    rois.add_rectangles([[low[1], low[0]], [high[1], high[0]]])
    where = opened.enhance.where
    opened.wait(lambda: where.findText("ROI: ROI 1") >= 0)
    where.setCurrentText("ROI: ROI 1")
    job = opened.run()
    assert job.state == "done"
    assert job.plan.region.name == "ROI 1"
    inside = job.plan.region.contains(job.result.targets.coordinates)
    assert inside.all()
    assert 0 < len(job.result) < len(opened.desk.slide.subspots())


def test_every_region_becomes_a_run_of_its_own(opened):
    rois = opened.desk.draw_region()
    low, high = opened.desk.slide.coordinates.min(0), opened.desk.slide.coordinates.max(0)
    middle = (low + high) / 2
    for a, b in ((low, middle), (middle, high)):
        rois.add_rectangles([[a[1], a[0]], [b[1], b[0]]])
    opened.wait(lambda: opened.enhance.where.count() == 5)
    opened.enhance.where.setCurrentIndex(4)
    opened.enhance.runs.run_button.click()
    opened.wait(lambda: len(opened.desk.workspace.results) == 2)
    names = [result.name for result in opened.desk.workspace.results]
    assert [name.rpartition(" · ")[2] for name in names] == ["ROI 1", "ROI 2"]


def test_a_region_off_the_tissue_is_refused_before_the_start(opened):
    rois = opened.desk.draw_region()
    rois.add_rectangles([[-9000, -9000], [-8000, -8000]])
    opened.wait(lambda: opened.enhance.where.count() == 3)
    opened.enhance.where.setCurrentIndex(2)
    opened.enhance.runs.run_button.click()
    opened.wait(lambda: opened.enhance.runs.message.isVisibleTo(opened.enhance))
    assert "holds none of the" in opened.enhance.runs.message.text()
    assert opened.desk.workspace.queue.jobs == []


def test_a_gene_list_limits_the_run_and_an_unknown_gene_is_named(opened):
    genes = opened.enhance.genes
    genes.which.setCurrentText(LISTED)
    wanted = [opened.desk.slide.genes.label(c) for c in (4, 2)]
    genes.list.setPlainText(", ".join(wanted))
    job = opened.run()
    assert job.result.genes.symbols.tolist() == wanted
    genes.list.setPlainText("NOSUCHGENE")
    opened.wait(lambda: "NOSUCHGENE" in opened.enhance.estimate.text())


def test_only_the_gene_in_view(opened):
    gene = str(opened.desk.slide.genes.ids[7])
    opened.desk.look(gene=gene)
    opened.enhance.genes.which.setCurrentText(IN_VIEW)
    assert opened.run().result.genes.ids.tolist() == [gene]


def test_a_grid_instead_of_subspots(opened):
    opened.enhance.subspots.setCurrentIndex(opened.enhance.subspots.count() - 1)
    opened.enhance.step.setValue(60.0)
    job = opened.run()
    assert job.result.targets.kind == "grid"
    assert np.sqrt(job.result.targets.area_um2[0]) == pytest.approx(60.0)


def test_parameters_stay_in_range_and_are_kept(opened, qtbot):
    from napari_stsr.viewer.panels.method_card import MethodCard

    steps = opened.enhance.card.params.field("steps")
    steps.setValue(0)
    assert steps.value() == 1
    assert "How long it takes" in steps.toolTip()
    steps.setValue(17)
    again = MethodCard()
    qtbot.addWidget(again)
    assert again.values() == {"steps": 17}


def test_copied_python_and_command_repeat_the_form(opened):
    opened.enhance.seed.setValue(5)
    opened.enhance.copy_python.click()
    python = QApplication.clipboard().text()
    compile(python, "copied", "exec")
    assert "method='fake'" in python
    assert "seed=5" in python
    opened.enhance.copy_command.click()
    command = QApplication.clipboard().text()
    assert command.startswith("napari-stsr enhance ")
    assert "--seed 5" in command


def test_the_curve_shows_the_newest_stage(qtbot):
    curve = LossCurve()
    qtbot.addWidget(curve)
    curve.resize(300, 120)
    reports = [Progress("first", s, 2, 0.1, {"training": 9.0}) for s in (1, 2)]
    reports += [
        Progress("second", s, 9, 0.5, {"training": 3.0 / s, "validation": 4.0 / s})
        for s in (1, 2, 3)
    ]
    curve.show_history([*reports, Progress("second", 4, 9, 0.6, {"training": float("nan")})])
    assert curve.lines["training"][:, 0].tolist() == [1, 2, 3]
    np.testing.assert_allclose(curve.lines["validation"][-1], [3, 4 / 3])
    assert not curve.grab().isNull()


def test_after_the_end_the_curve_shows_the_last_validated_stage(opened):
    job = opened.run()
    graph = [Progress("graph", 1, 2, 0.5, {"training": 2.0, "validation": 3.0})]
    job.history = [*graph, Progress("decoding", 1, 2, 0.9, {"training": 0.2})]
    assert history_shown(job) == graph


@given(st.lists(st.from_regex(r"[A-Za-z0-9.\-]+", fullmatch=True), max_size=8, unique=True))
def test_pasted_genes_come_back_in_order_whatever_parts_them(names):
    for between in (",", "\n", " ; ", "\t"):
        assert named_genes(between.join(names)) == tuple(names)


def test_time_left_is_said_in_minutes(opened):
    job = opened.run()
    job.state = "running"
    said = progress_words(job, Progress("graph", 3, 9, 0.333, {}, 75.0))
    assert said == "graph 33 % · 1 min 15 s left"


def test_a_copied_recipe_names_the_image_and_the_bin_size_it_was_opened_with() -> None:
    from dataclasses import replace

    from napari_stsr.slides.simulate import simulate_slide
    from napari_stsr.viewer.panels.enhance import opened_with

    slide = simulate_slide(shape=(8, 8), genes=20)
    assert slide.image is not None
    assert opened_with(slide) == {}
    given = replace(slide, image=replace(slide.image, path="he.tif", full_resolution=True))
    assert opened_with(given) == {"image": "he.tif"}
    bins = replace(slide, kind="visium-hd", image=None, diameter_um=8.0)
    assert opened_with(bins) == {"bin_um": 8.0}
