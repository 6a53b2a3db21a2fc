"""``napari-stsr info``: what a slide holds, and what is wrong with it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from napari_stsr.slides import Slide

_MARKS = {"good": "ok     ", "notice": "notice ", "problem": "PROBLEM"}


def run(options: argparse.Namespace) -> None:
    """Print what the slide holds."""
    slide = opened(options)
    found = summary(slide)
    print(json.dumps(found, indent=2) if options.json else _text(slide, found))


def opened(options: argparse.Namespace) -> Slide:
    """Open the slide an argument line names."""
    from napari_stsr.slides.readers import open_slide

    return open_slide(
        options.path, image=options.image, bin_um=options.bin_um, um_per_px=options.um_per_px
    )


def warn(slide: Slide) -> None:
    """Say what is wrong with a slide before it is worked on."""
    for check in slide.checks:
        if check.level == "problem":
            print(f"PROBLEM {check.sentence} {check.remedy}".rstrip(), file=sys.stderr)


def summary(slide: Slide) -> dict[str, Any]:
    """Return what a slide holds, JSON-ready."""
    total = float(slide.counts.totals.sum())
    image = None
    if slide.image is not None:
        image = {
            "levels": len(slide.image.levels),
            "shape": list(slide.image.shape),
            "um_per_px": slide.image.um_per_px,
            "full_resolution": slide.image.full_resolution,
            "path": slide.image.path,
        }
    return {
        "name": slide.name,
        "kind": slide.kind,
        "locations": len(slide),
        "in_tissue": int(slide.in_tissue.sum()),
        "genes": len(slide.genes),
        "counts_total": int(total) if total.is_integer() else total,
        "um_per_px": slide.scale.um_per_px,
        "um_per_px_source": slide.scale.source,
        "lattice": slide.lattice.kind,
        "pitch_um": slide.lattice.pitch_um,
        "location_diameter_um": slide.diameter_um,
        "subspots": list(slide.lattice.divisions),
        "image": image,
        "checks": [
            {"level": check.level, "sentence": check.sentence, "remedy": check.remedy}
            for check in slide.checks
        ],
    }


def _text(slide: Slide, found: dict[str, Any]) -> str:
    word, image = slide.location_word, found["image"]
    lines = [
        f"{found['name']}  ({found['kind']})",
        f"  {found['locations']:,} {word}s, {found['in_tissue']:,} in tissue; "
        f"{found['genes']:,} genes; {found['counts_total']:,} counts",
        f"  {slide.lattice}; {word}s {found['location_diameter_um']:.4g} µm wide",
        f"  {found['um_per_px']:.4g} µm per px, from {found['um_per_px_source']}",
    ]
    if image is None:
        lines.append("  no image")
    else:
        height, width = image["shape"]
        kind = "full resolution" if image["full_resolution"] else "reduced"
        lines.append(
            f"  image of {height:,} × {width:,} px, {kind}, "
            f"{image['um_per_px']:.4g} µm per px, {image['levels']} levels"
        )
    lines += [
        f"  {_MARKS[check.level]} {check.sentence} {check.remedy}".rstrip()
        for check in slide.checks
    ]
    return "\n".join(lines)
