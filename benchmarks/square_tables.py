"""Tables 1 and 2 of Square's slides, redrawn on simulated slides whose truth is known.

Every method answers at the nine subspots of every spot, in its own amounts and made to add up to
the measured counts. Two rows need no method: the uniform split, and the noise-free mean, which is
the best any method could do::

    python benchmarks/square_tables.py --seeds 10

Finished seeds are kept in `--folder`; the page is `docs/square-tables.md`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_stsr.evaluation.metrics import (
    adjusted_rand,
    jaccard_distance_above_mean,
    jaccard_distance_of_top,
    partition,
    principal_components,
    spearman_distance,
)
from napari_stsr.files import written_aside
from napari_stsr.methods import get_method
from napari_stsr.slides.simulate import Simulation, simulate
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome

Values = NDArray[np.float64]
ALONE = {"mix": "off"}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "Square": ("square", {}),
    "Square, own counts off": ("square", {"own_counts": False}),
    "Square alone (not mixed)": ("square", ALONE),
    "… without virtual nodes": ("square", ALONE | {"ablation": "virtual nodes"}),
    "… without VAE": ("square", ALONE | {"ablation": "vae"}),
    "… without attention": ("square", ALONE | {"ablation": "attention"}),
    "BayesSpace (ours)": ("bayesspace", {}),
    "STAGE (ours)": ("stage", {}),
    "CARD (ours)": ("card", {}),
    "Factor kernel": ("factor_kernel", {}),
    "Poisson kernel": ("poisson_kernel", {}),
    "Kriging": ("kriging", {}),
}
COLUMNS = {
    "mse": "MSE",
    "scd": "SCD",
    "jd_mean": "JD>μ",
    "jd_30": "JD_30",
    "ari": "ARI",
    "mse_mean": "MSE to the mean",
    "within": "within-spot r",
    "seconds": "s",
}


def answers(one: Simulation, seed: int, preset: str) -> dict[str, Values]:
    """Values of every row at the parts, those made to conserve under a name of their own."""
    slide, k = one.slide, one.parts
    measured = slide.counts.rows.toarray().astype(float)
    even = np.repeat(measured / k, k, axis=0)
    found: dict[str, Values] = {"Uniform split": even, "Noise-free mean": one.mean.astype(float)}
    genes = np.arange(len(slide.genes))
    for title, (name, values) in ROWS.items():
        begun, method = time.process_time(), get_method(name)
        params = method.parameters(preset, values)
        fitted = outcome(method.fit(slide, params, Run(seed=seed, device="cpu")))
        answer = outcome(fitted.predicting(slide.subspots(k)))
        own = answer.denoised or answer.expression_source
        found[title] = own.columns(genes).astype(float)
        found[f"{title}, conserved"] = answer.expression_source.columns(genes).astype(float)
        SECONDS[title] = time.process_time() - begun
    return found


SECONDS: dict[str, float] = {}


def figures(one: Simulation, values: Values, seed: int) -> dict[str, float]:
    """All columns of a row, over the parts of spots that hold anything."""
    kept = (one.domain >= 0) & np.repeat(one.slide.counts.totals > 0, one.parts)
    truth, mean = one.truth.toarray()[kept].astype(float), one.mean[kept].astype(float)
    own = values[kept]
    total = np.maximum(own.sum(axis=1, keepdims=True), 1e-9)
    parts = principal_components(np.log1p(1e4 * own / total), 15, seed)
    found = partition(parts, len(np.unique(one.domain[kept])), seed)
    return {
        "mse": float(((own - truth) ** 2).mean()),
        "scd": float(np.nanmean(spearman_distance(truth, own).values)),
        "jd_mean": float(np.nanmean(jaccard_distance_above_mean(truth, own).values)),
        "jd_30": float(np.nanmean(jaccard_distance_of_top(truth, own, 30, seed).values)),
        "ari": adjusted_rand(one.domain[kept], found),
        "mse_mean": float(((own - mean) ** 2).mean()),
        "within": _within(one, values),
    }


def _within(one: Simulation, values: Values) -> float:
    """Correlation with the noise-free mean, the spot's own mean taken off, of the median gene."""
    whole = one.slide.counts.totals > 0

    def apart(full: Values) -> Values:
        groups = full.reshape(-1, one.parts, full.shape[1])[whole]
        return np.asarray((groups - groups.mean(axis=1, keepdims=True)).reshape(-1, full.shape[1]))

    a, b = apart(values), apart(one.mean.astype(float))
    norm = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    r = np.divide((a * b).sum(axis=0), norm, out=np.zeros(len(norm)), where=norm > 1e-9)
    return float(np.median(r))


