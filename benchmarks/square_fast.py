"""Cost of Square's fast preset on a slide: CPU time, peak memory, cancel, resume.

Run: ``python benchmarks/square_fast.py PATH [--preset fast]``.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from napari_stsr import open_slide
from napari_stsr.session import EnhanceJob, Plan
from napari_stsr.training import Run


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("path")
    arguments.add_argument("--preset", default="fast")
    given = arguments.parse_args()

    start = time.process_time()
    slide = open_slide(given.path)
    plan = Plan(preset=given.preset)
    job = EnhanceJob(slide, plan, Run(device="cpu"))
    wall = time.monotonic()
    job.work()
    assert job.result is not None, job.message
    values = job.result.expression([str(slide.genes.ids[0])])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{slide}")
    print(
        f"{given.preset}: {time.process_time() - start:.1f} CPU-s with imports and opening, "
        f"{time.monotonic() - wall:.1f} s, {peak:.2f} GB peak, {len(values):,} subspots"
    )
    gene = np.array([0])
    start = time.process_time()
    for _ in range(20):
        job.result.expression_source.columns(gene)
    print(f"one gene at all subspots: {(time.process_time() - start) / 20 * 1e3:.1f} CPU-ms")

    with tempfile.TemporaryDirectory() as folder:
        broken = EnhanceJob(slide, plan, Run(device="cpu", checkpoints=Path(folder)))
        worker = threading.Thread(target=broken.work)
        worker.start()
        while broken.progress is None or "graph" not in broken.progress.stage:
            time.sleep(0.05)
        asked = time.monotonic()
        broken.cancel()
        worker.join()
        print(f"cancel in mid-training: {time.monotonic() - asked:.2f} s, {broken.state}")
        resumed = EnhanceJob(slide, plan, Run(device="cpu", checkpoints=Path(folder)))
        resumed.work()
        assert resumed.result is not None, resumed.message
    same = np.array_equal(resumed.result.embedding, job.result.embedding)
    print(f"resumed equals unbroken: {same}")


if __name__ == "__main__":
    main()
