"""The Validate panel, driven as a user would, with cheap methods on a small slide."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from scipy import sparse

from napari_stsr.evaluation.joined import JoinedMap
from napari_stsr.evaluation.outcome import Map
from napari_stsr.methods.baselines import GeneMean, Nearest
from napari_stsr.slides import Counts
from napari_stsr.slides.simulate import simulate_slide
from napari_stsr.viewer.panels.validate_choices import ValidateChoices
from tests.evaluation.contestants import Breaking, Ours, Refusing, contestants
from tests.test_imports import brought_in

MAPS = ("hidden", "predicted", "error")


class Waiting(Ours):
    """Fits as long as its gate is shut."""

    name = "waiting"
    title = "Waiting"
    gate: ClassVar[threading.Event] = threading.Event()

    def fit(self, slide: Any, params: Any, run: Any, genes: Any = None) -> Any:
        while not self.gate.wait(0.01):
            run.cancel.check()
        return (yield from super().fit(slide, params, run, genes))


@pytest.fixture
def method() -> Iterator[type[Ours]]:
    """Methods installed while the window is open, in place of the fake one."""
    Waiting.gate.clear()
    with contestants(Ours, Waiting, GeneMean, Nearest, Refusing, Breaking) as kind:
        yield kind
    Waiting.gate.set()


@pytest.fixture
def panel(opened) -> Any:
    choices = opened.validate.choices
    choices.methods.tick(["ours", "nearest", "gene_mean"])
    choices.folds.setValue(2)
    choices.scored.setValue(20)
    return opened.validate


@pytest.fixture
def validated(opened, panel) -> Any:
    run(opened)
    opened.wait(lambda: opened.desk.evaluation is not None)
    return panel


def run(window: Any) -> Any:
    """Press Run and wait for the end."""
    panel = window.validate
    before = panel.runs.list.count()
    panel.runs.run_button.click()
    window.wait(lambda: panel.runs.list.count() > before)
    job = panel.runs.current
    window.wait(lambda: job.ended)
    return job


def shown(window: Any) -> list[str]:
    layers = {kind: window.desk.scene.layer(kind) for kind in ("measured", *MAPS)}
    return [kind for kind, layer in layers.items() if layer is not None and layer.visible]


def test_a_run_ends_in_the_sentence_the_table_and_the_plots(opened, validated):
    found = opened.desk.evaluation
    result = validated.result
    assert found.sentence().split(";")[0] in result.sentence.text()
    assert found.in_counts("hidden-spots") in result.in_counts.text()
    words = result.table.words()
    best = found.summary().sort_values("r_log", ascending=False)
    assert [row[0][2:] for row in words] == best["title"].tolist()
    assert [row[1] for row in words] == [f"{r:.3f}" for r in best["r_log"]]
    assert result.scores.ceiling == found.ceiling("hidden-spots")
    assert len(result.genes.table) == len(found.genes("hidden-spots"))
    assert not result.scores.grab().isNull()
    assert not result.genes.grab().isNull()
    assert not validated.asked.content.isVisibleTo(validated)


def test_the_table_sorts_by_number(validated):
    table = validated.result.table
    names = [table.horizontalHeaderItem(at).text() for at in range(table.columnCount())]
    at = names.index("RMSE")
    table.sortItems(at, Qt.SortOrder.AscendingOrder)
    values = [float(table.item(row, at).text()) for row in range(table.rowCount())]
    assert values == sorted(values)
    table.show_rows(
        [
            {"method": n, "title": n, "family": "peer", "answered": "predicted", "r_log": r}
            | dict.fromkeys(("r_log_low", "r_log_high", "r_raw", "rmse_sd"), 0.5)
            | {"r_log_of_ceiling": np.nan, "within_r": np.nan, "seconds": 2.0}
            for n, r in (("a", 0.9), ("b", -0.1), ("c", np.nan), ("d", -0.02))
        ]
    )
    assert [row[0] for row in table.words()] == ["▲ a", "▲ d", "▲ b", "▲ c"]
    assert table.isColumnHidden(names.index("ceiling"))


def test_what_the_slide_cannot_do_is_greyed_with_the_reason(opened, panel):
    listed = panel.choices.protocols
    item = listed.item_of("hd-bins")
    opened.wait(lambda: not item.flags() & Qt.ItemFlag.ItemIsEnabled)
    assert "bins" in item.toolTip()
    assert listed.item_of("hidden-blocks").flags() & Qt.ItemFlag.ItemIsEnabled
    listed.tick(["hidden-spots", "hd-bins"])
    assert panel.choices.plan().protocols == ("hidden-spots",)


def test_the_estimate_comes_before_the_start(opened, panel):
    opened.wait(lambda: "Estimate: about" in panel.estimate.text())
    assert "6 fits" in panel.estimate.text()
    panel.choices.methods.tick([])
    opened.wait(lambda: "No method is ticked." in panel.estimate.text())
    panel.runs.run_button.click()
    assert "No method is ticked." in panel.runs.message.text()
    assert panel.runs.list.count() == 0


def test_cancel_stops_keeps_what_is_finished_and_the_next_run_goes_on(opened, panel, method):
    panel.choices.methods.tick(["ours", "waiting", "gene_mean"])
    panel.runs.run_button.click()
    opened.wait(lambda: panel.runs.current is not None and panel.runs.current.progress is not None)
    job = panel.runs.current
    opened.wait(lambda: "Waiting" in job.progress.stage)
    opened.explore.finder.field.setText("the window is alive")
    panel.runs.cancel_button.click()
    opened.wait(lambda: job.ended, 1000)
    assert job.state == "cancelled"
    opened.wait(lambda: "cancelled" in panel.runs.list.item(0).text())
    assert opened.desk.evaluation is None
    fits = len(method.fits)
    Waiting.gate.set()
    assert run(opened).state == "done"
    # Two folds of Waiting, and the second fold of Ours.
    assert len(method.fits) == fits + 3


def test_pause_waits_and_resume_goes_on(opened, panel, qtbot):
    panel.choices.methods.tick(["waiting", "gene_mean"])
    panel.runs.run_button.click()
    opened.wait(lambda: panel.runs.current is not None)
    job = panel.runs.current
    panel.runs.pause_button.click()
    Waiting.gate.set()
    qtbot.wait(100)
    assert not job.ended
    panel.runs.pause_button.click()
    opened.wait(lambda: job.state == "done")


def test_who_cannot_or_fails_is_told_in_words_and_the_others_are_shown(opened, panel):
    panel.choices.methods.tick(["ours", "nearest", "refusing", "breaking"])
    run(opened)
    opened.wait(lambda: opened.desk.evaluation is not None)
    said = panel.result.refused.text()
    assert "Refusing, Hidden spots, 2 folds: not applicable." in said
    assert "There is no second slide. Open one." in said
    assert "Breaking, Hidden spots, 2 folds: failed." in said
    assert "wires crossed" in said
    assert len(panel.result.table.words()) == 2


def test_where_nobody_answers_the_reason_is_the_sentence(opened, panel):
    panel.choices.methods.tick(["refusing"])
    run(opened)
    opened.wait(lambda: opened.desk.evaluation is not None)
    assert "There is no second slide." in panel.result.sentence.text()
    assert not panel.result.table.isVisibleTo(panel)
    assert not panel.result.maps.isVisibleTo(panel)


@pytest.mark.parametrize(
    ("unfit", "said"),
    [
        (lambda slide: slide.take(np.arange(20)), "too few"),
        (
            lambda slide: slide.with_counts(
                Counts(sparse.csr_matrix(slide.counts.shape, dtype=np.float32))
            ),
            "holds no counts",
        ),
    ],
)
def test_a_slide_that_cannot_be_validated_is_refused_in_words(opened, panel, slide, unfit, said):
    opened.desk.adopt(unfit(slide))
    opened.wait(lambda: said in panel.estimate.text())
    panel.runs.run_button.click()
    opened.wait(lambda: said in panel.runs.message.text())
    assert opened.desk.workspace.queue.jobs == []
    assert panel.runs.run_button.isEnabled()


def test_a_click_on_a_gene_shows_its_maps_one_at_a_time(opened, validated):
    opened.show()
    plot, found = validated.result.genes, opened.desk.evaluation
    place = plot.places()[7]
    QTest.mouseClick(plot, Qt.MouseButton.LeftButton, pos=QPoint(*map(round, place)))
    picked = str(validated.result.maps.gene.currentData())
    assert abs(plot.places()[plot.table.index.get_loc(picked)] - place).max() <= 1
    symbol = found.genes("hidden-spots").loc[picked, "symbol"]
    names = opened.layer_names()
    for name in ("measured (hidden)", "predicted by Ours", "error of Ours"):
        assert f"{symbol} · {name}" in names
    for kind in MAPS:
        validated.result.maps.kinds[kind].click()
        assert shown(opened) == [kind]
    truth, predicted, error = (values(opened.desk.scene.layer(kind)) for kind in MAPS)
    np.testing.assert_allclose(error, predicted - truth, atol=1e-3)
    measured = opened.desk.slide.counts
    raw = measured.column(opened.desk.slide.genes.column(picked))
    layer = opened.desk.scene.layer("hidden")
    order = [np.abs(opened.desk.slide.coordinates[:, ::-1] - p).sum(1).argmin() for p in layer.data]
    # Two fifths of the locations were hidden, and the map is what was counted there.
    assert (
        len(set(order))
        == len(order)
        == pytest.approx(0.4 * opened.desk.slide.in_tissue.sum(), abs=2)
    )
    assert ((truth > 0) == (raw[order] > 0)).all()


def values(layer: Any) -> np.ndarray:
    return layer.features["value"].to_numpy()


def test_maps_go_when_asked_and_make_way_for_the_next_gene(opened, validated):
    maps = validated.result.maps
    maps.choose(str(maps.gene.itemData(0)))
    assert shown(opened) == ["predicted"]
    opened.desk.look(gene=str(opened.desk.slide.genes.ids[3]))
    opened.wait(lambda: shown(opened) == ["measured"])
    maps.show_maps("error")
    assert shown(opened) == ["error"]
    maps.remove.click()
    assert shown(opened) == ["measured"]
    assert not any("hidden" in name for name in opened.layer_names())


def test_maps_of_another_method_and_of_another_task(opened, panel):
    panel.choices.protocols.tick(["hidden-spots", "hidden-blocks"])
    run(opened)
    opened.wait(lambda: opened.desk.evaluation is not None)
    result = panel.result
    maps = result.maps
    maps.choose(str(maps.gene.itemData(0)))
    row = [row[0] for row in result.table.words()].index("■ Nearest")
    result.table.selectRow(row)
    assert any("predicted by Nearest" in name for name in opened.layer_names())
    result.task.setCurrentIndex(result.task.findData("hidden-blocks"))
    assert opened.desk.scene.layer("predicted") is None
    said = opened.desk.evaluation.sentence("hidden-blocks")
    assert said.split(";")[0] in result.sentence.text()


def test_the_list_of_genes_says_how_well_each_can_be_predicted(opened, validated):
    table = opened.desk.evaluation.genes("hidden-spots")
    gene = str(table.index[4])
    finder = opened.explore.finder
    finder.field.setText(str(opened.desk.slide.genes.symbols[opened.desk.slide.genes.column(gene)]))
    item = next(i for i in finder._items() if i.data(Qt.ItemDataRole.UserRole) == gene)
    r, ceiling = table.loc[gene, ["ours", "ceiling"]]
    assert item.text().endswith(f"   r {r:.2f} of {ceiling:.2f}")


def test_the_report_is_saved_and_a_bad_place_is_told(opened, validated, tmp_path):
    box = validated.result.report
    path = tmp_path / "report.html"
    box.write(str(path))
    opened.wait(lambda: "Written" in box.said.text())
    assert opened.desk.evaluation.sentence()[:30] in path.read_text(encoding="utf-8")
    (tmp_path / "no folder").touch()
    box.write(str(tmp_path / "no folder" / "report.html"))
    opened.wait(lambda: "no folder" in box.said.text())
    assert box.save.isEnabled()


def test_copied_python_and_command_make_the_same_report(validated):
    box = validated.result.report
    box.copy_python.click()
    python = QApplication.clipboard().text()
    compile(python, "copied", "exec")
    assert "folds=2" in python
    box.copy_command.click()
    command = QApplication.clipboard().text()
    assert command.startswith("napari-stsr evaluate ")
    assert "--folds 2" in command


def test_the_device_is_chosen_and_kept_and_reaches_the_methods(opened, panel, method, qtbot):
    box = panel.choices.device
    opened.wait(lambda: box.findData("cpu") > 0)
    assert panel.choices.plan().device == "auto"
    box.setCurrentIndex(box.findData("cpu"))
    box.activated.emit(box.currentIndex())
    assert run(opened).state == "done"
    opened.wait(lambda: opened.desk.evaluation is not None)
    assert opened.desk.evaluation.plan.device == "cpu"
    panel.result.report.copy_command.click()
    assert "--device cpu" in QApplication.clipboard().text()
    again = ValidateChoices()
    qtbot.addWidget(again)
    again.device.look()
    opened.wait(lambda: again.plan().device == "cpu")


def test_parameters_set_in_enhance_take_part_when_asked(opened, panel, method):
    card = opened.enhance.card
    card.method_choice.setCurrentIndex(card.method_choice.findData("ours"))
    card.params.field("steps").setValue(6)
    assert not panel.choices.plan().methods[-1].values
    panel.choices.as_set.setChecked(True)
    ours = next(one for one in panel.choices.plan().methods if one.method == "ours")
    assert (ours.values, ours.title) == ({"steps": 6}, "Ours (as set)")
    assert run(opened).state == "done"
    opened.wait(lambda: opened.desk.evaluation is not None)
    assert method.fits == [6, 6]
    panel.result.report.copy_command.click()
    assert "--set ours.steps=6" in QApplication.clipboard().text()


def test_maps_of_a_gene_that_is_everywhere_use_all_colours():
    rng = np.random.default_rng(0)
    truth = rng.normal(6.0, 0.3, (400, 1)).astype(np.float16)
    truth[:8] = 0
    corners = np.array([[-5.0, -5.0], [5.0, 5.0]])
    one = Map("t", 0, True, rng.random((400, 2)), corners, ("g",), truth, truth / 2 + np.float16(3))
    found = JoinedMap.of([one], "g")
    low, high = found.limits()
    assert 5 < low < 6 < high < 7.5
    assert found.error_limits() == (low - high, high - low)
    # A gene in few places starts at zero, and is not drawn on the scale of its zeros.
    rare = replace(one, truth=np.where(truth > 6.5, truth, 0), predicted=0 * truth)
    low, high = JoinedMap.of([rare], "g").limits()
    assert low == 0
    assert high > 6
    assert JoinedMap.of([one], "other") is None


def test_an_earlier_validation_comes_back_from_the_list(opened, validated):
    first = opened.desk.evaluation
    validated.choices.seed.setValue(3)
    run(opened)
    opened.wait(lambda: opened.desk.evaluation is not first)
    validated.runs.list.itemClicked.emit(validated.runs.list.item(0))
    assert opened.desk.evaluation is first
    assert first.sentence().split(";")[0] in validated.result.sentence.text()


def test_another_slide_takes_result_maps_and_notes_away(opened, validated):
    validated.result.maps.choose(str(validated.result.maps.gene.itemData(0)))
    other = replace(simulate_slide(shape=(8, 8), genes=12, seed=5), name="other")
    opened.desk.adopt(other)
    assert not validated.result.isVisibleTo(validated)
    assert not {"hidden", "predicted", "error"} & set(shown(opened))
    assert not any("hidden" in name for name in opened.layer_names())
    items = [opened.explore.finder.list.item(i).text() for i in range(3)]
    assert not any(" r " in text for text in items)


def test_nothing_is_left_on_disk_when_the_window_closes(opened, validated):
    folder = Path(opened.desk.workspace._finished.name)
    assert any(folder.iterdir())
    opened.desk.close()
    assert not folder.exists()


def test_the_panel_imports_no_plotting_and_no_cluster():
    name = "napari_stsr.viewer.panels.validate"
    brought = set(brought_in([name])[name])
    assert not {"matplotlib", "distributed", "dask.distributed", "torch", "anndata"} & brought
