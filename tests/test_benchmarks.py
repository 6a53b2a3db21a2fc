"""Pages the benchmarks write: means that can be compared, and nothing that is left out unsaid."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from napari_stsr.evaluation import EvaluationPlan, evaluate
from napari_stsr.slides.simulate import simulate_slide
from tests.evaluation.contestants import contestants


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a script of the benchmarks as they import each other."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    before = set(sys.modules)
    yield import_module
    for name in set(sys.modules) - before:
        if "napari_stsr" not in name and "benchmarks" in str(
            getattr(sys.modules[name], "__file__", "")
        ):
            del sys.modules[name]


def test_means_are_over_sets_that_all_methods_answered(script: Any) -> None:
    page = script("accuracy_page")
    rows = pd.DataFrame(
        [("A", "set 1", 0.8), ("A", "set 2", None), ("B", "set 1", 0.6), ("B", "set 2", 0.0)],
        columns=["title", "set", "ari"],
    ).astype({"ari": float})
    told = "\n".join(page._further(rows, ["set 1", "set 2"]))
    assert "| method | ARI (set 1) |" in told
    assert "| A | 0.8 |" in told
    assert "| B | 0.6 |" in told


def test_the_page_of_the_benchmark_tells_who_leads_and_who_is_missing(
    script: Any, tmp_path: Path
) -> None:
    page = script("accuracy_page")
    (tmp_path / "images").mkdir()
    with contestants():
        done = {
            name: [
                evaluate(
                    simulate_slide("realistic", "square", (10, 12), 40, seed=seed, image=False),
                    EvaluationPlan(["hidden-spots", "noise"], methods, 2, scored=20, draws=30),
                )
            ]
            for seed, (name, methods) in enumerate(
                {"one": ["ours", "nearest", "gene_mean"], "two": ["nearest", "refusing"]}.items()
            )
        }
        page.write_page(tmp_path / "page.md", done, "python accuracy.py", (2, 1))
    told = (tmp_path / "page.md").read_text()
    assert "### Ours beside the best baseline" in told
    lead = next(line for line in told.splitlines() if line.startswith("| hidden-spots | "))
    assert lead.endswith("| – |")
    assert "nan" not in told
    assert told.count("*ceiling*") == 1
    assert "**refusing**, not applicable: There is no second slide." in told
    assert (tmp_path / "images" / "benchmark.svg").is_file()


def test_squares_tables_hold_every_row_and_go_on_where_they_stopped(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = script("square_tables")
    monkeypatch.setattr(tables, "ROWS", {"Factor kernel": ("factor_kernel", {})})
    asked = Namespace(side=6, genes=40, preset="fast", kinds=["realistic"], folder=tmp_path)
    first = tables.worked("realistic", 0, asked)
    named = ["Uniform split", "Noise-free mean", "Factor kernel", "Factor kernel, conserved"]
    assert first["row"].tolist() == named
    by_row = first.set_index("row")
    assert by_row.loc["Noise-free mean", "mse_mean"] == 0
    assert by_row.loc["Noise-free mean", "within"] == pytest.approx(1)
    assert by_row.loc["Uniform split", "within"] == 0
    assert by_row.loc["Factor kernel", "border"] > 0
    monkeypatch.setattr(tables, "_rows", lambda *_: pytest.fail("worked again"))
    pd.testing.assert_frame_equal(tables.worked("realistic", 0, asked), first)
    told = tables.page({"realistic": first}, 1, asked)
    assert "--kinds realistic" in told
    assert "| Factor kernel, conserved |" in told


def test_suicas_tables_tell_all_columns_and_go_on_where_they_stopped(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = script("suica_tables")
    slide = simulate_slide("realistic", "square", (10, 12), 40, seed=1, image=False)
    monkeypatch.setattr(tables, "restricted", lambda data, name, genes: slide)
    rows = {row: tables.ROWS[row] for row in ("Factor kernel", "Gene mean")}
    asked = Namespace(data=tmp_path, genes=40, folder=tmp_path, seed=0, sets=["one"])
    first = tables.judged(asked, "one", "hidden-spots", rows, 0)
    assert first.loc["Factor kernel", "gene_r"] > 0.1
    assert first.loc["Gene mean", "gene_r"] == 0
    assert first.loc["Factor kernel", "mse"] < first.loc["Gene mean", "mse"]
    again = tables.judged(asked, "one", "hidden-spots", rows, 0)
    pd.testing.assert_frame_equal(again, first)  # to the CPU-second: read, not worked again
    assert tables.judged(asked, "one", "hidden-spots", rows, 1).loc["Factor kernel", "mse"] > 0
    lines = tables.table(first, first * 0.1).splitlines()
    assert lines[0].startswith("| | MAE | MSE | cosine |")
    assert lines[2].startswith("| Factor kernel | **")
    assert " ± " in lines[2]
