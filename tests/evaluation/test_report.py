"""The report: one page that holds everything, says it in words, and needs no network."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_stsr.errors import RunError
from napari_stsr.evaluation import (
    Evaluation,
    EvaluationPlan,
    Opening,
    evaluate,
    evaluate_command,
    evaluate_python,
    report_html,
    write_report,
)
from napari_stsr.slides import Check
from napari_stsr.slides.simulate import simulate_slide
from tests.evaluation.contestants import contestants

METHODS = ["ours", "gene_mean", "nearest", "uniform_split", "refusing"]


@pytest.fixture(scope="module")
def found() -> Iterator[Evaluation]:
    slide = simulate_slide("realistic", "square", (12, 12), 40, seed=2, image=False)
    with contestants():
        plan = EvaluationPlan(
            ["hidden-spots", "superspots-split"], METHODS, 2, ["SIM007"], scored=20, draws=30
        )
        yield evaluate(slide, plan)


class _Page(HTMLParser):
    """What a browser would load, run and show."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, given: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        held = dict(given)
        self.loaded += [str(held[name]) for name in ("src", "href", "xlink:href") if name in held]
        if tag == "img":
            self.images.append(held)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def written(found: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a report and its numbers."""
    folder = tmp_path_factory.mktemp("report")
    write_report(found, folder / "r.html", folder / "r.json")
    return folder


@pytest.fixture(scope="module")
def html(written: Path) -> str:
    return (written / "r.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> _Page:
    made = _Page()
    made.feed(html)
    return made


def test_nothing_is_loaded_from_anywhere(html: str, page: _Page) -> None:
    assert {one.partition(",")[0] for one in page.loaded if not one.startswith("#")} == {
        "data:image/png;base64"
    }
    assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest", html)


def test_the_plain_sentence_comes_first(found: Evaluation, page: _Page) -> None:
    text = " ".join(" ".join(page.words).split())
    said = found.sentence()
    after = text[text.index("Evaluation of simulated square slide", 60) :]
    assert text.count(said) >= 2
    assert after.index(said) < after.index("genes were kept")
    for task in found.tasks:
        for form in found.forms(task):
            assert found.sentence(task, form) in text


def test_all_methods_stand_in_the_table_with_their_intervals(
    found: Evaluation, page: _Page
) -> None:
    text = "".join(page.words)
    for row in found.summary().to_dict(orient="records"):
        written = f"{row['r_log']:.3f} [{row['r_log_low']:.3f}, {row['r_log_high']:.3f}]"
        assert written in text
    # No line may end between a sign and its word.
    assert "●\u00a0method" in text
    assert "■\u00a0baseline" in text


def test_who_gave_no_answer_is_named_with_the_reason(page: _Page) -> None:
    text = " ".join(page.words)
    assert "There is no second slide. Open one." in text
    assert "not applicable" in text


def test_maps_show_the_best_middle_worst_and_named_genes(found: Evaluation, page: _Page) -> None:
    spoken = [str(image["alt"]) for image in page.images]
    table = found.genes("hidden-spots")["ours"].dropna().sort_values()
    assert any(table.index[-1] in words for words in spoken[:2])
    symbol = found.genes("hidden-spots").loc["SIM007", "symbol"]
    assert any(str(symbol) in words for words in spoken)
    assert len(spoken) == len(set(spoken))
    picture = base64.b64decode(str(page.images[0]["src"]).partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    assert pixels.shape[1] > 900
    coloured = (np.ptp(pixels, axis=2) > 40).mean()
    assert coloured > 0.1


def test_light_dark_and_print_are_all_cared_for(html: str) -> None:
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    figures = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(figures) >= 6
    assert all("var(--ink)" in one and "<title>" in one for one in figures)
    assert not any("#010101" in one or "#040404" in one for one in figures)


def test_what_is_needed_to_repeat_it_is_there(found: Evaluation, page: _Page) -> None:
    text = " ".join(page.words)
    assert "napari-stsr evaluate" in text
    assert "--protocol hidden-spots,superspots-split" in text
    assert found.slide["fingerprint"] in text
    assert f"numpy {np.__version__}" in text


def test_an_evaluation_without_any_answer_still_makes_a_page_and_names_are_text() -> None:
    slide = simulate_slide("realistic", "square", (8, 8), 20, seed=2, image=False)
    named = replace(slide, name="<script>alert(1)</script>")
    with contestants():
        nothing = evaluate(named, EvaluationPlan(["hidden-spots"], ["refusing"], 1))
        text = report_html(nothing)
    assert "Nothing could be evaluated. There is no second slide." in text
    assert "<script>alert" not in text


def test_what_is_wrong_with_the_slide_stands_above_the_figures() -> None:
    slide = simulate_slide("realistic", "square", (8, 8), 20, seed=2, image=False)
    checks = (
        Check("problem", "Half of the spots lie off the image.", "Register it."),
        Check("notice", "No gene symbols."),
        Check("good", "The lattice is regular."),
    )
    with contestants():
        plan = EvaluationPlan(["hidden-spots"], ["nearest"], 1, draws=20)
        text = report_html(evaluate(replace(slide, checks=checks), plan))
    problem = text.index("Half of the spots lie off the image. Register it.")
    assert "Problem:" in text[:problem]
    assert text.index("No gene symbols.") < text.index("<table")
    assert "The lattice is regular." not in text


def test_the_same_numbers_are_written_for_programs(found: Evaluation, written: Path) -> None:
    told = json.loads((written / "r.json").read_text(encoding="utf-8"))
    assert told["sentence"] == found.sentence()
    assert len(told["summary"]) == len(found.summary())


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    slide = simulate_slide("realistic", "square", (8, 8), 20, seed=2, image=False)
    (tmp_path / "file").write_text("")
    with contestants():
        nothing = evaluate(slide, EvaluationPlan(["hidden-spots"], ["refusing"], 1))
        with pytest.raises(RunError, match="Could not write"):
            write_report(nothing, tmp_path / "file" / "r.html")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_recipe_names_what_is_not_usual() -> None:
    with contestants():
        plan = EvaluationPlan(["hidden-spots"], ["ours:fast", "nearest"], 3, ["A", "B"], seed=4)
        opening = Opening("my slide/outs", bin_um=8.0)
        command = evaluate_command(plan, opening, "r.html", jobs=2)
        lines = evaluate_python(plan, opening)
    assert command == (
        "napari-stsr evaluate 'my slide/outs' --protocol hidden-spots --methods ours:fast,nearest "
        "--genes A,B --folds 3 --seed 4 --bin-um 8.0 --jobs 2 --output r.html"
    )
    compile(lines, "recipe", "exec")
    assert "Contender('ours', 'fast', {}, 'fast')" in lines
