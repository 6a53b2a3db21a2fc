"""Fingerprints: what a stored result depends on, so that it is used again only where it is true."""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from napari_stsr import __version__
from napari_stsr.evaluation.plan import EvaluationPlan, Unit
from napari_stsr.slides import Slide

_PACKAGES = ("numpy", "scipy", "scikit-learn", "torch")
# Of this package, what figures depend on whatever the method; tables and pages come after them.
_JUDGING = (
    "evaluation/metrics", "evaluation/protocols", "evaluation/bench.py", "evaluation/judging.py",
    "evaluation/mapping.py", "evaluation/materialised.py", "evaluation/question.py",
    "evaluation/sampled.py", "evaluation/scores.py", "evaluation/task.py", "methods/baselines",
    "methods/answer.py", "methods/companion.py", "methods/conformal.py", "methods/doubt.py",
    "methods/empirical_bayes.py", "methods/field.py", "methods/kernel_pair.py", "methods/layers",
    "methods/measured.py", "methods/own_counts.py", "methods/poisson_regression.py",
    "methods/variable_genes.py", "results/conservation.py", "results/enhancement.py",
    "results/expression.py", "results/posterior.py", "training",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of everything a figure may depend on."""
    found = {"napari-stsr": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def slide_fingerprint(slide: Slide) -> str:
    """Digest of a slide's counts, genes and places, and of the files it came from."""
    digest = hashlib.sha256()
    rows = slide.counts.rows
    arrays = (rows.data, rows.indices, rows.indptr, slide.coordinates, slide.in_tissue)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    facts = (slide.genes.ids.tolist(), slide.kind, slide.diameter_um, slide.lattice.pitch_um)
    digest.update(json.dumps([*facts, sorted(slide.source.hashes.items())]).encode())
    return digest.hexdigest()[:16]


def unit_fingerprint(plan: EvaluationPlan, unit: Unit, slide: str) -> str:
    """Digest of everything the result of a unit depends on; `slide` is its fingerprint."""
    described = plan.described()
    parts: dict[str, Any] = {
        "slide": slide,
        "protocol": unit.protocol,
        "fold": unit.fold,
        "contender": unit.contender.described(),
        "code": code_fingerprint(type(unit.contender.learner)),
        "versions": versions(),
    }
    shared = ("genes", "folds", "variable", "scored", "seed", "draws", "device", "precision")
    parts |= {name: described[name] for name in shared}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@cache
def code_fingerprint(method: type) -> str:
    """Digest of the code behind a method's figures: its version may stay while it is worked on."""
    source = inspect.getsourcefile(method)
    own = "" if source is None else _code(Path(source).parent, ("",))
    return _code(Path(__file__).parents[1], _JUDGING) + own


@cache
def _code(folder: Path, parts: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        place = folder / part
        for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
