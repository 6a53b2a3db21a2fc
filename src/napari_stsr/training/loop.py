"""The one training loop: every method's stages run through it.

Randomness of a step is a function of (seed, stage, step) alone. So a run that is broken off and
resumed from any checkpoint ends with the same weights as an unbroken one, and no generator state
needs saving.
"""

from __future__ import annotations

import contextlib
import copy
import math
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_stsr.errors import Cancelled, InputError
from napari_stsr.training.checkpoint import Checkpoints
from napari_stsr.training.device import memory_guarded, resolve_device
from napari_stsr.training.progress import Pace, Progress, Run

_PRECISION = {"auto": "32-true", "32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


@dataclass(eq=False)
class Stage:
    """One stage of training.

    Parameters
    ----------
    name : str
        Key of the checkpoint and, in words, of the progress.
    title : str
        For people.
    module : nn.Module
        ``module(items, generator)`` returns the loss of some items (long tensor).
    items : int
        Number of training items.
    steps, batch : int
    remainder : bool
        End every pass with a smaller batch of what is left over, instead of leaving it out; a
        single item is left out, as nothing can be normalised over it.
    learning_rate, weight_decay : float
    decay : bool
        Let the learning rate fall to a twentieth along a cosine.
    validate : callable, optional
        Validation loss of the module now; without it the last weights stay.
    validate_every : int
        Steps between validations.
    patience : int
        Validations without a better one before the stage ends; 0 means never.
    weight : float
        Share of the whole fit's time, relative to the other stages.
    lower : str
        What to lower when memory runs out.
    clip : float
        Largest norm of a gradient; longer ones are shortened to it.
    momenta : pair of float
        How much of the averages of gradients and of their squares a step keeps.
    """

    name: str
    title: str
    module: nn.Module
    items: int
    steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.0
    decay: bool = False
    validate: Callable[[], float] | None = None
    validate_every: int = 25
    patience: int = 0
    weight: float = 1.0
    lower: str = "the batch size"
    clip: float = 5.0
    momenta: tuple[float, float] = (0.9, 0.999)
    remainder: bool = False


@dataclass(eq=False)
class _State:
    """What a checkpoint holds beside the weights."""

    step: int = 0
    finished: bool = False
    best_loss: float = float("inf")
    since_best: int = 0
    best: dict[str, Tensor] | None = None
    training: list[tuple[int, float]] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)


