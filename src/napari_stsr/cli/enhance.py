"""``napari-stsr enhance``, ``denoise``, ``impute``: learn from a slide, predict, write."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Generator
from pathlib import Path

from napari_stsr.cli.info import opened, warn
from napari_stsr.cli.outputs import check_output
from napari_stsr.cli.progress import shown
from napari_stsr.errors import InputError
from napari_stsr.results import Enhancement
from napari_stsr.results.writers import check_export, export, format_of
from napari_stsr.session import Plan, save_model, united
from napari_stsr.session.models import fit_words
from napari_stsr.slides import Region, Slide, Targets, read_regions, read_targets
from napari_stsr.training import Progress, Run

_HELD = {
    "denoise": "denoised (predicted) expression",
    "impute": "counts as measured, and predicted where zero was measured,",
}


def run(options: argparse.Namespace) -> None:
    """Enhance a slide as the options say."""
    format_of(options.output)
    check_model(options)
    chosen = run_of(options)
    slide = opened(options)
    plan = plan_of(options, slide)
    print(slide, file=sys.stderr)
    warn(slide)
    _, targets = plan.prepare(slide)
    columns = plan.columns(slide)
    genes = len(slide.genes) if columns is None else len(columns)
    check_export(options.output, len(targets), genes)
    check_output(options.output, inputs_of(options))
    estimate = plan.estimate(slide)
    print(f"{len(targets):,} targets × {genes:,} genes: {estimate}", file=sys.stderr)
    with options.stopping.gently(chosen.cancel):
        result = shown(_working(plan, slide, chosen, options.save_model))
    export(result, options.output, slide=slide)
    print(told(result, options.output))


def _working(
    plan: Plan, slide: Slide, run: Run, model_path: str | None
) -> Generator[Progress, None, Enhancement]:
    """Fit, keep the model before anything else can fail, and predict."""
    model = yield from plan.fitting(slide, run)
    if model_path is not None:
        save_model(model, model_path)
        print(f"Wrote {model_path}: model of {fit_words(model.fit)}", file=sys.stderr)
    return (yield from plan.predicting(slide, model, run))


def check_model(options: argparse.Namespace) -> None:
    """Refuse before the fit a place where its model could not be kept.

    Raises
    ------
    InputError
        When a folder is in the way, or what is read or written as well.
    """
    if options.save_model is None:
        return
    place = Path(options.save_model)
    if place.is_dir():
        raise InputError(f"{str(place)!r} is a folder.", "Name a file for the model.")
    if place.resolve() == Path(options.output).resolve():
        raise InputError(
            f"--save-model and --output are both {options.output!r}.", "Name two files."
        )
    check_output(place, inputs_of(options))


def inputs_of(options: argparse.Namespace) -> tuple[str | None, ...]:
    """Files and folders that an argument line reads."""
    return (options.path, options.image, options.at, options.region, options.genes)


def told(result: Enhancement, output: str | Path) -> str:
    """Return a line about a result that was written, and what must be known of it."""
    far = int((~result.supported).sum())
    flagged = f"; {far:,} of them farther than a pitch from any measurement" if far else ""
    what = _HELD.get(result.provenance["task"], "predicted expression")
    said = f"Wrote {output}: {what} of {len(result.genes):,} genes at {len(result):,} targets"
    return "\n".join([said + flagged, *(f"  ! {n}" for n in result.provenance.get("notes", ()))])


def plan_of(options: argparse.Namespace, slide: Slide) -> Plan:
    """Return the plan an argument line describes.

    Raises
    ------
    InputError
        When a file it names cannot be used, or a parameter has no value.
    """
    at, region = places_of(options, slide)
    return Plan(
        options.method,
        options.preset,
        _values(options.set),
        None if options.genes is None else named_genes(options.genes),
        options.subspots,
        options.grid_um,
        at,
        region,
        options.halo,
        options.task,
    )


def places_of(options: argparse.Namespace, slide: Slide) -> tuple[Targets | None, Region | None]:
    """Targets and region that files name, placed on a slide.

    Raises
    ------
    InputError
        When a file cannot be used.
    """
    region = at = None
    if options.region is not None:
        region = united(read_regions(options.region, slide.scale.um_per_px))
    if options.at is not None:
        at = read_targets(options.at, slide.scale.um_per_px, slide.diameter_um)
    return at, region


def run_of(options: argparse.Namespace) -> Run:
    """Return the run an argument line describes."""
    folder = None if options.resume is None else Path(options.resume)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise InputError(f"--resume {options.resume!r} is a file.", "Name a folder.")
    return Run(
        seed=options.seed, device=options.device, precision=options.precision, checkpoints=folder
    )


def _values(settings: list[str]) -> dict[str, str]:
    values = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key.strip() and equals):
            raise InputError(f"--set {setting!r} names no value.", "Write --set key=value.")
        values[key.strip()] = value.strip()
    return values


def _is_file(named: str) -> bool:
    try:
        return Path(named).is_file()
    except OSError:  # a long list of genes is too long for a name
        return False


def named_genes(named: str) -> tuple[str, ...]:
    """Return the genes of a list ``A,B,C``, or of a file of them, separated in any way."""
    try:
        text = Path(named).read_text(encoding="utf-8") if _is_file(named) else named
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The gene list {named!r} cannot be read: {error}.") from None
    genes = tuple(dict.fromkeys(filter(None, re.split(r"[,;\s]+", text))))
    if not genes:
        raise InputError(f"--genes {named!r} names no gene.", "Give A,B,C or a file of names.")
    return genes
