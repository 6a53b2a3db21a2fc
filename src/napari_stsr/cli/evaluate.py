"""``napari-stsr evaluate``: how good methods are on hidden parts of this slide."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stsr.cli.enhance import named_genes
from napari_stsr.cli.info import warn
from napari_stsr.cli.outputs import check_output
from napari_stsr.cli.progress import shown
from napari_stsr.errors import Cancelled, InputError, RunError
from napari_stsr.files import cache_folder
from napari_stsr.training import CancelToken

if TYPE_CHECKING:
    from napari_stsr.evaluation import Contender, Evaluation, EvaluationPlan


def run(options: argparse.Namespace) -> None:
    """Evaluate methods on a slide as the options say."""
    from napari_stsr.evaluation import Opening, evaluating, write_report

    _check_outputs(options)
    plan = plan_of(options)
    opening = Opening(options.path, options.image, options.bin_um, options.um_per_px)
    slide = opening.open()
    print(slide, file=sys.stderr)
    warn(slide)
    units = plan.units(plan.check(slide))
    print(f"{len(units)} fits to judge: {plan.estimate(slide)} on one core", file=sys.stderr)
    kept = options.resume is not None
    folder = Path(options.resume) if kept else _own_folder(plan, opening)
    token = CancelToken()
    work = evaluating(
        plan, slide, token, folder=folder, jobs=options.jobs, scheduler=options.scheduler,
        opening=opening,
    )  # fmt: skip
    try:
        with options.stopping.gently(token):
            found = shown(work)
    except Cancelled as stopped:
        options.stopping.said = f"{stopped.what} Run the same command to go on."
        raise
    except KeyboardInterrupt:
        options.stopping.said = "Stopped; what is finished is kept. Run the same command to go on."
        raise
    write_report(found, options.output, options.json)
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
    _tell(found, options.output)


def plan_of(options: argparse.Namespace) -> EvaluationPlan:
    """Return the plan an argument line describes.

    Raises
    ------
    InputError
        For an unknown protocol, method or parameter.
    """
    from napari_stsr.evaluation import EvaluationPlan, contenders

    settings = _settings(options.set)
    chosen = [
        _contender(one, settings) for one in contenders(_names(options.methods), options.preset)
    ]
    unused = set(settings) - {name for one in chosen for name in (one.method, one.key)}
    if unused:
        raise InputError(
            f"--set names {min(unused)!r}, which does not take part.",
            f"Taking part: {', '.join(one.key for one in chosen)}.",
        )
    return EvaluationPlan(
        _names(options.protocol),
        chosen,
        options.folds,
        () if options.genes is None else named_genes(options.genes),
        options.variable,
        options.scored,
        options.seed,
        options.draws,
        device=options.device,
        precision=options.precision,
    )


def protocols_described() -> str:
    """Return the protocols, for the help of ``evaluate``."""
    from napari_stsr.evaluation.protocols import protocol, protocol_names

    lines = [f"  {name}: {protocol(name).summary}" for name in protocol_names()]
    return "\n".join(["protocols:", *lines])


def _contender(one: Contender, settings: Mapping[str, Mapping[str, str]]) -> Contender:
    values = {**settings.get(one.method, {}), **settings.get(one.key, {})}
    return replace(one, values=values)


def _settings(given: list[str]) -> dict[str, dict[str, str]]:
    """Parameters by method, of ``method.key=value``."""
    settings: dict[str, dict[str, str]] = {}
    for setting in given:
        left, equals, value = setting.partition("=")
        method, dot, name = left.strip().rpartition(".")
        if not (equals and dot and method and name):
            raise InputError(f"--set {setting!r} cannot be read.", "Write --set method.key=value.")
        settings.setdefault(method, {})[name] = value.strip()
    return settings


def _names(given: str) -> list[str]:
    return [name.strip() for name in given.split(",") if name.strip()]


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse before the run what could not be written after it."""
    if options.jobs < 1:
        raise InputError(f"{options.jobs} jobs cannot work.", "Give 1 or more.")
    named = {"--output": (options.output, (".html", ".htm")), "--json": (options.json, (".json",))}
    for option, (name, endings) in named.items():
        if name is None:
            continue
        place = Path(name)
        if place.is_dir():
            raise InputError(f"{name!r} is a folder.", "Name a file to write.")
        if place.suffix.lower() not in endings:
            raise InputError(
                f"{option} {name!r} does not end in {endings[0]}.",
                f"Write {option} NAME{endings[0]}.",
            )
        check_output(place, (options.path, options.image, options.genes))


def _own_folder(plan: EvaluationPlan, opening: Any) -> Path:
    """Folder where the same command finds again what it finished."""
    content = json.dumps([plan.described(), vars(opening)], sort_keys=True)
    name = hashlib.sha256(content.encode()).hexdigest()[:16]
    return cache_folder() / "evaluations" / name


def _tell(found: Evaluation, output: str) -> None:
    for task in found.tasks:
        for form in found.forms(task):
            kind = "" if form == "predicted" else f" ({form})"
            print(
                f"{task}{kind}: {found.sentence(task, form)} {found.in_counts(task, form)}".rstrip()
            )
    for row in found.refusals().itertuples():
        print(f"{row.method} on {row.protocol}, {row.state}: {row.words}", file=sys.stderr)
    print(f"Wrote {output}")
    if not found.tasks:
        raise RunError(found.sentence(), f"{output} lists what went wrong.")
