"""Coordinate networks: from a place in µm to an embedding. One network, three ways to see a place.

Every backbone works in two steps: `encode` turns places into what does not change while weights do
(it is computed once for places that stay), and calling it turns that into values.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

_FIRST_FREQUENCY = 30.0
_SECOND_PRIME = 2654435761
_GROWTH = 1.5


class Backbone(nn.Module):
    """A network of places.

    Parameters
    ----------
    origin : (2,) tensor
        µm; the middle of the slide.
    reach : float
        µm; places are divided by it. In units of `reach` the slide lies in [-1, 1] where it is half
        the longer side.
    outputs : int
    """

    origin: Tensor
    reach: Tensor

    def __init__(self, origin: Tensor, reach: float, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.register_buffer("origin", origin.float())
        self.register_buffer("reach", torch.tensor(float(reach)))

    def encode(self, places: Tensor) -> tuple[Tensor, ...]:
        """What the network sees of places (m, 2) in µm; each tensor has m rows."""
        raise NotImplementedError

    def scaled(self, places: Tensor) -> Tensor:
        """Places in units of the reach, (m, 2)."""
        return (places - self.origin) / self.reach


class FourierField(Backbone):
    """Random Fourier features, one ReLU layer, and a stack of linear layers, folded into one.

    ``γ(x) = [sin 2πxB, cos 2πxB]``, ``f(x) = W₅ W₄ W₃ W₂ relu(W₁ γ + b₁) + …``. Between W₂ … W₅ is
    no activation, so their product is multiplied out from the output side, ((W₅ W₄) W₃) W₂,
    which is as narrow as the output; values and gradients are those of the stack.

    Parameters
    ----------
    origin, reach, outputs : see `Backbone`
    width, features : int
    scale : float
        Standard deviation of the frequencies B, in cycles per reach.
    linear : int
        Linear layers of full width between the ReLU layer and the last one.
    """

    frequencies: Tensor

    def __init__(
        self,
        origin: Tensor,
        reach: float,
        outputs: int,
        width: int,
        scale: float,
        features: int = 256,
        linear: int = 3,
    ) -> None:
        super().__init__(origin, reach, outputs)
        self.register_buffer("frequencies", scale * torch.randn(2, features))
        self.first = nn.Linear(2 * features, width)
        self.linear = nn.ModuleList(nn.Linear(width, width) for _ in range(linear))
        self.last = nn.Linear(width, outputs)

    def encode(self, places: Tensor) -> tuple[Tensor, ...]:
        """Fourier features (m, 2 · features)."""
        angle = 2 * math.pi * self.scaled(places) @ self.frequencies
        return (torch.cat([torch.sin(angle), torch.cos(angle)], dim=1),)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (outputs, width) and bias (outputs,) of all linear layers after the ReLU."""
        weight: Tensor = self.last.weight
        bias: Tensor = self.last.bias
        for layer in reversed(self.linear):
            layer = cast(nn.Linear, layer)
            bias = bias + weight @ layer.bias
            weight = weight @ layer.weight
        return weight, bias

    def forward(self, features: Tensor) -> Tensor:
        """Values (m, outputs)."""
        state = torch.relu(self.first(features))
        if len(state) < self.outputs:
            # Fewer places than outputs: layer by layer is the shorter way.
            return cast(Tensor, self.last(nn.Sequential(*self.linear)(state)))
        return nn.functional.linear(state, *self.folded())


class Siren(Backbone):
    """Sine layers: ``sin 30(Wx + b)`` first, then ``sin(Wz + b)``, and a linear last one.

    The first layer is drawn from U(±1/2), the others from U(±√(6/d)).

    Parameters
    ----------
    origin, reach, outputs : see `Backbone`
    width : int
    hidden : int
        Sine layers after the first.
    frequency : float
        The 30 of the first layer.
    """

    def __init__(
        self,
        origin: Tensor,
        reach: float,
        outputs: int,
        width: int,
        hidden: int = 2,
        frequency: float = _FIRST_FREQUENCY,
    ) -> None:
        super().__init__(origin, reach, outputs)
        self.frequency = frequency
        self.first = nn.Linear(2, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(hidden))
        self.last = nn.Linear(width, outputs)
        with torch.no_grad():
            self.first.weight.uniform_(-0.5, 0.5)
            bound = math.sqrt(6 / width)
            for layer in (*self.hidden, self.last):
                cast(nn.Linear, layer).weight.uniform_(-bound, bound)

    def encode(self, places: Tensor) -> tuple[Tensor, ...]:
        """Scaled places (m, 2)."""
        return (self.scaled(places),)

    def forward(self, places: Tensor) -> Tensor:
        """Values (m, outputs)."""
        state = torch.sin(self.frequency * self.first(places))
        for layer in self.hidden:
            state = torch.sin(layer(state))
        return cast(Tensor, self.last(state))


class HashGrid(Backbone):
    """Multiresolution hash grid with bilinear weights, and a small ReLU network behind it.

    Level l has ``⌊16 · 1.5^l⌋`` cells a side; corners beyond the table's size share entries by the
    hash ``(i ⊕ 2654435761 · j) mod T``. Corners and weights of places that stay are found once.

    Parameters
    ----------
    origin, reach, outputs : see `Backbone`
    width : int
        Of the two ReLU layers.
    levels, features : int
    entries : int
        Table size T of a level.
    coarsest : int
        Cells a side of the first level.
    """

    def __init__(
        self,
        origin: Tensor,
        reach: float,
        outputs: int,
        width: int = 64,
        levels: int = 16,
        features: int = 2,
        entries: int = 2**15,
        coarsest: int = 16,
    ) -> None:
        super().__init__(origin, reach, outputs)
        self.levels, self.entries, self.coarsest = levels, entries, coarsest
        self.table = nn.Parameter(torch.empty(levels * entries, features).uniform_(-1e-4, 1e-4))
        self.network = nn.Sequential(
            nn.Linear(levels * features, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, outputs),
        )

    def encode(self, places: Tensor) -> tuple[Tensor, ...]:
        """Table entries (m, levels · 4) of the corners around each place, and their weights."""
        unit = ((self.scaled(places) + 1) / 2).clamp(0, 1)
        entries, weights = [], []
        for level in range(self.levels):
            cells = math.floor(self.coarsest * _GROWTH**level)
            fine = unit * cells
            low = fine.floor().clamp(max=cells - 1)
            share = fine - low
            for right in (0, 1):
                for below in (0, 1):
                    corner = low.long() + torch.tensor([right, below], device=low.device)
                    entries.append(level * self.entries + self._entry(corner, cells))
                    along = share[:, 0] if right else 1 - share[:, 0]
                    across = share[:, 1] if below else 1 - share[:, 1]
                    weights.append(along * across)
        return torch.stack(entries, dim=1), torch.stack(weights, dim=1)

    def _entry(self, corner: Tensor, cells: int) -> Tensor:
        i, j = corner.unbind(1)
        if (cells + 1) ** 2 <= self.entries:
            return i + j * (cells + 1)
        return (i ^ (j * _SECOND_PRIME)) % self.entries

    def forward(self, entries: Tensor, weights: Tensor) -> Tensor:
        """Values (m, outputs)."""
        rows = len(entries)
        mixed = nn.functional.embedding_bag(
            entries.view(-1, 4), self.table, per_sample_weights=weights.view(-1, 4), mode="sum"
        )
        return cast(Tensor, self.network(mixed.view(rows, -1)))
