"""A plan as the lines of Python, or the command, that do the same without the window."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import shapely

from napari_stsr.training import Run

if TYPE_CHECKING:
    from napari_stsr.session.plan import Plan


def python_recipe(
    plan: Plan,
    slide_path: str,
    *,
    output: str | None = None,
    run: Run | None = None,
    image: str | None = None,
    bin_um: float | None = None,
    targets_path: str = "targets.csv",
    model: str | None = None,
) -> str:
    """Return the lines of Python that open the slide and do the plan.

    Parameters
    ----------
    plan : Plan
    slide_path : str
    output : str, optional
        File to export the result to.
    run : Run, optional
        Its seed, device and precision are named where they are not the usual ones.
    image, bin_um
        How the slide was opened.
    targets_path : str
        Where the targets of ``plan.at`` are kept.
    model : str, optional
        File of a model to predict by, instead of fitting.
    """
    opening = [repr(slide_path)]
    opening += [f"{name}={value!r}" for name, value in _opening(image, bin_um)]
    verb, arguments = _python_head(plan, model)
    places = (("genes", plan.genes), ("subspots", plan.subspots), ("grid_um", plan.grid_um))
    arguments += [f"{name}={value!r}" for name, value in places if value is not None]
    if plan.at is not None:
        arguments.append(
            f"at=stsr.read_targets({targets_path!r}, slide.scale.um_per_px, slide.diameter_um)"
        )
    lines = ["import napari_stsr as stsr", "", f"slide = stsr.open_slide({', '.join(opening)})"]
    if plan.region is not None:
        lines.insert(0, "import shapely")
        # GeoJSON keeps every digit; WKT rounds.
        outline = shapely.to_geojson(plan.region.outline)
        lines.append(
            f"region = stsr.Region({plan.region.name!r}, shapely.from_geojson({outline!r}))"
        )
        arguments += ["region=region", f"halo_pitches={plan.halo_pitches!r}"]
    if chosen := _choices(run):
        arguments.append(f"run=stsr.Run({', '.join(f'{k}={v!r}' for k, v in chosen)})")
    lines += [f"result = stsr.{verb}(", *(f"    {argument}," for argument in arguments), ")"]
    if output is not None:
        lines.append(f"stsr.export(result, {output!r})")
    return "\n".join(lines) + "\n"


def _python_head(plan: Plan, model: str | None) -> tuple[str, list[str]]:
    """Verb, and what it takes beside places and run."""
    if model is not None:
        task = [] if plan.task == "enhance" else [f"task={plan.task!r}"]
        return "predict", [f"stsr.load_model({model!r})", "slide", *task]
    arguments = ["slide", f"method={plan.method!r}", f"preset={plan.preset!r}"]
    if plan.values:
        arguments.append(f"values={dict(plan.values)!r}")
    return plan.task, arguments


def command_recipe(
    plan: Plan,
    slide_path: str,
    output: str,
    *,
    run: Run | None = None,
    image: str | None = None,
    bin_um: float | None = None,
    region_path: str = "region.geojson",
    targets_path: str = "targets.csv",
    model: str | None = None,
) -> str:
    """Return the command that opens the slide, does the plan and writes the result.

    Parameters
    ----------
    plan : Plan
    slide_path, output : str
    run : Run, optional
        Its seed, device and precision are named where they are not the usual ones.
    image, bin_um
        How the slide was opened.
    region_path, targets_path : str
        Where the region (see `write_regions`) and the targets of the plan are kept.
    model : str, optional
        File of a model to predict by, instead of fitting.
    """
    words = ["napari-stsr"]
    if model is not None:
        words += ["predict", model, "--slide", slide_path, "--task", plan.task]
    else:
        words += [plan.task, slide_path, "--method", plan.method, "--preset", plan.preset]
    for name, value in plan.values.items():
        words += ["--set", f"{name}={value}"]
    if plan.genes is not None:
        words += ["--genes", ",".join(plan.genes)]
    if plan.subspots is not None:
        words += ["--subspots", str(plan.subspots)]
    if plan.grid_um is not None:
        words += ["--grid-um", repr(plan.grid_um)]
    if plan.at is not None:
        words += ["--at", targets_path]
    if plan.region is not None:
        words += ["--region", region_path]
        # A model has learned already.
        words += [] if model is not None else ["--halo", repr(plan.halo_pitches)]
    for name, value in [*_opening(image, bin_um), *_choices(run)]:
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join([*words, "--output", output])


def _opening(image: str | None, bin_um: float | None) -> list[tuple[str, object]]:
    given = [("image", image), ("bin_um", bin_um)]
    return [(name, value) for name, value in given if value is not None]


def _choices(run: Run | None) -> list[tuple[str, object]]:
    """Choices of a run that differ from the usual ones."""
    if run is None:
        return []
    usual = Run().described()
    return [(name, value) for name, value in run.described().items() if value != usual[name]]
