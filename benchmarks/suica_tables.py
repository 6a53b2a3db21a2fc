"""SUICA's table of metrics on real slides: three tasks, the paper's figures, simple methods beside.

Genes are the most variable of those the published filter keeps, so that no method is judged by what
another never learned. Values are counts scaled to a total of 200 a location, as the paper learns
them. MAE, MSE and cosine are over the entries with something in them, pooled over the matrix;
Pearson and Spearman are over the genes of a location, means over locations; ARI compares domains by
one recipe for all (15 principal components of logs, Gaussian mixture) with known labels. Added by
us: r of a gene over the locations, the median of all genes::

    python benchmarks/suica_tables.py --data ../shared/data

Finished rows are kept in `--folder`; the page is `docs/suica-tables.md`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accuracy import opened
from kept_rows import kept
from numpy.typing import NDArray

from napari_stsr.evaluation import metrics
from napari_stsr.evaluation.protocols import protocol
from napari_stsr.evaluation.task import Task
from napari_stsr.files import written_aside
from napari_stsr.methods import get_method
from napari_stsr.methods.suica.lesson import FEWEST_COUNTS, published_genes
from napari_stsr.methods.variable_genes import variable_genes
from napari_stsr.slides import Slide
from napari_stsr.training import Run
from napari_stsr.training.progress import outcome

Values = NDArray[np.float64]
Rows = Mapping[str, tuple[str, str, dict[str, Any]]]
TASKS = {
    "hidden-spots": "Spatial imputation: a fifth of the locations hidden",
    "muted-genes": "Gene imputation: 70 % of all entries muted",
    "noise": "Denoising: N(0, 1) added to the non-zeros",
}


def _wide(width: int, **values: Any) -> dict[str, Any]:
    """Narrower than the published 2,048; what is filtered is filtered for all methods."""
    return {"width": width, "hidden": width, "filters": False, **values}


ROWS: Rows = {
    "FFN, straight to genes": ("suica", "vanilla", _wide(256, backbone="ffn")),
    "… eight times the rate": (
        "suica",
        "vanilla",
        _wide(256, backbone="ffn", learning_rate=8e-5),
    ),
    "SIREN, straight to genes": ("suica", "vanilla", _wide(256, backbone="siren")),
    "STAGE (ours)": ("stage", "auto", {}),
    "SUICA `paper`": ("suica", "paper", _wide(512)),
    "… four times the rates": (
        "suica",
        "paper",
        _wide(512, autoencoder_rate=4e-5, learning_rate=4e-4),
    ),
    "SUICA `auto`": ("suica", "auto", {}),
    "Factor kernel": ("factor_kernel", "auto", {}),
    "Poisson kernel": ("poisson_kernel", "auto", {}),
    "Kriging": ("kriging", "auto", {}),
    "Gene mean": ("gene_mean", "auto", {}),
}
_ALONE = {"mix": "off"}
PARTS: Rows = {
    "Vanilla (straight to genes)": ("suica", "vanilla", _wide(256)),
    "+ autoencoder": ("suica", "paper", _wide(256, ablation="graph and dice")),
    "+ Dice": ("suica", "paper", _wide(256, ablation="graph")),
    "+ graph: `paper`": ("suica", "paper", _wide(256)),
    "`paper` without Dice": ("suica", "paper", _wide(256, ablation="dice")),
    "`paper` without autoencoder": ("suica", "paper", _wide(256, ablation="autoencoder")),
    "`auto` alone (no kernels)": ("suica", "auto", _ALONE),
    "… without autoencoder": ("suica", "auto", _ALONE | {"ablation": "autoencoder"}),
    "… without graph": ("suica", "auto", _ALONE | {"ablation": "graph"}),
    "`auto`": ("suica", "auto", {}),
}
PARTS_SETS, PARTS_SEEDS = ("her2st_C2", "st_mob1"), range(3)
COLUMNS = {
    "mae": "MAE",
    "mse": "MSE",
    "cosine": "cosine",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "ari": "ARI",
    "gene_r": "r of a gene",
    "seconds": "CPU-s",
}
SETS = ("dlpfc_151673", "her2st_C2", "st_mob1", "merfish_mouse_poa")
_TOTAL = 200.0
_LOWEST_IS_BEST = ("mae", "mse")


def figures(task: Task, predicted: Values, seed: int) -> dict[str, float]:
    """All columns of a row but the time."""
    whole = np.asarray(task.truth.totals) > 0
    truth = _scaled(task.truth.rows.toarray()[whole].astype(float))
    answer = _scaled(predicted[whole].astype(float))
    asked = None if task.scored is None else task.scored[whole].toarray().astype(bool)
    errors = metrics.pooled(truth, answer, asked)
    across = None if asked is None else asked.T
    found = {
        "mae": errors.mae,
        "mse": errors.mse,
        "cosine": errors.cosine,
        "pearson": metrics.pearson(truth.T, answer.T, across).mean,
        "spearman": metrics.spearman(truth.T, answer.T, across).mean,
        "gene_r": metrics.pearson(truth, answer, asked).median,
    }
    labels = np.full(len(task), "") if task.labels is None else np.asarray(task.labels)
    labels = labels[whole]
    kinds = len(np.unique(labels[labels != ""]))
    if kinds > 1 and asked is None:
        known = labels != ""
        parts = metrics.principal_components(np.log1p(50 * answer[known]), 15, seed)
        found["ari"] = metrics.adjusted_rand(labels[known], metrics.partition(parts, kinds, seed))
    return found


def _scaled(values: Values) -> Values:
    return values * (_TOTAL / np.maximum(values.sum(axis=1, keepdims=True), 1e-9))


def answered(task: Task, row: tuple[str, str, dict[str, Any]], seed: int) -> dict[str, float]:
    """Fit and predict by one row's method, and score it."""
    name, preset, values = row
    method, begun = get_method(name), time.process_time()
    fitting = method.fit(
        task.slide, method.parameters(preset, values), Run(seed=seed, device="cpu")
    )
    answer = outcome(outcome(fitting).predicting(task.targets))
    own = answer.denoised or answer.expression_source
    if task.scored is not None and answer.unseen is not None:
        own = answer.unseen.expected
    predicted = own.columns(np.arange(len(task.slide.genes)))
    seconds = time.process_time() - begun
    return {"seconds": seconds, **figures(task, predicted, seed)}


