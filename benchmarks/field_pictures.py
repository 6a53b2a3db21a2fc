"""How soon the field of a fit is seen: first coarse picture, last picture, again, another gene.

python benchmarks/field_pictures.py her2st_C2/spaceranger_like --method factor_kernel
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from napari_stsr import open_slide
from napari_stsr.methods import get_method
from napari_stsr.session.field import Field, FieldPicture
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome

DATA = Path(
    os.environ.get("NAPARI_STSR_DATA", Path(__file__).parents[1].parent / "shared" / "data")
)


def timed(what: str, pictures: Iterable[FieldPicture]) -> None:
    """Say when the first and the last of some pictures came, in CPU and wall time."""
    begun = time.process_time(), time.perf_counter()

    def since() -> str:
        cpu, wall = time.process_time() - begun[0], time.perf_counter() - begun[1]
        return f"{1e3 * cpu:.0f} CPU-ms ({1e3 * wall:.0f} ms)"

    made = []
    for picture in pictures:
        made.append(since())
        if len(made) == 1:
            print(f"{what}: first at {picture.step_um:g} µm in {made[0]}", end="; ")
    many = int(np.isfinite(picture.values).sum())
    print(f"{len(made)} pictures, {many:,} pixels in {made[-1]}", flush=True)


def main() -> None:
    """Fit, then ask for the field as the window does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", nargs="?", default="her2st_C2/spaceranger_like")
    parser.add_argument("--method", default="factor_kernel")
    parser.add_argument("--preset", default="fast")
    given = parser.parse_args()
    slide = open_slide(DATA / given.slide)
    method = get_method(given.method)
    begun = time.process_time()
    fitted = outcome(method.fit(slide, method.parameters(given.preset), Run()))
    print(f"{slide}\n{method.title} {given.preset}: fit {time.process_time() - begun:.1f} CPU-s")
    one, other = slide.genes.ids[np.argsort(-slide.counts.gene_totals)[:2]].tolist()
    Field(fitted, slide).prepare()
    for step in (100.0, 50.0, 20.0, 10.0):
        # As if nothing had been looked at before.
        field = Field(fitted, slide)
        field.prepare()
        timed(f"{step:g} µm", field.pictures(one, step))
    timed("10 µm again", field.pictures(one, 10.0))
    timed("another gene", field.pictures(other, 10.0))
    print(f"kept: {field.store.bytes / 1e6:.0f} MB; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
