"""``napari-stsr evaluate`` from words to files and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import napari_stsr.slides.readers as readers
from napari_stsr.cli import main
from napari_stsr.slides.simulate import simulate_slide
from tests.evaluation.contestants import Ours, contestants


@pytest.fixture(autouse=True)
def outs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Ours]]:
    """The path ``outs`` is a simulated slide; the working folder is empty."""
    slide = simulate_slide("realistic", "square", (10, 12), 40, seed=2, image=False)
    real = readers.open_slide_or_cells
    given = lambda path, *more: slide if path == "outs" else real(path, *more)  # noqa: E731
    monkeypatch.setattr(readers, "open_slide_or_cells", given)
    monkeypatch.setenv("NAPARI_STSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with contestants() as kind:
        yield kind


def evaluated(*more: str) -> int:
    usual = ["--methods", "ours,gene_mean,nearest", "--folds", "2", "--scored", "20"]
    return main(["evaluate", "outs", *usual, "--output", "r.html", *more])


def test_it_writes_the_report_and_the_numbers_and_says_the_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert evaluated("--json", "deep/r.json") == 0
    said = capsys.readouterr()
    told = json.loads(Path("deep/r.json").read_text(encoding="utf-8"))
    assert f"hidden-spots: {told['sentence']}" in said.out
    assert "Wrote r.html" in said.out
    assert "6 fits to judge" in said.err
    assert "6/6" in said.err
    assert told["sentence"].replace("'", "&#39;") in Path("r.html").read_text(encoding="utf-8")
    # What was kept on the way is not needed any more.
    assert not list(Path("cache/evaluations").glob("*"))


def test_a_folder_named_by_the_user_is_kept_and_gone_on_from(outs: type[Ours]) -> None:
    assert evaluated("--resume", "kept") == 0
    assert evaluated("--resume", "kept") == 0
    assert len(outs.fits) == 2
    assert len(list(Path("kept").glob("hidden-spots-*"))) == 6


def test_presets_and_parameters_reach_the_method(outs: type[Ours]) -> None:
    assert evaluated("--methods", "ours,ours:fast,nearest", "--set", "ours.steps=7") == 0
    assert outs.fits == [7, 7] * 2
    assert evaluated("--methods", "ours,nearest", "--preset", "fast", "--seed", "3") == 0
    assert outs.fits[4:] == [1, 1]


def test_several_protocols_and_named_genes(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluated("--protocol", "hidden-spots, count-split", "--genes", "SIM004,SIM009") == 0
    out = capsys.readouterr().out
    assert "hidden-spots: " in out
    assert "count-split: " in out


def test_when_nobody_answers_the_report_says_why_and_the_code_is_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert evaluated("--methods", "breaking") == 1
    assert "wires crossed" in capsys.readouterr().err
    assert "wires crossed" in Path("r.html").read_text(encoding="utf-8")


def test_a_table_of_cells_can_be_evaluated(
    data: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cells = str(data("xenium_breast_patch_a/pikachu.csv.gz"))
    words = ["--protocol", "pseudo-visium-split", "--methods", "nearest,uniform_split"]
    usual = ["--folds", "1", "--variable", "60", "--scored", "30", "--output", "r.html"]
    assert main(["evaluate", cells, *words, *usual]) == 0
    out = capsys.readouterr().out
    assert "pseudo-visium-split-subspots (conserved): " in out
    assert "pseudo-visium-split-bins" in out


BAD = {
    "missing slide": (["--output", "r.html"], "no/such"),
    "unknown protocol": (["--protocol", "hiden-spots"], "hidden-blocks"),
    "unknown method": (["--methods", "squar"], "gene_mean"),
    "unknown preset": (["--preset", "slow"], "'slow'"),
    "unknown parameter": (["--set", "ours.stps=3"], "stps"),
    "parameter of nobody": (["--set", "kriging.x=3"], "'kriging', which does not take part"),
    "parameter without method": (["--set", "steps=3"], "--set method.key=value"),
    "unknown gene": (["--genes", "NOPE"], "NOPE"),
    "no folds": (["--folds", "0"], "folds = 0"),
    "too many folds": (["--folds", "100"], "too few"),
    "no jobs": (["--jobs", "0"], "0 jobs"),
    "folder as output": (["--output", "."], "is a folder"),
    "page as JSON": (["--json", "r.html"], "does not end in .json"),
    "results in a file": (["--resume", __file__], "is a file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_with_2_and_a_line_or_two_before_anything_runs(
    name: str, outs: type[Ours], capsys: pytest.CaptureFixture[str]
) -> None:
    line, said = BAD[name]
    code = (
        main(["evaluate", "no/such", "--methods", "ours", *line])
        if "missing" in name
        else evaluated(*line)
    )
    err = capsys.readouterr().err
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert not outs.fits
    assert not Path("r.html").exists()


def test_an_output_that_cannot_be_written_is_refused_before_the_run(
    outs: type[Ours], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("")
    assert evaluated("--output", "file/r.html") == 1
    assert "Cannot write into" in capsys.readouterr().err
    assert not outs.fits


def test_help_lists_the_protocols(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--help"])
    assert stop.value.code == 0
    assert "hidden-blocks: About a fifth" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_keeps_what_is_finished_and_leaves_no_process_and_no_traceback(
    data: Callable[[str], Path], jobs: str
) -> None:
    slide = str(data("her2st_C2/spaceranger_like"))
    words = ["--methods", "gene_mean,nearest,square", "--folds", "1", "--jobs", jobs]
    command = [sys.executable, "-m", "napari_stsr.cli", "evaluate", slide, *words]
    with subprocess.Popen(
        [*command, "--output", "s.html"],
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
        start_new_session=True,
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "2/3" in line:
                break
        processes = psutil.Process(running.pid).children(recursive=True)
        assert len(processes) >= (2 if jobs == "2" else 0)
        # A terminal sends it to all processes, the workers too.
        os.killpg(running.pid, signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == 130
    assert rest.splitlines()[-1] == (
        "Stopped; 2 of 3 pieces are kept. Run the same command to go on."
    )
    assert "Traceback" not in rest
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    assert not Path("s.html").exists()
