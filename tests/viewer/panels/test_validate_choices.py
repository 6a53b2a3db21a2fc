"""The form of a validation by itself: what it offers, and that it is kept."""

from __future__ import annotations

from typing import Any

import pytest

from napari_stsr.viewer.panels.validate_choices import ValidateChoices
from tests.evaluation.contestants import Ours, contestants


@pytest.fixture
def choices(qtbot: Any) -> Any:
    """The form with three cheap methods."""
    with contestants():
        form = ValidateChoices()
        qtbot.addWidget(form)
        form.methods.tick(["ours", "nearest", "gene_mean"])
        form.folds.setValue(2)
        yield form


def chosen(form: ValidateChoices, preset: str) -> list[str]:
    """Titles of the methods with a preset chosen."""
    form.preset.setCurrentIndex(form.preset.findData(preset))
    return [one.title for one in form.plan().methods]


def test_choices_are_kept_between_starts(choices: Any, qtbot: Any) -> None:
    choices.named.setText("A, B")
    choices.named.editingFinished.emit()
    assert chosen(choices, "fast")[0] == "Ours (fast)"
    again = ValidateChoices()
    qtbot.addWidget(again)
    assert again.plan().described() == choices.plan().described()
    assert again.plan().folds == 2


def test_presets_of_all_methods_are_offered_and_others_take_auto(
    qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ours, "presets", {**Ours.presets, "bare": {"steps": 2}})
    with contestants():
        form = ValidateChoices()
        qtbot.addWidget(form)
        form.methods.tick(["ours", "nearest"])
        offered = [form.preset.itemData(at) for at in range(form.preset.count())]
        assert sorted(offered) == ["auto", "bare", "fast", "paper"]
        assert form.preset.currentData() == "auto"
        assert chosen(form, "bare") == ["Ours (bare)", "Nearest"]
