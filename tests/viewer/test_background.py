import threading

from napari_stsr.errors import InputError
from napari_stsr.viewer.background import Background


def test_only_the_newest_answer_is_delivered(qtbot):
    background, answers, gate = Background(), [], threading.Event()
    background.answered.connect(answers.append)
    background.ask(lambda: gate.wait(10) and "first")
    background.ask(lambda: "second")
    background.ask(lambda: "third")
    gate.set()
    qtbot.waitUntil(lambda: not background.busy)
    qtbot.wait(50)
    background.close()
    assert answers == ["third"]


def test_a_failure_arrives_in_words_and_nothing_is_raised(qtbot):
    background = Background()

    def fail() -> None:
        raise InputError("The file is empty.", "Choose another.")

    with qtbot.waitSignal(background.failed) as caught:
        background.ask(fail)
    background.close()
    assert caught.args[0].message == "The file is empty. Choose another."
    assert "InputError" in caught.args[0].details


def test_answers_come_in_the_thread_of_the_window(qtbot):
    background, seen = Background(), []
    background.answered.connect(lambda worker: seen.append((worker, threading.current_thread())))
    with qtbot.waitSignal(background.answered):
        background.ask(threading.current_thread)
    background.close()
    worker, receiver = seen[0]
    assert receiver is threading.main_thread()
    assert worker is not receiver


def test_a_forgotten_answer_never_comes(qtbot):
    background, answers, gate = Background(), [], threading.Event()
    background.answered.connect(answers.append)
    background.ask(lambda: gate.wait(10))
    background.forget()
    gate.set()
    qtbot.wait(100)
    background.close()
    assert answers == []
