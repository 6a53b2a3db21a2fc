"""The words of the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from napari_stsr import __version__
from napari_stsr.cli import demo, enhance, evaluate, info, methods, pool, predict, view
from napari_stsr.session.tasks import TASKS, Task


class _Parser(argparse.ArgumentParser):
    """A parser that tells what is wrong in one line, and gathers long help only when asked."""

    more: Callable[[], str] | None = None

    def error(self, message: str) -> NoReturn:
        print(f"Error: {message}. See {self.prog} --help.", file=sys.stderr)
        sys.exit(2)

    def format_help(self) -> str:
        if self.more is not None:
            self.epilog = self.more()
        return super().format_help()


def parser() -> argparse.ArgumentParser:
    """Build the parser of ``napari-stsr``."""
    common = _Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    opening = _Parser(add_help=False)
    opening.add_argument(
        "path", metavar="PATH", help="slide: a folder or an h5ad file; a CSV of cells to evaluate"
    )
    _add_opening(opening)

    top = _Parser(
        prog="napari-stsr", description="Spatial super-resolution of Visium and Visium HD slides."
    )
    top.add_argument("--version", action="version", version=f"napari-stsr {__version__}")
    verbs = top.add_subparsers(title="verbs", required=True, metavar="VERB")

    one = verbs.add_parser("info", parents=[opening, common], help="say what a slide holds")
    one.add_argument("--json", action="store_true", help="for programs")
    one.set_defaults(verb=info.run)

    one = verbs.add_parser("methods", parents=[common], help="list the methods")
    one.add_argument("--json", action="store_true", help="for programs, with all parameters")
    one.set_defaults(verb=methods.run)

    learning: tuple[tuple[Task, str], ...] = (
        ("enhance", "learn from a slide and predict between its locations"),
        ("denoise", "learn from a slide and predict at its own locations"),
        ("impute", "keep what was measured, and predict where zero was measured"),
    )
    for task, words in learning:
        one = verbs.add_parser(
            task,
            parents=[opening, common],
            help=words,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.more = methods.described
        _add_enhance(one, task)

    one = verbs.add_parser(
        "predict", parents=[common], help="predict by a saved model, without training"
    )
    _add_predict(one)

    one = verbs.add_parser(
        "evaluate",
        parents=[opening, common],
        help="hide parts of a slide and see how well methods predict them",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.more = evaluate.protocols_described
    _add_evaluate(one)

    one = verbs.add_parser("view", parents=[common], help="open a slide in napari")
    one.add_argument("path", metavar="PATH", help="slide: a folder or an h5ad file")
    one.add_argument("result", metavar="RESULT", nargs="?", help="its enhancement: h5ad or zarr")
    one.set_defaults(verb=view.run)

    one = verbs.add_parser("pool", parents=[common], help="make a slide of single cells")
    _add_pool(one)

    one = verbs.add_parser("demo", parents=[common], help="try it on a simulated slide")
    one.add_argument("--no-window", action="store_true", help="write files instead")
    one.add_argument(
        "--output", metavar="DIR", default="napari-stsr-demo", help="folder (default: %(default)s)"
    )
    one.add_argument("--seed", type=int, default=0, metavar="N")
    one.set_defaults(verb=demo.run)
    return top


def _add_enhance(one: argparse.ArgumentParser, task: Task) -> None:
    how = one.add_argument_group("how")
    how.add_argument("--method", default="square", metavar="M", help="default: %(default)s")
    how.add_argument(
        "--preset",
        default="auto",
        metavar="P",
        help="auto (default), fast, paper, or another of the method",
    )
    how.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a parameter; repeatable"
    )
    how.add_argument("--genes", metavar="FILE|A,B,C", help="ids or symbols to predict (all)")
    how.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    how.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:1, mps")
    how.add_argument("--precision", default="auto", choices=("auto", "32", "bf16", "16"))
    how.add_argument("--resume", metavar="DIR", help="keep checkpoints here and go on from them")
    where = one.add_argument_group("where")
    if task == "enhance":
        _add_places(where)
    where.add_argument("--region", metavar="ROI.geojson", help="only inside these polygons")
    where.add_argument(
        "--halo", type=float, default=2.0, metavar="PITCHES", help="learn from this far around"
    )
    one.add_argument("--save-model", metavar="FILE.stsr", help="keep the fit, for predict")
    _add_output(one)
    one.set_defaults(verb=enhance.run, task=task)
    if task != "enhance":
        one.set_defaults(subspots=None, grid_um=None, at=None)


def _add_places(where: argparse._ArgumentGroup) -> None:
    places = where.add_mutually_exclusive_group()
    places.add_argument("--subspots", type=int, metavar="K", help="split every location into K")
    places.add_argument("--grid-um", type=float, metavar="S", help="square grid of this step")
    places.add_argument("--at", metavar="TARGETS.csv", help="target_id,x,y[,diameter] (px)")


def _add_output(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--output", required=True, metavar="OUT", help="OUT.h5ad, .zarr, .csv or .ome.tif"
    )


def _add_predict(one: argparse.ArgumentParser) -> None:
    one.add_argument("model", metavar="MODEL", help="written by --save-model or in the window")
    slide = one.add_argument_group("the slide it learned from, opened again")
    slide.add_argument("--slide", dest="path", metavar="PATH", help="a folder or an h5ad file")
    _add_opening(slide)
    what = one.add_argument_group("what and where")
    what.add_argument(
        "--task", default="enhance", choices=tuple(TASKS), help="default: %(default)s"
    )
    _add_places(what)
    what.add_argument("--region", metavar="ROI.geojson", help="only inside these polygons")
    what.add_argument("--genes", metavar="FILE|A,B,C", help="ids or symbols to predict (all)")
    what.add_argument("--seed", type=int, metavar="N", help="that of the fit by default")
    what.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:1, mps")
    _add_output(one)
    one.set_defaults(verb=predict.run)


def _add_opening(one: argparse._ActionsContainer) -> None:
    one.add_argument("--image", metavar="FILE", help="histology, full resolution")
    one.add_argument("--bin-um", type=float, metavar="S", help="bin size of a Visium HD slide")
    one.add_argument("--um-per-px", type=float, metavar="S", help="size of a full-res pixel")


def _add_evaluate(one: argparse.ArgumentParser) -> None:
    what = one.add_argument_group("what")
    what.add_argument(
        "--protocol", default="hidden-spots", metavar="P,…", help="default: %(default)s"
    )
    what.add_argument(
        "--methods", default="square,baselines", metavar="M,…",
        help="names, M:PRESET, or baselines, peers, methods for all of them (%(default)s)",
    )  # fmt: skip
    what.add_argument("--preset", default="auto", metavar="P", help="of all methods (auto)")
    what.add_argument(
        "--set", action="append", default=[], metavar="METHOD.KEY=VALUE", help="repeatable"
    )
    what.add_argument("--folds", type=int, default=5, metavar="N", help="default: %(default)s")
    what.add_argument("--genes", metavar="FILE|A,B,C", help="keep and score these in any case")
    what.add_argument(
        "--variable", type=int, default=1000, metavar="N", help="most variable genes kept (1000)"
    )
    what.add_argument(
        "--scored", type=int, default=300, metavar="N", help="genes scored, by Moran's I (300)"
    )
    what.add_argument("--draws", type=int, default=200, metavar="N", help="behind intervals (200)")
    what.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    what.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:1, mps")
    what.add_argument("--precision", default="auto", choices=("auto", "32", "bf16", "16"))
    where = one.add_argument_group("where it runs")
    spread = where.add_mutually_exclusive_group()
    spread.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    spread.add_argument("--scheduler", metavar="ADDRESS", help="of a dask cluster: tcp://host:8786")
    where.add_argument("--resume", metavar="DIR", help="keep results here and go on from them")
    one.add_argument("--output", required=True, metavar="REPORT.html", help="the report")
    one.add_argument("--json", metavar="FILE", help="the same numbers for programs")
    one.set_defaults(verb=evaluate.run)


def _add_pool(one: argparse.ArgumentParser) -> None:
    one.add_argument("cells", metavar="CELLS", help="CSV, TSV or h5ad of cells with places in µm")
    one.add_argument(
        "--as", dest="kind", required=True, choices=("visium", "bins"),
        help="55 µm spots on a 100 µm hexagonal lattice, or square bins",
    )  # fmt: skip
    one.add_argument("--um", type=float, metavar="S", help="side of a bin (16)")
    one.add_argument("--x", metavar="COLUMN", help="column of x, where it is not found")
    one.add_argument("--y", metavar="COLUMN", help="column of y")
    one.add_argument(
        "--not-genes",
        action="append",
        metavar="COLUMN",
        help="numbers that are no gene; repeatable",
    )
    one.add_argument("--um-per-px", type=float, metavar="S", help="for places that are not in µm")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="where the lattice starts")
    one.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    one.set_defaults(verb=pool.run)
