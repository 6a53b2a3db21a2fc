"""The method list: what can be chosen, in which order, and what the card says."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_stsr.methods import get_method, method_names
from napari_stsr.viewer.panels.kept import keep
from napari_stsr.viewer.panels.method_card import MethodCard, card


@pytest.fixture
def method_card(qtbot):
    made = MethodCard()
    qtbot.addWidget(made)
    return made


def entries(choice) -> list[tuple[str, str | None]]:
    return [(choice.itemText(row), choice.itemData(row)) for row in range(choice.count())]


def test_methods_stand_under_the_heading_of_their_family(method_card):
    family, found = None, {}
    for text, name in entries(method_card.method_choice):
        if name is None:
            family = text or family
        else:
            found.setdefault(family, set()).add(get_method(name).family)
    assert found == {
        "Methods": {"method"},
        "Baselines to judge by": {"baseline"},
        "Our implementations of peers": {"peer"},
    }


def test_the_keyboard_goes_through_all_methods_and_no_heading(method_card):
    choice = method_card.method_choice
    choice.setCurrentIndex(choice.findData(method_names()[0]))
    visited = [choice.currentData()]
    while True:
        QTest.keyClick(choice, Qt.Key.Key_Down)
        if choice.currentData() == visited[-1]:
            break
        visited.append(choice.currentData())
        assert method_card.method.name == visited[-1]
    assert visited == list(method_names())
    QTest.keyClick(choice, Qt.Key.Key_Home)
    assert choice.currentData() == method_names()[0]


def test_a_kept_method_that_is_gone_leaves_a_method_chosen(qtbot):
    keep("enhance/method", "no longer installed")
    made = MethodCard()
    qtbot.addWidget(made)
    assert made.method.name == method_names()[0]


def test_the_card_says_what_is_a_baseline_and_what_is_ours():
    assert "A baseline" in card(get_method("factor_kernel"))
    assert "not the authors" in card(get_method("bayesspace"))
    assert "A baseline" not in card(get_method("square"))