class Trainer:
    """Runs stages one after another on one device.

    Parameters
    ----------
    run : Run
    checkpoints : Checkpoints
    total_weight : float
        Sum of the weights of all stages to come.
    snapshot : callable, optional
        Gives the values of `Progress.preview`; called at most every two seconds, and never for
        more than a tenth of the time.
    """

    def __init__(
        self,
        run: Run,
        checkpoints: Checkpoints,
        total_weight: float = 1.0,
        snapshot: Callable[[], NDArray[np.float32] | None] | None = None,
    ) -> None:
        self.run, self.checkpoints, self.total_weight = run, checkpoints, total_weight
        self.snapshot = snapshot
        self.done_weight = 0.0
        self.pace = Pace()
        self._next_preview = time.monotonic() + 2.0
        place = torch.device(resolve_device(run.device))
        if place.type == "cpu" and run.precision == "16":
            raise InputError(
                "Precision 16 is for GPUs; processors have none.", "Choose 32 or bf16."
            )
        self.fabric = Fabric(
            accelerator=place.type,
            devices=1 if place.index is None else [place.index],
            precision=_PRECISION[run.precision],  # type: ignore[arg-type]
        )

    @property
    def device(self) -> torch.device:
        """Where the modules live."""
        return torch.device(self.fabric.device)

    @property
    def fraction(self) -> float:
        """Share of the whole fit that the stages so far were."""
        return min(1.0, self.done_weight / self.total_weight)

    def fit(self, stage: Stage) -> Generator[Progress, None, None]:
        """Train a stage to its end, reporting; leaves the best weights in ``stage.module``.

        Raises
        ------
        Cancelled
            At the first step after cancel was asked; the checkpoint is written first.
        MemoryExhausted
            With what to lower.
        """
        optimizer = torch.optim.AdamW(
            [p for p in stage.module.parameters() if p.requires_grad],
            lr=stage.learning_rate,
            betas=stage.momenta,
            weight_decay=stage.weight_decay,
            # One pass over the weights instead of eight; float16 clips between two of its steps.
            fused=self.run.precision != "16",
        )
        state = _State()
        held = self.checkpoints.load(stage.name)
        if held is not None:
            try:
                stage.module.load_state_dict(held["module"])
                state = _State(**held["loop"])
            except (KeyError, TypeError, RuntimeError) as error:
                raise InputError(
                    f"The checkpoint of stage {stage.name!r} is of another version.",
                    "Remove it to start anew.",
                ) from error
        with memory_guarded(stage.lower):
            module, wrapped = self.fabric.setup(stage.module, optimizer)
            if held is not None:
                wrapped.load_state_dict(held["optimizer"])
            yield from self._steps(stage, module, wrapped, state)
        if state.best is not None:
            stage.module.load_state_dict(state.best)
        stage.module.requires_grad_(False).eval()
        self.done_weight += stage.weight

    def _steps(
        self, stage: Stage, module: Any, optimizer: Any, state: _State
    ) -> Generator[Progress, None, None]:
        saved = time.monotonic()
        self.pace.begin(self._fraction(stage, state.step))
        if state.step == 0 and stage.validate is not None:
            # What training starts from counts too: on a small slide it may be the best there is.
            self._validate(stage, state)
        while not state.finished:
            try:
                self.run.cancel.check()
            except Cancelled:
                self._save(stage, optimizer, state)
                raise
            loss = self._step(stage, module, optimizer, state.step)
            state.step += 1
            state.finished = state.step >= stage.steps
            if stage.validate is not None and (
                state.step % stage.validate_every == 0 or state.finished
            ):
                self._validate(stage, state)
            if state.finished or time.monotonic() - saved > self.run.checkpoint_every_s:
                self._save(stage, optimizer, state)
                saved = time.monotonic()
            if self.pace.due() or state.finished:
                state.training.append((state.step, float(loss)))
                yield self._progress(stage, state)

    def _step(self, stage: Stage, module: Any, optimizer: Any, step: int) -> Tensor:
        generator = step_generator(self.run.seed, stage.name, step)
        items = batch_items(self.run.seed, stage, step)
        stage.module.train()
        for group in optimizer.param_groups:
            group["lr"] = rate(stage, step)
        optimizer.zero_grad()
        loss: Tensor = module(items, generator)
        self.fabric.backward(loss)
        if math.isfinite(stage.clip):
            self.fabric.clip_gradients(
                module, optimizer, max_norm=stage.clip, error_if_nonfinite=False
            )
        optimizer.step()
        return loss.detach()

    def _validate(self, stage: Stage, state: _State) -> None:
        assert stage.validate is not None
        stage.module.eval()
        with torch.no_grad(), self.fabric.autocast():
            loss = stage.validate()
        state.validation.append((state.step, loss))
        if loss < state.best_loss:
            state.best_loss, state.since_best = loss, 0
            weights = stage.module.state_dict()
            state.best = {name: value.detach().cpu().clone() for name, value in weights.items()}
        else:
            state.since_best += 1
            if stage.patience and state.since_best >= stage.patience:
                state.finished = True

    def _save(self, stage: Stage, optimizer: Any, state: _State) -> None:
        if self.checkpoints.folder is None:
            return
        loop = {name: copy.copy(value) for name, value in vars(state).items()}
        self.checkpoints.save(
            stage.name,
            {
                "module": stage.module.state_dict(),
                "optimizer": optimizer.state_dict(),
                "loop": loop,
            },
        )

    def _fraction(self, stage: Stage, step: int) -> float:
        share = stage.weight * step / max(1, stage.steps)
        return min(1.0, (self.done_weight + share) / self.total_weight)

    def _progress(self, stage: Stage, state: _State) -> Progress:
        fraction = self._fraction(stage, stage.steps if state.finished else state.step)
        losses = {"training": state.training[-1][1]}
        if state.validation:
            losses["validation"] = state.validation[-1][1]
        return Progress(
            stage.title,
            state.step,
            stage.steps,
            fraction,
            losses,
            self.pace.eta_s(fraction),
            self._preview(stage),
        )

    def _preview(self, stage: Stage) -> NDArray[np.float32] | None:
        if self.snapshot is None or self.run.preview is None:
            return None
        start = time.monotonic()
        if start < self._next_preview:
            return None
        stage.module.eval()
        with torch.no_grad():
            values = self.snapshot()
        spent = time.monotonic() - start
        self._next_preview = time.monotonic() + max(2.0, 10 * spent)
        return values


def rate(stage: Stage, step: int) -> float:
    """Learning rate of a step."""
    if not stage.decay:
        return stage.learning_rate
    lowest, share = 0.05, step / max(1, stage.steps)
    fall = lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * share))
    return stage.learning_rate * fall


def batches(items: int, batch: int, remainder: bool) -> int:
    """Batches in one pass; see `Stage.remainder`."""
    whole, left = divmod(items, max(1, min(batch, items)))
    return whole + (remainder and left > 1)


def batch_items(seed: int, stage: Stage, step: int) -> Tensor:
    """Items of a step: each epoch is a fresh permutation, cut into batches."""
    batch = max(1, min(stage.batch, stage.items))
    epoch, position = divmod(step, batches(stage.items, batch, stage.remainder))
    order = _epoch_order(seed, stage.name, epoch, stage.items)
    return torch.from_numpy(order[position * batch : (position + 1) * batch])


@lru_cache(maxsize=2)
def _epoch_order(seed: int, stage: str, epoch: int, items: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, _number(stage), 0, epoch]).permutation(items)


_DRAWING = threading.RLock()


@contextlib.contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Draw initial weights as a function of seed and name; torch's global state stays as it was."""
    # Torch draws weights from one state for all threads.
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(f"{seed}:{name}".encode()))
        yield


def step_generator(seed: int, stage: str, step: int) -> np.random.Generator:
    """Randomness of one step."""
    return np.random.default_rng([seed, _number(stage), 1, step])


def _number(name: str) -> int:
    return zlib.crc32(name.encode())
