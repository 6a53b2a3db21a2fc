r"""One fit at Visium HD size, from opening to every gene at four parts per bin: time and memory.

Uses, or makes once, a simulated folder as `open_hd.py` does::

    python benchmarks/fit_hd.py --folder hd_benchmark --method square
    python benchmarks/fit_hd.py --folder e165 --method suica --preset auto \\
        --bins 121756 --genes 26159 --nnz 150000000

The slide has no spatial structure: the figures are time and memory, not accuracy.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
from open_hd import make

from napari_stsr import Run, open_slide
from napari_stsr.session import Plan


def peak_gb() -> float:
    """Largest resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("hd_benchmark"))
    parser.add_argument("--bins", type=int, default=700_000)
    parser.add_argument("--genes", type=int, default=18_000)
    parser.add_argument("--nnz", type=int, default=100_000_000)
    parser.add_argument("--method", default="square")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--subspots", type=int, default=4)
    chosen = parser.parse_args()
    if not (chosen.folder / "filtered_feature_bc_matrix.h5").is_file():
        make(chosen.folder, chosen.bins, chosen.genes, chosen.nnz)

    start, stage, begun = time.process_time(), "opening", time.process_time()
    slide = open_slide(chosen.folder)
    plan = Plan(chosen.method, preset=chosen.preset, subspots=chosen.subspots)
    estimate = plan.estimate(slide)
    print(f"{slide}\nestimated: {estimate}", flush=True)
    fitting = plan.enhancing(slide, Run())
    longest, last = 0.0, time.monotonic()
    while True:
        try:
            progress = next(fitting)
        except StopIteration as end:
            result, longest = end.value, max(longest, time.monotonic() - last)
            break
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
        if progress.stage != stage:
            spent = time.process_time() - begun
            print(f"{stage:32s} {spent:7.1f} CPU-s {peak_gb():6.2f} GB", flush=True)
            stage, begun = progress.stage, time.process_time()
    print(f"{stage:32s} {time.process_time() - begun:7.1f} CPU-s {peak_gb():6.2f} GB")
    print(f"{'whole':32s} {time.process_time() - start:7.1f} CPU-s {peak_gb():6.2f} GB")
    print(f"longest silence between reports {longest:.1f} s")
    begun = time.process_time()
    for gene in range(10):
        result.expression_source.columns(np.array([gene]))
    print(f"one gene at {len(result):,} subspots {(time.process_time() - begun) * 100:.0f} CPU-ms")


if __name__ == "__main__":
    main()
