import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_stsr.session import load_model
from napari_stsr.viewer.panels.gene_choice import LISTED
from napari_stsr.viewer.panels.kept import keep


def choose_task(window, task):
    window.enhance.task.setCurrentIndex(window.enhance.task.findData(task))


def use(window):
    """Press Use and wait for the end."""
    before = window.enhance.runs.list.count()
    window.enhance.models.use_button.click()
    window.wait(lambda: window.enhance.runs.list.count() > before)
    job = window.enhance.runs.current
    window.wait(lambda: job.ended)
    return job


def lines(window):
    listed = window.enhance.models.list
    return [listed.item(row).text() for row in range(listed.count())]


def said(window):
    return window.enhance.models.said.text()


def test_a_run_leaves_a_model_that_predicts_elsewhere_without_training(opened):
    box = opened.enhance.models
    assert not box.use_button.isEnabled()
    opened.run()
    opened.wait(lambda: len(lines(opened)) == 1)
    field = opened.desk.field
    assert lines(opened)[0].startswith("fake, auto · ")
    assert lines(opened)[0].endswith("30 genes")
    opened.enhance.subspots.setCurrentIndex(opened.enhance.subspots.count() - 1)
    opened.enhance.step.setValue(60.0)
    job = use(opened)
    assert job.state == "done"
    assert "fitted before" in job.label
    assert job.history == []
    assert job.result.targets.kind == "grid"
    opened.wait(lambda: opened.desk.result is job.result)
    assert len(lines(opened)) == 1
    # What was evaluated of its field is not evaluated again for another result.
    assert opened.desk.field is field


def test_a_model_predicts_on_the_device_that_is_chosen(opened):
    opened.run()
    opened.wait(lambda: len(lines(opened)) == 1)
    device = opened.enhance.device
    opened.wait(lambda: device.findData("cpu") >= 0)
    assert use(opened).run.device == "auto"
    device.setCurrentIndex(device.findData("cpu"))
    assert use(opened).run.device == "cpu"
    assert opened.run().run.device == "cpu"
    opened.wait(lambda: opened.desk.field.device == "cpu")


def test_save_list_load_use_and_remove(opened, tmp_path):
    box, path = opened.enhance.models, tmp_path / "deep" / "m.stsr"
    own = opened.run()
    opened.wait(lambda: len(lines(opened)) == 1)
    box.save(own.model, str(path))
    opened.wait(lambda: "Written" in said(opened))
    assert load_model(path).fit == own.model.fit
    box.remove_button.click()
    assert lines(opened) == []
    (path.parent / "broken.stsr").write_bytes(b"no model")
    box.look_in(str(path.parent))
    opened.wait(lambda: len(lines(opened)) == 1)
    assert lines(opened)[0].startswith("m.stsr: fake, auto")
    assert not box.save_button.isEnabled()
    job = use(opened)
    assert job.state == "done"
    np.testing.assert_array_equal(job.result.expression(), own.result.expression())
    assert job.result.provenance["model"]["file"] == "m.stsr"
    for button, words in (
        (box.copy_python, "stsr.load_model('m.stsr')"),
        (box.copy_command, "napari-stsr predict m.stsr --slide "),
    ):
        button.click()
        assert words in QApplication.clipboard().text()
    # The file is in memory now: one entry, not two.
    assert len(lines(opened)) == 1
    box.remove_button.click()
    assert lines(opened) == []
    assert path.is_file()
    box.load(str(path))
    opened.wait(lambda: len(lines(opened)) == 1)
    assert "Read: fake, auto" in said(opened)


def test_a_folder_is_kept_between_starts(opened, tmp_path, qtbot):
    from napari_stsr.session import save_model
    from napari_stsr.viewer.panels.models_box import ModelsBox

    save_model(opened.run().model, tmp_path / "m.stsr")
    keep("models/folder", str(tmp_path))
    opened.desk.workspace.models.clear()
    again = ModelsBox(opened.desk)
    again.setParent(opened.enhance.body)
    opened.wait(lambda: again.list.count() == 1)
    keep("models/folder", str(tmp_path / "gone"))
    gone = ModelsBox(opened.desk)
    gone.setParent(opened.enhance.body)
    qtbot.wait(200)
    assert gone.list.count() == 0
    assert gone.said.text() == ""


def test_a_saved_model_stays_in_the_list_on_another_slide(opened, tmp_path, slide):
    box = opened.enhance.models
    keep("models/folder", str(tmp_path))
    own = opened.run()
    opened.wait(lambda: len(lines(opened)) == 1)
    box.save(own.model, str(tmp_path / "kept.stsr"))
    opened.wait(lambda: "Written" in said(opened))
    opened.desk.adopt(slide.take(np.arange(60)))
    opened.wait(lambda: [line[:9] for line in lines(opened)] == ["kept.stsr"])


def test_what_does_not_fit_is_told_in_words(opened, tmp_path, slide):
    box = opened.enhance.models
    (tmp_path / "x.stsr").write_bytes(b"no model")
    box.load(str(tmp_path / "x.stsr"))
    opened.wait(lambda: "is no model" in said(opened))
    model = opened.run().model
    genes = opened.enhance.genes
    genes.which.setCurrentText(LISTED)
    names = [str(name) for name in slide.genes.ids[:2]]
    genes.list.setPlainText(names[0])
    few = opened.run().model
    assert few.genes.ids.tolist() == names[:1]
    opened.wait(lambda: len(lines(opened)) == 2)
    genes.list.setPlainText(" ".join(names))
    box.list.setCurrentRow(1)
    box.use_button.click()
    opened.wait(lambda: opened.enhance.runs.message.isVisibleTo(opened.enhance))
    assert f"not in this model: {names[1]}" in opened.enhance.runs.message.text()
    opened.desk.adopt(slide.take(np.arange(40)))
    assert lines(opened) == []
    assert model.fitted is not None


def test_another_slide_refuses_a_loaded_model(opened, tmp_path, slide):
    from dataclasses import replace

    from napari_stsr.session import save_model

    save_model(opened.run().model, tmp_path / "m.stsr")
    moved = replace(slide, name="moved", coordinates=slide.coordinates + 77.0)
    opened.desk.adopt(moved)
    opened.enhance.models.load(str(tmp_path / "m.stsr"))
    opened.wait(lambda: len(lines(opened)) == 1)
    opened.enhance.models.use_button.click()
    opened.wait(lambda: opened.enhance.runs.message.isVisibleTo(opened.enhance))
    assert "on moved 120 of its 120 spots lie elsewhere" in opened.enhance.runs.message.text()
    assert opened.desk.workspace.results == []


@pytest.mark.parametrize(("task", "name"), [("denoise", "denoised"), ("impute", "zeros filled in")])
def test_tasks_at_the_measured_spots(opened, task, name):
    free = opened.enhance.subspots
    assert free.isEnabled()
    choose_task(opened, task)
    assert not free.isEnabled()
    assert "works at the measured locations" in free.toolTip()
    job = opened.run()
    assert job.plan.task == task
    assert job.result.targets.ids.tolist() == opened.desk.slide.barcodes.tolist()
    opened.wait(lambda: any(name in layer for layer in opened.layer_names()))
    opened.enhance.copy_command.click()
    assert QApplication.clipboard().text().startswith(f"napari-stsr {task} ")
    opened.enhance.copy_python.click()
    assert f"stsr.{task}(" in QApplication.clipboard().text()
    choose_task(opened, "enhance")
    assert free.isEnabled()
