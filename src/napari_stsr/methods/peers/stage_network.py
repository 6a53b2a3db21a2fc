"""The autoencoder of STAGE, whose latent values are taught to be the coordinates."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from napari_stsr.methods.layers.likelihood import SparseBatch

_NARROW = (50, 10)
_SLICED_WEIGHT = 0.1
_ABSOLUTE_WEIGHT = 0.1
_RECONSTRUCTION_WEIGHT = 0.1


class AutoEncoder(nn.Module):
    """Genes → hidden → hidden/2 → 50 → 10 → 2, and back; batch norm and ReLU between.

    Parameters
    ----------
    genes, hidden : int
    """

    def __init__(self, genes: int, hidden: int) -> None:
        super().__init__()
        widths = [hidden, max(10, hidden // 2), *_NARROW]
        self.encoder = nn.Sequential(*_layers([genes, *widths]), nn.Linear(widths[-1], 2))
        self.decoder = nn.Sequential(*_layers([2, *widths[::-1]]))
        self.output = nn.Linear(hidden, genes)

    def decode(self, places: Tensor) -> Tensor:
        """Logs at normalised coordinates (b, 2), shape (b, genes)."""
        return functional.relu(self.output(self.decoder(places)))

    def plain_decoder(self) -> dict[str, NDArray[np.float32]]:
        """Weights and biases of the decoder's hidden layers, batch norm folded in, as arrays."""
        arrays: dict[str, NDArray[np.float32]] = {}
        for number, at in enumerate(range(0, len(self.decoder), 3)):
            linear: Any = self.decoder[at]
            norm: Any = self.decoder[at + 1]
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = (linear.weight * scale[:, None]).T
            bias = (linear.bias - norm.running_mean) * scale + norm.bias
            arrays[f"weight {number}"] = weight.detach().cpu().numpy()
            arrays[f"bias {number}"] = bias.detach().cpu().numpy()
        return arrays


def _layers(widths: list[int]) -> list[nn.Module]:
    made: list[nn.Module] = []
    for before, after in pairwise(widths):
        made += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
    return made


class StageTraining(nn.Module):
    """Loss of the autoencoder: latent values against coordinates, decoded logs against logs.

    ``|z − s|₁ + 0.1 · SW(z, s) + 0.1 · (‖x̂ − x‖² + 0.1 |x̂ − x|₁)``, all as means; SW is the sliced
    Wasserstein distance.

    Parameters
    ----------
    network : AutoEncoder
    logs : (n, g) CSR matrix
    places : (n, 2) array
        Normalised coordinates s.
    items : (b,) int array
        Locations to train on.
    projections : int
        Random directions of the sliced distance.
    """

    def __init__(
        self,
        network: AutoEncoder,
        logs: sparse.csr_matrix,
        places: NDArray[np.float32],
        items: NDArray[np.int64],
        projections: int,
    ) -> None:
        super().__init__()
        self.network, self.logs, self.items = network, logs, items
        self.projections = projections
        self.places = torch.from_numpy(places)

    def forward(self, items: Tensor, generator: np.random.Generator) -> Tensor:
        """Loss of one batch."""
        logs, places = self._batch(self.items[items.numpy()])
        latent = self.network.encoder(logs)
        turn = generator.uniform(0, np.pi, self.projections).astype(np.float32)
        lines = torch.from_numpy(np.stack([np.cos(turn), np.sin(turn)])).to(places)
        decoded = self.network.decode(latent)
        absolute = functional.l1_loss(decoded, logs)
        error = functional.mse_loss(decoded, logs) + _ABSOLUTE_WEIGHT * absolute
        apart = sliced_wasserstein(latent.float(), places, lines)
        distance = functional.l1_loss(latent, places) + _SLICED_WEIGHT * apart
        return distance + _RECONSTRUCTION_WEIGHT * error

    def validation(self, items: NDArray[np.int64]) -> float:
        """Squared error of the logs decoded at the coordinates of some locations."""
        logs, places = self._batch(items)
        return float(functional.mse_loss(self.network.decode(places).float(), logs))

    def _batch(self, items: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        device = self.network.output.weight.device
        logs = SparseBatch.of(self.logs[items], device).dense()
        return logs, self.places[torch.from_numpy(items)].to(device)


def sliced_wasserstein(first: Tensor, second: Tensor, lines: Tensor) -> Tensor:
    """Wasserstein-2 distance of two clouds (b, 2), root mean square over directions (2, p)."""
    one, other = (torch.sort(cloud @ lines, dim=0).values for cloud in (first, second))
    return torch.sqrt(functional.mse_loss(one, other) + 1e-12)
