"""The graph autoencoder: what a location and its neighbours express, in a few numbers and back."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from napari_stsr.methods.suica.rectified import rectified


class Decoder(nn.Module):
    """From an embedding to all genes.

    Parameters
    ----------
    latent : int
    widths : sequence of int
        Of the hidden layers, from the embedding outwards; ReLU after each.
    genes : int
    """

    def __init__(self, latent: int, widths: tuple[int, ...], genes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((latent, *widths)):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear((latent, *widths)[-1], genes)

    def hidden(self, z: Tensor) -> Tensor:
        """Last hidden states (b, h)."""
        return cast(Tensor, self.layers(z))

    def forward(self, z: Tensor) -> Tensor:
        """What the last layer says before any activation, (b, genes)."""
        return cast(Tensor, self.output(self.hidden(z)))

    def rectified(self, z: Tensor) -> Tensor:
        """``relu`` of what the last layer says, (b, genes)."""
        return rectified(self.hidden(z), self.output.weight, self.output.bias)


class GraphAutoencoder(nn.Module):
    """A graph layer, batch normalisation, dense layers to the embedding, and a decoder.

    ``H = A(XW + b)``, BatchNorm, ReLU, dense layers with ReLU between, none at the embedding.

    Parameters
    ----------
    genes, latent : int
    widths : sequence of int
        Of the encoder, from the genes inwards; the decoder mirrors them.
    """

    def __init__(self, genes: int, latent: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.graph_layer = nn.Linear(genes, widths[0])
        self.norm = nn.BatchNorm1d(widths[0])
        layers: list[nn.Module] = [nn.ReLU()]
        for before, after in pairwise((*widths, latent)):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.decoder = Decoder(latent, tuple(reversed(widths)), genes)

    def encode(self, summed: Tensor, degree: Tensor, first: int | None = None) -> Tensor:
        """Embedding (b, latent) of summed logs (l, genes) and their degrees (l, 1).

        See `graph.Summed`. Of more than the `first` b rows only the batch normalisation takes
        notice.
        """
        state = nn.functional.linear(summed, self.graph_layer.weight)
        state = self.norm(state + degree * self.graph_layer.bias)
        return cast(Tensor, self.layers(state[:first]))