def worked(kind: str, seed: int, preset: str, side: int, genes: int, folder: Path) -> pd.DataFrame:
    """Rows of one simulated slide; read from the folder where they are known."""
    kept = folder / f"{kind}_{preset}_{side}x{genes}_{seed}.json"
    if not kept.is_file():
        one = simulate(kind, shape=(side, side), genes=genes, image=False, seed=seed)
        rows = []
        for title, values in answers(one, seed, preset).items():
            own = SECONDS.get(title, np.nan)
            rows.append({"row": title, "seconds": own, **figures(one, values, seed)})
        folder.mkdir(parents=True, exist_ok=True)
        with written_aside(kept) as aside:
            aside.write_text(json.dumps(rows))
    return pd.DataFrame(json.loads(kept.read_text()))


def page(tables: dict[str, pd.DataFrame], seeds: int, asked: argparse.Namespace) -> str:
    """Markdown of all tables."""
    parts = [
        "# Square's tables, redrawn\n",
        f"Simulated slides of {asked.side} × {asked.side} spots, {asked.genes} genes, nine parts "
        f"a spot, {seeds} seeds, preset `{asked.preset}`; mean ± standard deviation over seeds. "
        "Peers are our own implementations. *MSE* to *ARI* are the columns of the slides, against "
        "the counts of the parts, which hold noise; *MSE to the mean* and *within-spot r* are "
        "against the noise-free mean. ARI is one recipe for all: 15 principal components of "
        "logs, Gaussian mixture.\n",
        "```text\npython benchmarks/square_tables.py "
        f"--seeds {seeds} --preset {asked.preset} --side {asked.side} --genes {asked.genes}\n```\n",
        "Read JD_30 with care: about .813 is what chance gives when many genes tie at the top. "
        "Counts scatter more than Poisson here, each place its own way, and the noise-free mean "
        "knows nothing of that. A method that weighs what was counted in the spot follows its "
        "scatter: nearer to the counts of the parts, farther from the mean. Kernels and *own "
        "counts off* go by the neighbours alone.\n",
    ]
    for kind, table in tables.items():
        groups = table.groupby("row", sort=False)
        mean, spread = groups.mean(), groups.std()
        parts.append(f"## {kind.replace('_', ' ').capitalize()}\n")
        parts.append("| | " + " | ".join(COLUMNS.values()) + " |")
        parts.append("|---" * (len(COLUMNS) + 1) + "|")
        for row in mean.index:
            cells = [_cell(mean.at[row, c], spread.at[row, c]) for c in COLUMNS]
            parts.append(f"| {row} | " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts)


def _cell(mean: float, spread: float) -> str:
    if not np.isfinite(mean):
        return "–"
    return f"{mean:.3g}" if not np.isfinite(spread) else f"{mean:.3g} ± {spread:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--preset", default="auto")
    parser.add_argument("--side", type=int, default=24)
    parser.add_argument("--genes", type=int, default=500)
    parser.add_argument("--kinds", nargs="*", default=["slides_like", "realistic"])
    parser.add_argument("--folder", type=Path, default=Path("square_tables"))
    parser.add_argument("--output", type=Path, default=Path("docs/square-tables.md"))
    asked = parser.parse_args()
    tables: dict[str, pd.DataFrame] = {}
    for seed in range(asked.seeds):
        for kind in asked.kinds:
            one = worked(kind, seed, asked.preset, asked.side, asked.genes, asked.folder)
            tables[kind] = pd.concat([tables.get(kind), one]) if kind in tables else one
            print(f"{kind}, seed {seed}: done", flush=True)
        with written_aside(asked.output) as aside:
            aside.write_text(page(tables, seed + 1, asked), encoding="utf-8")


if __name__ == "__main__":
    main()
