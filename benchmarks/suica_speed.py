"""SUICA's preset ``paper`` beside the plain schedule of ``suica_published.py``: time and accuracy.

Run: ``python benchmarks/suica_speed.py``, and ``python benchmarks/suica_published.py`` with the
same ``--locations --genes --nonzero --slide --backbone --width``: both take the same slide and
split and print the same figures, and with the same ``--seed`` their networks start from the same
weights (not so the hash grid). Run several seeds: what differs by less than these do is noise.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from suica_published import drawn, held_out, plain, shared_arguments, simulated
from torch import nn

from napari_stsr.methods import get_method
from napari_stsr.methods.field import FieldMethod
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.suica.fitted import SuicaFitted
from napari_stsr.methods.suica.fitting import Fitting
from napari_stsr.methods.suica.params import SuicaParams
from napari_stsr.results.expression import ScaledExpression
from napari_stsr.slides import Slide
from napari_stsr.training.loop import Stage
from napari_stsr.training.progress import Progress, Run, outcome


class Watch:
    """CPU-seconds of every stage of a fit, and its loss over all training locations afterwards.

    Before a stage it hands over the plain networks' weights.
    """

    def __init__(self, fitting: Fitting, given: argparse.Namespace) -> None:
        networks = drawn(len(fitting.lesson.genes), given)
        self.given = dict(zip(("autoencoder", "field"), networks, strict=True))
        self.params, self.decoder_stride = fitting.params, given.decoder_stride
        self.seconds: dict[str, float] = {}
        self.reached: dict[str, float] = {}
        self.aside = 0.0
        self._fit = fitting.trainer.fit
        cast(Any, fitting.trainer).fit = self.fit

    def fit(self, stage: Stage) -> Generator[Progress, None, None]:
        """Train a stage as the trainer does."""
        if stage.name in self.given:
            start_from(self.given[stage.name], stage.module)
        if stage.name == "decoder" and self.decoder_stride is not None:
            stage = strided(stage, self.params, self.decoder_stride)
        start = time.process_time()
        yield from self._fit(stage)
        end = time.process_time()
        self.seconds[stage.name] = end - start
        with torch.no_grad():
            every = torch.arange(stage.items)
            self.reached[stage.name] = float(stage.module(every, np.random.default_rng(0)))
        self.aside += time.process_time() - end


def strided(stage: Stage, params: SuicaParams, stride: int) -> Stage:
    """A stage at another stride than the parameters say."""
    first, second = (momentum ** (1 / params.stride) for momentum in stage.momenta)
    return replace(
        stage,
        steps=-(-params.decoder_steps // stride),
        learning_rate=stride * params.learning_rate,
        momenta=(first**stride, second**stride),
    )


def start_from(plain_network: nn.Module, module: nn.Module) -> None:
    """Give our network of a stage the weights of the plain one; both list them in one order."""
    if isinstance(plain_network, plain.NGP):
        return
    with torch.no_grad():
        for ours, theirs in zip(module.parameters(), plain_network.parameters(), strict=True):
            assert ours.shape == theirs.shape
            ours.copy_(theirs)
        if isinstance(plain_network, plain.FFN):
            cast(Any, module).ensemble.members[0].frequencies.copy_(plain_network.B)


def fitted(slide: Slide, given: argparse.Namespace) -> tuple[SuicaFitted, Watch, float]:
    """Fit the preset; also gives the CPU-seconds of the whole fit."""
    method = cast(FieldMethod, get_method("suica"))
    values: dict[str, Any] = {"backbone": given.backbone, "hidden": given.width}
    values["width"] = given.width
    if given.stride is not None:
        values["stride"] = given.stride
    params = cast(SuicaParams, method.parameters("paper", values))
    run = Run(given.seed, "cpu", given.precision, given.threads)
    start = time.process_time()
    measured = Measured.of(slide)
    fitting = Fitting(method, slide, measured, params, run)
    watch = Watch(fitting, given)
    learned = outcome(fitting.run_through())
    whole = time.process_time() - start - watch.aside
    return SuicaFitted(method, measured, params, given.seed, learned), watch, whole


def said(made: SuicaFitted, places: NDArray[np.float64], genes: NDArray[np.int64]) -> torch.Tensor:
    """Values scaled to a total of 200, as the plain schedule predicts them."""
    expression, _ = made.field(places, Run(device="cpu"))
    values = cast(ScaledExpression, expression).whole.columns(genes)
    return torch.from_numpy(values).double()


def arguments() -> argparse.Namespace:
    parser = shared_arguments(__doc__)
    parser.add_argument("--stride", type=int, help="instead of the preset's")
    parser.add_argument("--decoder-stride", type=int, help="of the decoder alone")
    parser.add_argument("--precision", choices=("auto", "32", "bf16"), default="auto")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    # In a process of its own, so that the peak below is the fit's.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        asked = given.locations, given.genes, given.nonzero, given.slide
        slide = pool.submit(simulated, *asked).result()
    held = held_out(given.locations, given.slide)
    counts = torch.from_numpy(slide.counts.rows.toarray())
    kept = plain.prepared(counts, deciding=torch.from_numpy(~held))
    genes = np.flatnonzero(kept.genes.numpy())
    hidden = held[kept.locations.numpy()]
    slide = slide.take(np.flatnonzero(kept.locations.numpy()))

    made, watch, whole = fitted(slide.take(np.flatnonzero(~hidden)), given)
    rest = whole - sum(watch.seconds.values())
    known = torch.from_numpy(~hidden)
    y, p = kept.expression.double(), said(made, slide.coordinates, genes)
    report = {
        "asked": vars(given),
        "stride": made.params.stride,
        "hidden": int(hidden.sum()),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "cpu_seconds": {"preparation": rest, **watch.seconds, "whole": whole},
        "reached": watch.reached,
        "training": plain.metrics(p[known], y[known]),
        "held_out": plain.metrics(p[~known], y[~known]),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
