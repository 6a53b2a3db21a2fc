"""What the stages of SUICA minimise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from napari_stsr.methods.layers.likelihood import SparseBatch, log_likelihood
from napari_stsr.methods.suica.autoencoder import Decoder, GraphAutoencoder
from napari_stsr.methods.suica.ensemble import Ensemble
from napari_stsr.methods.suica.graph import Summed
from napari_stsr.methods.suica.lesson import Lesson
from napari_stsr.methods.suica.published_loss import DICE_WEIGHT, PublishedTargets

Ints = NDArray[np.int64]
_MOST_VALIDATED = 1500


class AutoencoderTraining(nn.Module):
    """Loss of the autoencoder: squared error of the values, or likelihood of the counts.

    Parameters
    ----------
    network : GraphAutoencoder
    summed : Summed
    lesson : Lesson
    published : bool
        Mean squared error over all entries of ``relu`` of the output.
    """

    def __init__(
        self, network: GraphAutoencoder, summed: Summed, lesson: Lesson, published: bool
    ) -> None:
        super().__init__()
        self.network, self.summed, self.lesson = network, summed, lesson
        self.published = published
        self.log_size = nn.Parameter(torch.zeros(len(lesson.genes)), requires_grad=not published)

    def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
        """Loss of one batch."""
        device = self.network.decoder.output.weight.device
        rows = items.numpy()
        batch = SparseBatch.of(self.lesson.values[rows], device)
        said = self.network.decoder(self.network.encode(*self.summed.rows(rows, device)))
        if self.published:
            return functional.mse_loss(functional.relu(said), batch.dense())
        return _unlikeliness(batch, said, self.log_size).mean()


def _unlikeliness(batch: SparseBatch, logits: Tensor, log_size: Tensor) -> Tensor:
    """Negative log-likelihood of every row given its total, per gene, (b,)."""
    log_mean = functional.log_softmax(logits, dim=1) + torch.log(batch.totals())[:, None]
    return -log_likelihood(batch, log_mean, log_size) / batch.columns


class EmbeddingTraining(nn.Module):
    """``MSE + L1`` between what the members say of a place and the embedding measured there.

    Parameters
    ----------
    ensemble : Ensemble
    lesson : Lesson
    z : (members or 1, r, latent) tensor
        Embeddings; of a location held out from a member, that member sees none.
    """

    def __init__(self, ensemble: Ensemble, lesson: Lesson, z: Tensor) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.z = z
        self.seen = _seen(lesson, len(ensemble))
        self.encoded = _Encoded(ensemble, lesson)

    def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
        """Loss of one batch, the mean over members."""
        said: Tensor = self.ensemble(self.encoded.at(items))
        target, seen = self.z[:, items].to(said), self.seen[:, items].to(said)
        apart = said[..., : target.shape[2]] - target
        error = (apart**2 + apart.abs()).mean(dim=2)
        loss: Tensor = (error * seen).sum() / seen.sum().clamp_min(1)
        return loss


def _seen(lesson: Lesson, members: int) -> Tensor:
    """Which locations a member sees, (members, r)."""
    return torch.from_numpy(lesson.fold[None] != np.arange(members)[:, None])


class _Encoded:
    """What the members see of the lesson's places: found once, as places stay."""

    def __init__(self, ensemble: Ensemble, lesson: Lesson) -> None:
        self.ensemble = ensemble
        self.places = torch.from_numpy(lesson.places.astype(np.float32))
        self._all: list[tuple[Tensor, ...]] | None = None

    def at(self, items: Tensor) -> list[tuple[Tensor, ...]]:
        device = next(self.ensemble.parameters()).device
        if self._all is None:
            with torch.no_grad():
                self._all = self.ensemble.encode(self.places.to(device))
        return [tuple(what[items] for what in member) for member in self._all]

    def shaken(
        self, items: Tensor, generator: np.random.Generator, width: float
    ) -> list[tuple[Tensor, ...]]:
        device = next(self.ensemble.parameters()).device
        drawn = generator.normal(0.0, width, (len(items), 2)).astype(np.float32)
        return self.ensemble.encode((self.places[items] + torch.from_numpy(drawn)).to(device))


