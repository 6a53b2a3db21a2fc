"""``napari-stsr predict``: predict by a saved model, without training."""

from __future__ import annotations

import argparse
import sys

from napari_stsr.cli.enhance import named_genes, places_of, told
from napari_stsr.cli.info import opened, warn
from napari_stsr.cli.outputs import check_output
from napari_stsr.cli.progress import shown
from napari_stsr.errors import InputError
from napari_stsr.results.writers import check_export, export, format_of
from napari_stsr.session import Model, Plan, load_model
from napari_stsr.session.models import fit_words
from napari_stsr.slides import Slide
from napari_stsr.training import Run
from napari_stsr.training.device import resolve_device


def run(options: argparse.Namespace) -> None:
    """Predict as the options say."""
    format_of(options.output)
    model = load_model(options.model)
    print(f"Model: {fit_words(model.fit)}", file=sys.stderr)
    chosen = _run(options, model)
    slide = _slide(options, model)
    plan = _plan(options, model, slide)
    model.check(slide, plan.genes)
    targets = plan.targets(plan.learned(slide))
    genes = len(model.genes) if plan.genes is None else len(plan.genes)
    check_export(options.output, len(targets), genes)
    read = (options.model, options.path, options.image, options.at, options.region, options.genes)
    check_output(options.output, read)
    print(f"{len(targets):,} targets × {genes:,} genes", file=sys.stderr)
    with options.stopping.gently(chosen.cancel):
        result = shown(plan.predicting(slide, model, chosen))
    export(result, options.output, slide=None if slide is model.slide else slide)
    print(told(result, options.output))


def _run(options: argparse.Namespace, model: Model) -> Run:
    seed = model.seed if options.seed is None else options.seed
    if options.device != "auto":
        resolve_device(options.device)
    return Run(seed=seed, device=options.device)


def _slide(options: argparse.Namespace, model: Model) -> Slide:
    """Return the slide named, or what the model knows of the one it learned from."""
    if options.path is not None:
        slide = opened(options)
        warn(slide)
        return slide
    for name in ("image", "bin_um", "um_per_px"):
        if getattr(options, name) is not None:
            option = name.replace("_", "-")
            raise InputError(f"--{option} says how to open a slide.", "Name it with --slide PATH.")
    if options.task == "impute":
        raise InputError(
            "Filling in genes keeps what was measured, which a model does not hold.",
            "Name the slide with --slide PATH.",
        )
    return model.slide


def _plan(options: argparse.Namespace, model: Model, slide: Slide) -> Plan:
    at, region = places_of(options, slide)
    return Plan(
        model.method,
        str(model.fit["preset"]),
        genes=None if options.genes is None else named_genes(options.genes),
        subspots=options.subspots,
        grid_um=options.grid_um,
        at=at,
        region=region,
        task=options.task,
    )
