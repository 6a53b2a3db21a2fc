"""What the stages of SUICA minimise."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from napari_stsr.methods.layers.likelihood import SparseBatch
from napari_stsr.methods.suica.autoencoder import Decoder, GraphAutoencoder
from napari_stsr.methods.suica.ensemble import Ensemble
from napari_stsr.methods.suica.graph import Summed
from napari_stsr.methods.suica.lesson import Lesson
from napari_stsr.methods.suica.params import DEEP_CHUNK, FIELD_CHUNK
from napari_stsr.methods.suica.published_loss import DICE_WEIGHT, PublishedTargets

Ints = NDArray[np.int64]
_MOST_VALIDATED = 1500


class AutoencoderTraining(nn.Module):
    """Loss of the members' autoencoders: squared error of values, or likelihood of counts.

    Parameters
    ----------
    networks : list of GraphAutoencoder
        One a member.
    summed : list of Summed
        Likewise, on graphs of what each member sees.
    lesson : Lesson
    published : bool
        Mean squared error over all entries of ``relu`` of the output.
    loading : bool
        Let the batch normalisation see the neighbours of a batch too; see `Summed.loaded`.
    """

    def __init__(
        self,
        networks: list[GraphAutoencoder],
        summed: list[Summed],
        lesson: Lesson,
        published: bool,
        loading: bool = False,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.summed, self.lesson, self.published = summed, lesson, published
        self.loading = loading
        self.typical = float(lesson.totals.mean())

    def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
        """Loss of one batch, the mean over members and what they see."""
        seen = [items.numpy()[self.lesson.seen(m)[items]] for m in range(len(self.networks))]
        # Nothing can be normalised over a single location.
        losses = [self._loss(member, rows) for member, rows in enumerate(seen) if len(rows) > 1]
        return torch.stack(losses).mean()

    def _loss(self, member: int, rows: Ints) -> Tensor:
        batch, said = self._said(member, rows, self.summed[member])
        if self.published:
            return functional.mse_loss(said, batch.dense())
        return _unlikeliness(batch, said, self.typical).mean()

    def _said(self, member: int, rows: Ints, summed: Summed) -> tuple[SparseBatch, Tensor]:
        network = cast(GraphAutoencoder, self.networks[member])
        device = network.graph_layer.weight.device
        if self.loading and network.training:
            z = network.encode(*summed.loaded(rows, device), first=len(rows))
        else:
            z = network.encode(*summed.rows(rows, device))
        said = network.decoder.rectified(z) if self.published else network.decoder(z)
        return SparseBatch.of(self.lesson.values[rows], device), said

    def validation(self, every: Summed) -> float:
        """Loss at locations given back by the member that was not trained on them.

        Parameters
        ----------
        every : Summed
            On the graph of all locations.
        """
        losses = []
        for member in range(len(self.networks)):
            batch, said = self._said(member, blind(self.lesson, member), every)
            losses.append(_unlikeliness(batch, said, self.typical))
        return float(torch.cat(losses).mean())


def blind(lesson: Lesson, member: int) -> Ints:
    """Locations a member does not see, as many as a validation takes, from all over the slide."""
    members, blind = int(lesson.fold.max()) + 1, np.flatnonzero(~lesson.seen(member))
    many = min(len(blind), _MOST_VALIDATED // members)
    # Rows often stand in the order of their places: the first would be one edge of the tissue.
    return blind[np.linspace(0, len(blind) - 1, many).astype(np.int64)]


def _unlikeliness(batch: SparseBatch, logits: Tensor, typical: float) -> Tensor:
    """Negative multinomial log-likelihood of every row, (b,), in units of the typical total."""
    log_share = functional.log_softmax(logits, dim=1).flatten()
    own = log_share[batch.row * batch.columns + batch.column] * batch.value
    return -own.new_zeros(batch.rows).index_add(0, batch.row, own) / typical


class EmbeddingTraining(nn.Module):
    """``MSE + L1`` between what the members say of a place and the embedding measured there.

    Parameters
    ----------
    ensemble : Ensemble
    lesson : Lesson
    z : (members, r, latent) tensor
        Each member's embeddings of what it sees.
    """

    def __init__(self, ensemble: Ensemble, lesson: Lesson, z: Tensor) -> None:
        super().__init__()
        self.ensemble, self.z = ensemble, z
        members = range(len(ensemble))
        self.seen = torch.from_numpy(np.stack([lesson.seen(member) for member in members]))
        self.encoded = _Encoded(ensemble, lesson)

    def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
        """Loss of one batch, the mean over members and what they see."""
        chunks = items.split(FIELD_CHUNK)
        if len(chunks) == 1:
            total = self._error(items)
        else:
            # Errors add up: what a chunk holds is made again on the way back, never all at once.
            parts = [checkpoint(self._error, chunk, use_reentrant=False) for chunk in chunks]
            total = torch.stack(parts).sum()
        return total / self.seen[:, items].sum().clamp_min(1)

    def _error(self, items: Tensor) -> Tensor:
        """Sum over members of the errors at what they see."""
        said: Tensor = self.ensemble(self.encoded.at(items))
        apart = said - self.z[:, items].to(said)
        error = (apart**2 + apart.abs()).mean(dim=2)
        return (error * self.seen[:, items].to(said)).sum()


class _Encoded:
    """What the members see of the lesson's places: found once, as places stay."""

    def __init__(self, ensemble: Ensemble, lesson: Lesson) -> None:
        self.ensemble = ensemble
        self.places = torch.from_numpy(lesson.places.astype(np.float32))
        self._all: list[tuple[Tensor, ...]] | None = None

    def at(self, items: Tensor) -> list[tuple[Tensor, ...]]:
        if self._all is None:
            with torch.no_grad():
                self._all = self.ensemble.encode(self.places.to(self._device))
        return [tuple(what[items] for what in member) for member in self._all]

    def shaken(
        self, items: Tensor, generator: np.random.Generator, width: float
    ) -> list[tuple[Tensor, ...]]:
        drawn = generator.normal(0.0, width, (len(items), 2)).astype(np.float32)
        shaken = self.places[items] + torch.from_numpy(drawn)
        return self.ensemble.encode(shaken.to(self._device))

    @property
    def _device(self) -> torch.device:
        return next(self.ensemble.parameters()).device


