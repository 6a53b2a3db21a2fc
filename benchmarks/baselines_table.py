"""Time and memory of the whole table of baselines on DLPFC 151673: 5,000 genes, 5 folds.

::

    python benchmarks/baselines_table.py --data ../shared/data
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

from napari_stsr import open_slide
from napari_stsr.evaluation import EvaluationPlan, evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--genes", type=int, default=5000)
    parser.add_argument("--folds", type=int, default=5)
    asked = parser.parse_args()
    slide = open_slide(asked.data / "dlpfc_151673")
    begun = time.process_time()
    plan = EvaluationPlan(contenders=("baselines",), variable=asked.genes, folds=asked.folds)
    evaluation = evaluate(slide, plan)
    spent = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    columns = ["title", "r_log", "r_log_low", "r_log_high", "r_raw", "seconds"]
    print(evaluation.summary()[columns].to_string(index=False, float_format="{:.3f}".format))
    for done in ("fit", "predict", "score"):
        print(f"{done:8s} {sum(one.seconds[done] for one in evaluation.outcomes):7.1f} s")
    print(f"whole    {spent:7.1f} CPU-s, peak {peak:.2f} GB")


if __name__ == "__main__":
    main()
