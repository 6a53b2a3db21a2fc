"""The published schedule: to the letter at stride 1, and along the same path at longer strides."""

from __future__ import annotations

from collections.abc import Generator
from copy import deepcopy
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from napari_stsr.methods import get_method
from napari_stsr.methods.field import FieldMethod
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.suica.fitting import Fitting
from napari_stsr.methods.suica.params import SuicaParams
from napari_stsr.methods.suica.stages import PublishedTraining
from napari_stsr.slides import Slide
from napari_stsr.slides.simulate import simulate
from napari_stsr.training.loop import Stage, batch_items
from napari_stsr.training.progress import Progress, Run, outcome
from tests.methods.suica import plain

SMALL: dict[str, Any] = {"hidden": 64, "width": 32, "latent": 4, "field_steps": 30, "batch": 64}


@pytest.fixture(scope="module")
def slide() -> Slide:
    return simulate("realistic", "square", (12, 12), 40, 3, image=False, tissue=False).slide


def _fitting(slide: Slide, **values: Any) -> Fitting:
    method = cast(FieldMethod, get_method("suica"))
    params = cast(SuicaParams, method.parameters("paper", {**SMALL, **values}))
    return Fitting(method, slide, Measured.of(slide), params, Run(device="cpu"))


class _Watched:
    """The decoder's stage, and its decoder before and after."""

    def __init__(self, fitting: Fitting) -> None:
        self._fit = fitting.trainer.fit
        cast(Any, fitting.trainer).fit = self.fit
        outcome(fitting.run_through())

    def fit(self, stage: Stage) -> Generator[Progress, None, None]:
        if isinstance(stage.module, PublishedTraining):
            self.z = stage.module.field(slice(None)).clone()
            self.before = deepcopy(stage.module.decoder)
            self.after = stage.module.decoder
        yield from self._fit(stage)


def test_at_stride_one_the_decoder_learns_as_published(slide: Slide) -> None:
    steps = 12
    fitting = _fitting(slide, stride=1, decoder_steps=steps, autoencoder_steps=20)
    watched = _Watched(fitting)
    y = torch.from_numpy(fitting.lesson.values.toarray())
    decoder = plain.Decoder(y.shape[1], (64, 16, 2, 4))
    layers = [part for part in watched.before.modules() if isinstance(part, nn.Linear)]
    for theirs, ours in zip(decoder.layers, layers, strict=True):
        theirs.load_state_dict(ours.state_dict())
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=1e-4, weight_decay=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        plain.decoder_loss(decoder(watched.z), y).backward()
        optimiser.step()
    for theirs, ours in zip(decoder.parameters(), watched.after.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("left", [0, 1, 2], ids=["none left", "one left", "two left"])
def test_the_autoencoder_takes_200_passes_of_the_published_batches(slide: Slide, left: int) -> None:
    fitting, stages = _fitting(slide), []
    n = len(fitting.lesson)
    batch = (n - left) // 2
    fitting = _fitting(slide.take(fitting.lesson.rows[: 2 * batch + left]), batch=batch)

    def fit(stage: Stage) -> Generator[Progress, None, None]:
        stages.append(stage)
        yield Progress("", 1, 1, 1.0)

    cast(Any, fitting.trainer).fit = fit
    outcome(fitting._autoencoders())
    (stage,) = stages
    assert stage.module.loading
    # A single location left over cannot be normalised; everything else is in every pass.
    passed = torch.cat([batch_items(0, stage, step) for step in range(2 + (left > 1))])
    assert len(set(passed.tolist())) == len(passed) == 2 * batch + (left if left > 1 else 0)
    assert stage.steps == 200 * (2 + (left > 1)) / fitting.params.stride


def test_a_longer_stride_ends_where_single_steps_do(slide: Slide) -> None:
    def after(stride: int, steps: int) -> Tensor:
        given = {"stride": stride, "decoder_steps": steps, "autoencoder_steps": 40}
        watched = _Watched(_fitting(slide, learning_rate=1e-3, **given))
        return watched.after(watched.z).detach()

    single, longer, fewer = after(1, 160), after(4, 160), after(1, 40)
    assert _apart(longer, single) < 0.05 * _apart(fewer, single)


def _apart(p: Tensor, other: Tensor) -> float:
    return float((p - other).square().mean().sqrt())
