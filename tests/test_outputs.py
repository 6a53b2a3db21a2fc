"""No verb writes over what it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_stsr.cli import main
from napari_stsr.cli.enhance import named_genes
from napari_stsr.cli.outputs import check_output
from napari_stsr.errors import InputError
from napari_stsr.slides.simulate import simulate_slide
from napari_stsr.slides.writing import write_slide


@pytest.fixture
def outs(tmp_path: Path) -> Path:
    slide = simulate_slide(shape=(6, 6), genes=8, domains=2, image=False)
    folder = tmp_path / "outs"
    write_slide(slide, folder)
    return folder


def test_an_input_is_never_the_output(tmp_path: Path) -> None:
    table = tmp_path / "at.csv"
    table.write_text("target_id,x,y\n")
    with pytest.raises(InputError, match="would replace what is read"):
        check_output(table, (tmp_path / "outs", table))
    with pytest.raises(InputError, match="would replace what is read"):
        check_output(tmp_path, (table,))


def test_a_file_inside_the_slide_is_kept_and_a_new_one_is_allowed(outs: Path) -> None:
    kept = next(path for path in outs.rglob("*") if path.is_file())
    with pytest.raises(InputError, match="would replace"):
        check_output(kept, (outs,))
    check_output(outs / "enhanced.h5ad", (outs, None, "GENE1,GENE2"))


@pytest.mark.parametrize(
    "more",
    [["--output", "r.txt"], ["--output", "r.html", "--json", "r.html"], ["--output", "outs"]],
)
def test_evaluate_writes_pages_and_json_only(
    outs: Path, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(outs.parent)
    before = sorted(outs.rglob("*"))
    assert main(["evaluate", "outs", "--methods", "gene_mean", *more]) == 2
    assert sorted(outs.rglob("*")) == before


def test_pool_replaces_no_folder_that_holds_anything(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"c{i},{x:.2f},{y:.2f},{n}" for i, (x, y, n) in enumerate(
        zip(*rng.uniform(0, 900, (2, 400)), rng.integers(0, 9, 400), strict=True)
    )]  # fmt: skip
    cells, mine = tmp_path / "cells.csv", tmp_path / "mine"
    cells.write_text("\n".join(["cell_id,x_um,y_um,g0", *rows]))
    mine.mkdir()
    (mine / "provenance.json").write_text("{}")
    (mine / "thesis.txt").write_text("years of work")
    assert main(["pool", str(cells), "--as", "bins", "--um", "50", "--output", str(mine)]) == 2
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_a_long_list_of_genes_is_no_file_name() -> None:
    genes = tuple(f"GENE{i:03d}" for i in range(80))
    assert named_genes(",".join(genes)) == genes