class CountTraining(nn.Module):
    """Likelihood of the counts where every member says what a place is made of.

    Parameters
    ----------
    ensemble : Ensemble
    decoders : list of Decoder
        One a member.
    lesson : Lesson
    jitter_um : float
    """

    def __init__(
        self,
        ensemble: Ensemble,
        decoders: list[Decoder],
        lesson: Lesson,
        jitter_um: float,
    ) -> None:
        super().__init__()
        self.ensemble, self.decoders = ensemble, nn.ModuleList(decoders)
        self.lesson, self.jitter_um = lesson, jitter_um
        self.typical = float(lesson.totals.mean())
        self.encoded = _Encoded(ensemble, lesson)

    def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
        """Loss of one batch, the mean over members and what they see."""
        if self.jitter_um:
            what = self.encoded.shaken(items, generator, self.jitter_um)
        else:
            what = self.encoded.at(items)
        losses = []
        for member, z in enumerate(self.ensemble(what).unbind()):
            seen = np.flatnonzero(self.lesson.seen(member)[items.numpy()])
            losses.append(self._losses(member, items[seen], z[seen]))
        return torch.cat(losses).mean()

    def _losses(self, member: int, items: Tensor, z: Tensor) -> Tensor:
        batch = SparseBatch.of(self.lesson.values[items.numpy()], z.device)
        return _unlikeliness(batch, self.decoders[member](z), self.typical)

    def validation(self) -> float:
        """Loss at locations, each told by the member that is blind to it."""
        losses = []
        for member in range(len(self.decoders)):
            held = torch.from_numpy(blind(self.lesson, member))
            z = self.ensemble(self.encoded.at(held))[member]
            losses.append(self._losses(member, held, z))
        return float(torch.cat(losses).mean())


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
        self.targets = PublishedTargets(
            lesson.values, rows_at_once=DEEP_CHUNK if together else None
        )
        encoded = _Encoded(ensemble, lesson)
        every = torch.arange(len(lesson))
        self.field: Callable[[slice], Tensor]
        if together:
            self.field = lambda rows: ensemble(encoded.at(every[rows]))[0]
        else:
            with torch.no_grad():
                chunks = every.split(FIELD_CHUNK)
                frozen = torch.cat([ensemble(encoded.at(chunk))[0] for chunk in chunks])
            self.field = lambda rows: frozen[rows].to(decoder.output.weight.device)

    def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
        """Loss over all locations, whatever the items."""
        output = self.decoder.output
        sums = self.targets.sums(
            lambda rows: self.decoder.hidden(self.field(rows)),
            output.weight,
            output.bias,
            self.dice,
        )
        return sums.loss(DICE_WEIGHT if self.dice else 0.0)
