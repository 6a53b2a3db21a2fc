"""The fields of an ensemble side by side, and the mean of what its members say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_stsr.methods.suica.backbones import Backbone, FourierField, HashGrid, Siren
from napari_stsr.methods.suica.params import (
    FEATURES,
    LINEAR_LAYERS,
    SINE_LAYERS,
    SINE_LAYERS_ALONE,
    SuicaParams,
)
from napari_stsr.results.expression import DecodedExpression, Floats32

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Wavelengths of the members' features in pitches where none is given: no single one fits all
# tissues, and members that err differently have the better mean.
_WAVELENGTHS = (20.0, 16.0, 12.0, 24.0, 14.0)
_PUBLISHED_SCALE = 10.0


class Ensemble(nn.Module):
    """Members that answer the same question.

    Parameters
    ----------
    members : sequence of Backbone
    """

    def __init__(self, members: list[Backbone]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def __len__(self) -> int:
        return len(self.members)

    def encode(self, places: Tensor) -> list[tuple[Tensor, ...]]:
        """What every member sees of places (m, 2) in µm."""
        # Angles of many turns: of these 16 bits would keep the turns and lose the angle.
        with torch.autocast(places.device.type, enabled=False):
            return [cast(Backbone, member).encode(places) for member in self.members]

    def forward(self, seen: list[tuple[Tensor, ...]]) -> Tensor:
        """Values of all members, (members, m, outputs)."""
        pairs = zip(self.members, seen, strict=True)
        return torch.stack([member(*what) for member, what in pairs])


def ensemble_of(
    places: Floats, pitch_um: float, params: SuicaParams, backbone: str, outputs: int
) -> Ensemble:
    """Draw the members for a slide.

    Parameters
    ----------
    places : (r, 2) float array
        Locations in µm: the middle and half the longer side of their frame are the unit.
    pitch_um : float
    params : SuicaParams
    backbone : {"ffn", "siren", "ngp"}
    outputs : int
    """
    low, high = places.min(axis=0), places.max(axis=0)
    origin, reach = torch.from_numpy((low + high) / 2), max(float((high - low).max()) / 2, 1e-9)
    published = params.published
    members: list[Backbone] = []
    for number in range(params.members):
        wave = params.wavelength_um or _WAVELENGTHS[number % len(_WAVELENGTHS)] * pitch_um
        # The frequencies of a normal draw of this width have the mean wavelength asked for.
        cycles = _PUBLISHED_SCALE if published and not params.wavelength_um else reach / wave
        if backbone == "ffn":
            shape = (FEATURES, LINEAR_LAYERS) if published else (64, 0)
            members.append(FourierField(origin, reach, outputs, params.width, cycles, *shape))
        elif backbone == "siren":
            # W of U(±1/2)² is about 0.4 long: that many radians per reach make the wavelength.
            frequency = 30.0 if published and not params.wavelength_um else 5 * torch.pi * cycles
            deep = SINE_LAYERS_ALONE if params.alone else SINE_LAYERS
            hidden = deep if published else 1
            members.append(Siren(origin, reach, outputs, params.width, hidden, frequency))
        else:
            asked = max(1, round(2 * cycles / 1.5))
            coarsest = 16 if published and not params.wavelength_um else asked
            levels = 16 if published else 5
            members.append(HashGrid(origin, reach, outputs, levels=levels, coarsest=coarsest))
    return Ensemble(members)


@dataclass(frozen=True, eq=False)
class EnsembleExpression:
    """Mean of the members' compositions, times one depth.

    Parameters
    ----------
    members : tuple of DecodedExpression
        Of depth one.
    depth : (m,) float32 array
    """

    members: tuple[DecodedExpression, ...]
    depth: Floats32

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.members[0].shape

    def columns(self, genes: Ints) -> Floats32:
        """Expected counts of the given gene columns."""
        mean = self.members[0].columns(genes)
        for member in self.members[1:]:
            mean += member.columns(genes)
        mean *= self.depth[:, None] / np.float32(len(self.members))
        return mean

    def relative_variance(self, genes: Ints) -> Floats32:
        """Variance of the members over the square of their mean, (m, len(genes))."""
        if len(self.members) < 2:
            return np.zeros((len(self.depth), len(genes)), dtype=np.float32)
        total = np.zeros((len(self.depth), len(genes)), dtype=np.float32)
        square = np.zeros_like(total)
        for member in self.members:
            said = member.columns(genes)
            total += said
            square += said * said
        n = np.float32(len(self.members))
        mean = np.maximum(total / n, np.float32(1e-12))
        return np.asarray(np.maximum(square / n / mean**2 - 1, 0) * (n / (n - 1)))

    def take(self, targets: Ints | NDArray[np.bool_]) -> EnsembleExpression:
        """Return some targets."""
        members = tuple(member.take(targets) for member in self.members)
        return EnsembleExpression(members, self.depth[targets])


@dataclass(frozen=True, eq=False)
class BlindExpression:
    """What one member says of each target: the one that has not seen it.

    Parameters
    ----------
    members : tuple of DecodedExpression
        Of depth one.
    fold : (m,) int array
        Number of that member.
    depth : (m,) float32 array
    """

    members: tuple[DecodedExpression, ...]
    fold: Ints
    depth: Floats32

    @property
    def shape(self) -> tuple[int, int]:
        """Targets and genes."""
        return self.members[0].shape

    def columns(self, genes: Ints) -> Floats32:
        """Expected counts of the given gene columns."""
        out = np.zeros((len(self.fold), len(genes)), dtype=np.float32)
        for number, member in enumerate(self.members):
            rows = np.flatnonzero(self.fold == number)
            out[rows] = member.take(rows).columns(genes) * self.depth[rows, None]
        return out

    def with_output(self, weight: Floats32, bias: Floats32) -> BlindExpression:
        """Return the same of other genes, by weights (members, g, d) and biases (members, g)."""
        members = tuple(
            replace(member, weight=weight[number], bias=bias[number])
            for number, member in enumerate(self.members)
        )
        return replace(self, members=members)

    def take(self, targets: Ints | NDArray[np.bool_]) -> BlindExpression:
        """Return some targets."""
        members = tuple(member.take(targets) for member in self.members)
        return BlindExpression(members, self.fold[targets], self.depth[targets])
