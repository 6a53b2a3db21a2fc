"""An evaluation as the command, or the lines of Python, that do the same."""

from __future__ import annotations

import shlex

from napari_stsr.evaluation.opening import Opening
from napari_stsr.evaluation.plan import Contender, EvaluationPlan

_NUMBERS = ("folds", "variable", "scored", "seed", "draws")
_CHOICES = ("device", "precision")


def evaluate_command(
    plan: EvaluationPlan, opening: Opening, output: str = "report.html", jobs: int = 1
) -> str:
    """Return the command that opens the slide, evaluates the plan and writes the report.

    It tells a method by its preset only: see `evaluate_again`.
    """
    words = ["napari-stsr", "evaluate", opening.path, "--protocol", ",".join(plan.protocols)]
    # `method:preset` is the word for a method with another preset.
    keys = [f"{one.method}:{one.preset}" if _other(one) else one.method for one in plan.methods]
    words += ["--methods", ",".join(keys)]
    for one in plan.methods:
        for name, value in one.values.items():
            key = f"{one.method}:{one.preset}" if _other(one) else one.method
            words += ["--set", f"{key}.{name}={value}"]
    if plan.genes:
        words += ["--genes", ",".join(plan.genes)]
    for name in (*_NUMBERS, *_CHOICES):
        if getattr(plan, name) != getattr(EvaluationPlan, name):
            words += [f"--{name}", str(getattr(plan, name))]
    given = {
        "image": opening.image, "bin-um": opening.bin_um, "um-per-px": opening.um_per_px
    }  # fmt: skip
    for name, value in given.items():
        if value is not None:
            words += [f"--{name}", str(value)]
    if jobs > 1:
        words += ["--jobs", str(jobs)]
    return shlex.join([*words, "--output", output])


def evaluate_again(plan: EvaluationPlan, opening: Opening, output: str = "report.html") -> str:
    """Return the command, or the lines of Python where no command says the same."""
    words = [(one.method, one.preset) for one in plan.methods]
    told = len(set(words)) == len(words)
    return (evaluate_command if told else evaluate_python)(plan, opening, output)


def _other(one: Contender) -> bool:
    return one.preset != "auto"


def evaluate_python(plan: EvaluationPlan, opening: Opening, output: str = "report.html") -> str:
    """Return the lines of Python that do the same."""
    given = {"image": opening.image, "bin_um": opening.bin_um, "um_per_px": opening.um_per_px}
    opened = [repr(opening.path), *(f"{k}={v!r}" for k, v in given.items() if v is not None)]
    contenders = [
        f"Contender({one.method!r}, {one.preset!r}, {dict(one.values)!r}, {one.label!r})"
        for one in plan.methods
    ]
    arguments = [f"protocols={list(plan.protocols)!r}", f"contenders=[{', '.join(contenders)}]"]
    if plan.genes:
        arguments.append(f"genes={list(plan.genes)!r}")
    arguments += [
        f"{name}={getattr(plan, name)!r}"
        for name in (*_NUMBERS, *_CHOICES)
        if getattr(plan, name) != getattr(EvaluationPlan, name)
    ]
    return "\n".join(
        [
            "from napari_stsr.evaluation import Contender, EvaluationPlan, evaluate, write_report",
            "from napari_stsr.slides.readers import open_slide_or_cells",
            "",
            f"slide = open_slide_or_cells({', '.join(opened)})",
            "plan = EvaluationPlan(",
            *(f"    {argument}," for argument in arguments),
            ")",
            f"write_report(evaluate(slide, plan), {output!r})",
            "",
        ]
    )
