"""The fields of an ensemble, side by side."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_stsr.methods.suica.backbones import Backbone, FourierField, HashGrid, Siren
from napari_stsr.methods.suica.params import SuicaParams

Floats = NDArray[np.float64]
# Wavelengths of the members' features in pitches where none is given: no single one fits all
# tissues, and members that err differently have the better mean.
_WAVELENGTHS = (24.0, 16.0, 12.0, 8.0, 6.0)
_PUBLISHED_SCALE = 10.0
_PLAIN_LAYERS = 10


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
    published = params.objective == "published"
    members: list[Backbone] = []
    for number in range(params.members):
        wave = params.wavelength_um or _WAVELENGTHS[number % len(_WAVELENGTHS)] * pitch_um
        # The frequencies of a normal draw of this width have the mean wavelength asked for.
        cycles = _PUBLISHED_SCALE if published and not params.wavelength_um else reach / wave
        if backbone == "ffn":
            shape = (256, 3) if published else (64, 0)
            members.append(FourierField(origin, reach, outputs, params.width, cycles, *shape))
        elif backbone == "siren":
            plain = published and params.ablation == "autoencoder"
            # W of U(±1/2)² is about 0.4 long: that many radians per reach make the wavelength.
            frequency = 30.0 if published and not params.wavelength_um else 5 * torch.pi * cycles
            hidden = _PLAIN_LAYERS if plain else 2 if published else 1
            members.append(Siren(origin, reach, outputs, params.width, hidden, frequency))
        else:
            coarsest = 16 if published else max(1, round(2 * cycles / 1.5))
            levels = 16 if published else 5
            members.append(HashGrid(origin, reach, outputs, levels=levels, coarsest=coarsest))
    return Ensemble(members)