class CountTraining(nn.Module):
    """Likelihood of the counts where every member says what a place holds.

    A member's last output is the log of the depth; its loss is that of an exponential law,
    ``log D + T/D``, whose minimum is the mean.

    Parameters
    ----------
    ensemble : Ensemble
    decoder : Decoder
    lesson : Lesson
    log_size : (t,) tensor
        Where the sizes of the negative binomials start.
    jitter_um : float
    """

    def __init__(
        self,
        ensemble: Ensemble,
        decoder: Decoder,
        lesson: Lesson,
        log_size: Tensor,
        jitter_um: float,
    ) -> None:
        super().__init__()
        self.ensemble, self.decoder, self.lesson = ensemble, decoder, lesson
        self.log_size = nn.Parameter(log_size.detach().clone())
        self.jitter_um = jitter_um
        self.seen = _seen(lesson, len(ensemble))
        self.encoded = _Encoded(ensemble, lesson)
        self.depth = torch.from_numpy((lesson.totals / lesson.totals.mean()).astype(np.float32))

    def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
        """Loss of one batch, the mean over members and what they see."""
        if self.jitter_um:
            what = self.encoded.shaken(items, generator, self.jitter_um)
        else:
            what = self.encoded.at(items)
        losses = self._losses(items, what)
        seen = self.seen[:, items].to(losses)
        loss: Tensor = (losses * seen).sum() / seen.sum().clamp_min(1)
        return loss

    def _losses(self, items: Tensor, what: list[tuple[Tensor, ...]]) -> Tensor:
        """Loss of every member at every location, (members, b)."""
        said: Tensor = self.ensemble(what)
        batch = SparseBatch.of(self.lesson.values[items.numpy()], said.device)
        log_depth, depth = said[..., -1], self.depth[items].to(said)
        losses = [
            _unlikeliness(batch, self.decoder(z), self.log_size) for z in said[..., :-1].unbind()
        ]
        per_gene = 1 / batch.columns
        return torch.stack(losses) + per_gene * (log_depth + depth * torch.exp(-log_depth))

    def validation(self) -> float:
        """Loss at locations held out, each told by the member that does not know it."""
        held = torch.from_numpy(np.flatnonzero(self.lesson.fold >= 0)[:_MOST_VALIDATED])
        losses = self._losses(held, self.encoded.at(held))
        blind = ~self.seen[:, held].to(losses.device)
        return float((losses * blind).sum() / blind.sum())


class PublishedTraining(nn.Module):
    """The published loss of the decoder on what the frozen field says of all locations.

    The field does not change, so it is asked once.

    Parameters
    ----------
    ensemble : Ensemble
        Of one member.
    decoder : Decoder
    lesson : Lesson
    dice : bool
    together : bool
        Train the field too (without autoencoder there is nothing to freeze).
    """

    def __init__(
        self, ensemble: Ensemble, decoder: Decoder, lesson: Lesson, dice: bool, together: bool
    ) -> None:
        super().__init__()
        self.decoder, self.dice = decoder, dice
        self.ensemble = ensemble if together else None
        self.targets = PublishedTargets(lesson.values)
        encoded = _Encoded(ensemble, lesson)
        every = torch.arange(len(lesson))
        self._field: Callable[[slice], Tensor]
        if together:
            self._field = lambda rows: ensemble(encoded.at(every[rows]))[0]
        else:
            with torch.no_grad():
                frozen = ensemble(encoded.at(every))[0]
            self._field = lambda rows: frozen[rows].to(decoder.output.weight.device)

    def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
        """Loss over all locations, whatever the items."""
        output = self.decoder.output
        sums = self.targets.sums(
            lambda rows: self.decoder.hidden(self._field(rows)),
            output.weight,
            output.bias,
            self.dice,
        )
        return sums.loss(DICE_WEIGHT if self.dice else 0.0)
