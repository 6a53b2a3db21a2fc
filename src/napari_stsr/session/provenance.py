"""The record that travels with every result: enough to run it again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shapely.geometry import mapping

from napari_stsr.evaluation.fingerprint import versions
from napari_stsr.session.tasks import TASKS
from napari_stsr.slides import Slide
from napari_stsr.training import Run

if TYPE_CHECKING:
    from napari_stsr.session.models import Model
    from napari_stsr.session.plan import Plan


def fit_record(slide: Slide, plan: Plan, run: Run, predicts: int) -> dict[str, Any]:
    """How a method was fitted to a slide, to predict so many genes; JSON-ready."""
    return _plain(
        {
            "made": _now(),
            "slide": _slide(slide),
            "method": plan.method,
            "preset": plan.preset,
            "params": plan.params().as_dict(),
            "region": _region(plan),
            "genes": _genes(plan),
            "predicts": predicts,
            "run": run.described(),
            "versions": versions(),
        }
    )


def provenance(slide: Slide, plan: Plan, model: Model, run: Run) -> dict[str, Any]:
    """Record of one result, JSON-ready; names the model where it was fitted on its own."""
    record = {
        "kind": TASKS[plan.task].kind,
        "task": plan.task,
        "contents": TASKS[plan.task].contents,
        "made": _now(),
        "slide": _slide(slide),
        **{name: model.fit[name] for name in ("method", "preset", "params")},
        "targets": {
            "subspots": plan.subspots,
            "grid_um": plan.grid_um,
            "points": None if plan.at is None else len(plan.at),
            "region": _region(plan),
        },
        "genes": _genes(plan),
        "run": run.described(),
        "versions": versions(),
    }
    if model.plan is not plan:
        record["model"] = {**model.file, "fit": model.fit}
    return _plain(record)


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    # Through JSON once, so that a record read back from a file equals the one in memory.
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _genes(plan: Plan) -> list[str] | None:
    return None if plan.genes is None else list(plan.genes)


def _slide(slide: Slide) -> dict[str, Any]:
    return {
        "name": slide.name,
        "path": slide.source.path,
        "hashes": slide.source.hashes,
        "locations": len(slide),
        "um_per_px": slide.scale.um_per_px,
        "um_per_px_source": slide.scale.source,
        "lattice": str(slide.lattice),
    }


def _region(plan: Plan) -> dict[str, Any] | None:
    if plan.region is None:
        return None
    return {
        "name": plan.region.name,
        "geometry_um": mapping(plan.region.outline),
        "halo_pitches": plan.halo_pitches,
    }