def restricted(data: Path, name: str, genes: int) -> Slide:
    """What the published filter keeps of a slide, and of its genes the most variable."""
    slide, _ = opened(data, name)
    slide = replace(slide, name=name).with_genes(published_genes(slide))
    slide = slide.take(slide.counts.totals >= FEWEST_COUNTS)
    return slide.with_genes(variable_genes(slide.counts, genes))


def judged(asked: argparse.Namespace, name: str, what: str, rows: Rows, seed: int) -> pd.DataFrame:
    """Rows of one set, one task and one seed, of split, masks and networks."""
    (task,) = protocol(what).fold(restricted(asked.data, name, asked.genes), 0, 5, seed)
    found = []
    for title, row in rows.items():
        depends_on = [name, what, row, asked.genes, seed, answered, figures, _scaled, restricted]
        work = partial(answered, task, row, seed)
        one = kept(asked.folder, task.slide, row[0], depends_on, work)
        print(name, what, title, one, flush=True)
        found.append({"row": title, **one})
    return pd.DataFrame(found).set_index("row")


def table(found: pd.DataFrame, spread: pd.DataFrame | None = None) -> str:
    """Markdown of one table."""
    shown = [c for c in COLUMNS if c in found and found[c].notna().any()]
    lines = ["| | " + " | ".join(COLUMNS[c] for c in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    cells = {c: _cells(found[c], c, None if spread is None else spread[c]) for c in shown}
    for at, row in enumerate(found.index):
        lines.append(f"| {row} | " + " | ".join(cells[c][at] for c in shown) + " |")
    return "\n".join(lines) + "\n"


def _cells(values: pd.Series, column: str, spread: pd.Series | None) -> list[str]:
    """Three digits each, the best in bold."""
    best = values.min() if column in _LOWEST_IS_BEST else values.max()
    told = [f"{value:.3g}" if np.isfinite(value) else "–" for value in values]
    if column != "seconds":
        told = [f"**{cell}**" if cell == f"{best:.3g}" else cell for cell in told]
    if spread is None:
        return told
    return [f"{cell} ± {apart:.1g}" for cell, apart in zip(told, spread, strict=True)]


def head(asked: argparse.Namespace) -> str:
    """What the page says first."""
    return (
        "# SUICA's table, redrawn\n\n"
        f"The paper's figures on real slides, seed {asked.seed}, one fold. Of each slide the "
        "locations and genes that the published filter keeps (200 counts or more in a location; "
        "at most 200 of a gene in any, 3 or more in all), and of these genes the "
        f"{asked.genes:,} most variable: all methods learn from them, and are judged by them. "
        "Values are counts scaled to a total of 200 a location. *MAE*, *MSE* and *cosine* are "
        "over entries with something in them; *Pearson* and *Spearman* are over the genes of a "
        "location; *ARI* compares domains with known labels, by one recipe for all (a Gaussian "
        "mixture with as many parts as there are labels, where the paper has Leiden clusters). "
        "*r of a gene* is ours: correlation over the locations, of the median gene. FFN and "
        "SIREN are the preset `vanilla`, 256 wide instead of 2,048; `paper` is 512 wide. Peers "
        "are our own implementations.\n\n"
        "```text\npython benchmarks/suica_tables.py "
        f"--genes {asked.genes} --seed {asked.seed}\n```\n\n"
        "Read these columns with care. Over the genes of one location the abundant ones decide: "
        "the mean of every gene, the same everywhere, already correlates highly. MAE, MSE and "
        "cosine leave out all zeros, so predicting too much goes unpunished. How well the "
        "*pattern* of a gene is told stands in *r of a gene* and in the "
        "[benchmark](benchmark.md). In *denoising* the truth is the very counts the noise was "
        "added to, so whoever hands its input on is near: `auto`, which weighs a location's own "
        "counts, gains by that. Narrow networks change less in a step at the same rate: two rows "
        "beside have rates as much higher as they are narrower, and which of both is nearer to "
        "the full width depends on the slide, see [Narrow networks](decisions/width.md).\n"
    )


def page(asked: argparse.Namespace) -> str:
    """Markdown of all tables."""
    parts = [head(asked)]
    for what, title in TASKS.items():
        parts.append(f"## {title}\n")
        for name in asked.sets:
            found = judged(asked, name, what, ROWS, asked.seed)
            parts += [f"**{name}**\n", table(found)]
    parts.append("## What each part is worth\n")
    parts.append(
        "Spatial imputation again, means and standard deviations over three seeds of split and "
        "networks; all of the published form 256 wide, with sine layers. Above, parts are added "
        "as in the paper's own ablation.\n"
    )
    for name in PARTS_SETS:
        seeds = [judged(asked, name, "hidden-spots", PARTS, seed) for seed in PARTS_SEEDS]
        groups = pd.concat(seeds).groupby(level="row", sort=False)
        parts += [f"**{name}**\n", table(groups.mean(), groups.std())]
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--genes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("suica_tables"))
    parser.add_argument("--output", type=Path, default=Path("docs/suica-tables.md"))
    asked = parser.parse_args()
    told = page(asked)
    with written_aside(asked.output) as aside:
        aside.write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
