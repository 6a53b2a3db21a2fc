"""The record that travels with every result: enough to run it again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shapely.geometry import mapping

from napari_stsr.evaluation.fingerprint import versions
from napari_stsr.methods import Params
from napari_stsr.slides import Slide
from napari_stsr.training import Run

if TYPE_CHECKING:
    from napari_stsr.session.plan import Plan


def provenance(slide: Slide, plan: Plan, params: Params, run: Run) -> dict[str, Any]:
    """Record of one enhancement, JSON-ready."""
    record = {
        "kind": "predicted",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "slide": {
            "name": slide.name,
            "path": slide.source.path,
            "hashes": slide.source.hashes,
            "locations": len(slide),
            "um_per_px": slide.scale.um_per_px,
            "um_per_px_source": slide.scale.source,
            "lattice": str(slide.lattice),
        },
        "method": plan.method,
        "preset": plan.preset,
        "params": params.as_dict(),
        "targets": _targets(plan),
        "genes": None if plan.genes is None else list(plan.genes),
        "run": run.described(),
        "versions": versions(),
    }
    # Through JSON once, so that a record read back from a file equals the one in memory.
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


def _targets(plan: Plan) -> dict[str, Any]:
    region = None
    if plan.region is not None:
        region = {
            "name": plan.region.name,
            "geometry_um": mapping(plan.region.outline),
            "halo_pitches": plan.halo_pitches,
        }
    return {
        "subspots": plan.subspots,
        "grid_um": plan.grid_um,
        "points": None if plan.at is None else len(plan.at),
        "region": region,
    }
