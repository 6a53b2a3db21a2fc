"""The training loop: same seed same weights, resume, cancel, best weights, early stop, memory."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_stsr.errors import Cancelled, InputError, MemoryExhausted
from napari_stsr.training import CancelToken, Run
from napari_stsr.training.checkpoint import Checkpoints
from napari_stsr.training.loop import Stage, Trainer, batch_items, seeded


class Line(nn.Module):
    """Fits y = 3 x, with noise drawn from the step's generator."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
        x = (items.float() / 50)[:, None]
        noise = torch.from_numpy(generator.standard_normal(len(items)).astype(np.float32))
        return ((self.layer(x)[:, 0] - 3 * x[:, 0] - 0.1 * noise) ** 2).mean()


def _stage(steps: int = 40, **changes: object) -> Stage:
    with seeded(0, "line"):
        module = changes.pop("module", None) or Line()
    return Stage("line", "fitting a line", module, 50, steps, 8, 0.05, **changes)  # type: ignore[arg-type]


def _fit(run: Run, stage: Stage, owner: str = "a") -> Stage:
    for _ in Trainer(run, Checkpoints(run.checkpoints, owner), stage.weight).fit(stage):
        pass
    return stage


def _weights(stage: Stage) -> list[float]:
    return [float(p) for p in stage.module.parameters()]


def test_same_seed_same_weights_and_another_seed_other_weights() -> None:
    first, second = (_weights(_fit(Run(seed=3, device="cpu"), _stage())) for _ in range(2))
    assert first == second
    assert first != _weights(_fit(Run(seed=4, device="cpu"), _stage()))


@pytest.mark.parametrize("stop_at", [1, 17, 39])
def test_a_cancelled_run_resumes_to_the_weights_of_an_unbroken_one(
    tmp_path: Path, stop_at: int
) -> None:
    unbroken = _weights(_fit(Run(device="cpu"), _stage()))
    token = CancelToken()
    stage = _stage()

    class Stopping(Line):
        def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls == stop_at:
                token.cancel()
            return super().forward(items, generator)

    with seeded(0, "line"):
        stage = _stage(module=Stopping())
    with pytest.raises(Cancelled):
        _fit(Run(device="cpu", checkpoints=tmp_path, cancel=token), stage)
    resumed = _weights(_fit(Run(device="cpu", checkpoints=tmp_path), _stage()))
    assert resumed == unbroken


def test_cancel_stops_within_one_step() -> None:
    token = CancelToken()
    calls = []

    class Counting(Line):
        def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
            calls.append(1)
            if len(calls) == 5:
                token.cancel()
            return super().forward(items, generator)

    with pytest.raises(Cancelled):
        _fit(Run(device="cpu", cancel=token), _stage(module=Counting()))
    assert len(calls) == 5


def test_the_best_weights_by_validation_stay() -> None:
    stage = _stage(steps=30, validate_every=10)
    seen: list[tuple[float, list[float]]] = []
    losses = iter([3.0, 2.0, 1.0, 5.0])

    def validate() -> float:
        seen.append((next(losses), _weights(stage)))
        return seen[-1][0]

    stage.validate = validate
    _fit(Run(device="cpu"), stage)
    assert _weights(stage) == seen[2][1]


def test_the_weights_training_starts_from_may_be_the_best() -> None:
    stage = _stage(steps=20, validate_every=10)
    start = [float(p.detach()) for p in stage.module.parameters()]
    losses = iter([1.0, 2.0, 3.0])
    stage.validate = lambda: next(losses)
    _fit(Run(device="cpu"), stage)
    assert _weights(stage) == start


def test_patience_ends_the_stage_early() -> None:
    calls: list[int] = []

    def validate() -> float:
        calls.append(1)
        return float(len(calls))

    _fit(Run(device="cpu"), _stage(steps=500, validate_every=5, patience=3, validate=validate))
    assert len(calls) == 4


def test_progress_is_complete_and_ends_at_one() -> None:
    stage = _stage()
    reports = list(Trainer(Run(device="cpu"), Checkpoints(None, ""), 2.0).fit(stage))
    assert reports[-1].step == reports[-1].total == 40
    assert reports[-1].fraction == pytest.approx(0.5)
    assert all(math.isfinite(r.losses["training"]) for r in reports)


def test_a_pass_ends_with_what_is_left_only_where_asked() -> None:
    stage = _stage(remainder=True)
    passed = [batch_items(0, stage, step) for step in range(7)]
    assert [len(items) for items in passed] == [8] * 6 + [2]
    assert sorted(torch.cat(passed).tolist()) == list(range(50))
    assert [len(batch_items(0, _stage(), step)) for step in range(12)] == [8] * 12
    # Nothing can be normalised over a single item.
    stage.batch = 7
    assert [len(batch_items(0, stage, step)) for step in range(8)] == [7] * 8


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run = Run(device="cpu", checkpoints=tmp_path)
    _fit(run, _stage(), "one")
    with pytest.raises(InputError, match="another run"):
        _fit(run, _stage(), "another")


def test_a_broken_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "line.pt").write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(InputError, match="is damaged"):
        _fit(Run(device="cpu", checkpoints=tmp_path), _stage())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_says_what_to_lower(error: Exception) -> None:
    class Hungry(Line):
        def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
            raise error

    with pytest.raises(MemoryExhausted, match="Lower the batch size"):
        _fit(Run(device="cpu"), _stage(module=Hungry()))


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="Choose auto"):
        Trainer(Run(device="cuda:7"), Checkpoints(None, ""))
    with pytest.raises(InputError, match="no device"):
        Trainer(Run(device="toaster"), Checkpoints(None, ""))


def test_bf16_trains_close_to_32_bit() -> None:
    full = _weights(_fit(Run(device="cpu"), _stage(steps=100)))
    mixed = _weights(_fit(Run(device="cpu", precision="bf16"), _stage(steps=100)))
    assert np.allclose(full, mixed, atol=0.1)


def test_preview_is_asked_for_and_travels() -> None:
    run = Run(device="cpu")
    trainer = Trainer(run, Checkpoints(None, ""), 1.0, lambda: np.ones(3, dtype=np.float32))
    trainer._next_preview = 0.0
    run.preview = lambda fitted: None
    reports = list(trainer.fit(_stage()))
    assert any(r.preview is not None and r.preview.tolist() == [1, 1, 1] for r in reports)


def test_cancelled_while_paused_still_leaves_a_checkpoint(tmp_path: Path) -> None:
    token = CancelToken()

    class Pausing(Line):
        def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
            token.pause()
            threading.Timer(0.05, token.cancel).start()
            return super().forward(items, generator)

    with pytest.raises(Cancelled):
        _fit(Run(device="cpu", checkpoints=tmp_path, cancel=token), _stage(module=Pausing()))
    assert (tmp_path / "line.pt").is_file()


def test_impossible_runs_are_refused() -> None:
    with pytest.raises(InputError, match="seed -1"):
        Run(seed=-1)
    with pytest.raises(InputError, match="for GPUs"):
        Trainer(Run(device="cpu", precision="16"), Checkpoints(None, ""))
