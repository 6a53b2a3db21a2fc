"""SUICA's formulas as they are written: dense, slow, one line of code a line of the text.

The reference that the method is tested against and that ``benchmarks/suica_published.py`` times.
Every network takes its ``dtype``, so that equality can be shown in float64.

Notation: n locations, g genes, d numbers an embedding; x and y are expression (n, g) scaled to a
total a location and not logged, p is predicted expression, z (n, d) the embedding. The fields take
coordinates (n, 2) in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

TOTAL = 200.0
WIDTHS = (2048, 512, 64, 32)


@dataclass(frozen=True)
class Prepared:
    """Scaled expression of what was kept.

    Attributes
    ----------
    expression : (n, g) Tensor
        Of kept locations and genes, every location scaled to a total of 200.
    locations, genes : bool Tensors
        What was kept of the counts' rows and columns.
    """

    expression: Tensor
    locations: Tensor
    genes: Tensor


def prepared(
    counts: Tensor,
    *,
    per_location: float = 200,
    per_gene: float = 3,
    highest: float = 200,
    deciding: Tensor | None = None,
) -> Prepared:
    """Filter locations, then genes by their total, then genes by their maximum; scale; no log.

    Which genes stay only the locations ``deciding`` say (bool, all by default).
    """
    locations = counts.sum(1) >= per_location
    asked = counts[locations if deciding is None else locations & deciding]
    genes = asked.sum(0) >= per_gene
    if len(asked):
        genes &= asked.amax(0) <= highest
    left = counts[locations][:, genes]
    totals = left.sum(1, keepdim=True)
    return Prepared(left * TOTAL / torch.where(totals > 0, totals, 1), locations, genes)


def scaled_coordinates(places: Tensor, of: Tensor) -> Tensor:
    """2 (c - middle) / longer side, by the box around the places ``of``."""
    low, high = of.amin(0), of.amax(0)
    return 2 * (places - (low + high) / 2) / (high - low).max()


def neighbour_edges(places: Tensor, k: int = 5) -> Tensor:
    """Directed edges (2, n k), targets over sources: every location hears its k nearest and itself.

    k counts the location itself. Of equally near ones the first in order is taken.
    """
    n = len(places)
    square = (places[:, None] - places[None]).square().sum(-1)
    square.fill_diagonal_(-1)
    nearest = square.argsort(dim=1, stable=True)[:, :k]
    targets = torch.arange(n)[:, None].expand(n, min(k, n))
    return torch.stack([targets.reshape(-1), nearest.reshape(-1)])


def adjacency(edges: Tensor, n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """A (n, n): A_ij = 1 where i hears j."""
    A = torch.zeros(n, n, dtype=dtype)
    A[edges[0], edges[1]] = 1
    return A


def neighbour_sum(edges: Tensor, values: Tensor) -> Tensor:
    """A V: the plain sum over the sources of every target."""
    return torch.zeros_like(values).index_add_(0, edges[0], values[edges[1]])


def truncated(edges: Tensor, rows: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The given rows, then their neighbours; and the edges among all these, renumbered.

    The rows hear all their neighbours; a neighbour hears whom of its own happen to be there.
    """
    wanted = torch.zeros(n, dtype=torch.bool)
    wanted[rows] = True
    around = torch.zeros(n, dtype=torch.bool)
    around[edges[1][wanted[edges[0]]]] = True
    loaded = torch.cat([rows, torch.nonzero(around & ~wanted)[:, 0]])
    number = torch.full((n,), -1)
    number[loaded] = torch.arange(len(loaded))
    renumbered = number[edges]
    return loaded, renumbered[:, (renumbered >= 0).all(0)]


class Encoder(nn.Module):
    """H = A (log1p(x) W + b), BatchNorm, ReLU, then ReLU between linear layers, none at the end."""

    def __init__(
        self, genes: int, widths: Sequence[int] = WIDTHS, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.graph_layer = nn.Linear(genes, widths[0], dtype=dtype)
        self.norm = nn.BatchNorm1d(widths[0], dtype=dtype)
        self.layers = _linear_layers(widths, dtype)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        h = neighbour_sum(edges, self.graph_layer(torch.log1p(x)))
        h = torch.relu(self.norm(h))
        for layer in self.layers[:-1]:
            h = torch.relu(layer(h))
        z: Tensor = self.layers[-1](h)
        return z


class Decoder(nn.Module):
    """Linear layers back to the genes, ReLU after each, the last too."""

    def __init__(
        self, genes: int, widths: Sequence[int] = WIDTHS, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.layers = _linear_layers([*reversed(widths), genes], dtype)

    def forward(self, z: Tensor) -> Tensor:
        for layer in self.layers:
            z = torch.relu(layer(z))
        return z


class GraphAutoencoder(nn.Module):
    """Embedding of every location, and expression from it."""

    def __init__(
        self, genes: int, widths: Sequence[int] = WIDTHS, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.encoder = Encoder(genes, widths, dtype)
        self.decoder = Decoder(genes, widths, dtype)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        p: Tensor = self.decoder(self.encoder(x, edges))
        return p


class FFN(nn.Module):
    """[sin 2πcB, cos 2πcB], Linear, ReLU, three Linear without activation, Linear to d.

    B (2, frequencies) is drawn once from N(0, 10²) and not learnt.
    """

    B: Tensor

    def __init__(
        self,
        d: int = 32,
        width: int = 2048,
        frequencies: int = 256,
        deviation: float = 10.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.register_buffer("B", deviation * torch.randn(2, frequencies, dtype=dtype))
        self.layers = _linear_layers([2 * frequencies, width, width, width, width, d], dtype)

    def forward(self, coordinates: Tensor) -> Tensor:
        angle = 2 * math.pi * coordinates @ self.B
        h = torch.cat([angle.sin(), angle.cos()], dim=1)
        h = torch.relu(self.layers[0](h))
        for layer in self.layers[1:]:
            h = layer(h)
        return h


class SIREN(nn.Module):
    """sin(30 (W c + b)), two times sin(W h + b), Linear to d.

    Weights are drawn from U(±1/2) in the first layer, from U(±√(6/width)) in the others.
    """

    def __init__(self, d: int = 32, width: int = 2048, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.layers = _linear_layers([2, width, width, width, d], dtype)
        bounds = [1 / 2, *[math.sqrt(6 / width)] * 3]
        for layer, bound in zip(self.layers, bounds):
            nn.init.uniform_(layer.get_parameter("weight"), -bound, bound)

    def forward(self, coordinates: Tensor) -> Tensor:
        h = torch.sin(30 * self.layers[0](coordinates))
        for layer in self.layers[1:-1]:
            h = torch.sin(layer(h))
        z: Tensor = self.layers[-1](h)
        return z


class NGP(nn.Module):
    """Multiresolution hash grid, then two hidden layers with ReLU and Linear to d.

    Level l has cells of 1/floor(coarsest growth^l) over the unit square, and 2 features at every
    corner, read bilinearly. Corner (i, j) is entry i + j (cells + 1) of the level's table while
    the table holds all corners, and (i xor 2654435761 j) mod T once it does not.
    """

    def __init__(
        self,
        d: int = 32,
        width: int = 64,
        levels: int = 16,
        features: int = 2,
        log2_table: int = 15,
        coarsest: int = 16,
        growth: float = 1.5,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.size = 2**log2_table
        self.cells = [math.floor(coarsest * growth**level) for level in range(levels)]
        self.tables = nn.ParameterList()
        for cells in self.cells:
            table = torch.empty(min((cells + 1) ** 2, self.size), features, dtype=dtype)
            self.tables.append(nn.Parameter(nn.init.uniform_(table, -1e-4, 1e-4)))
        self.layers = _linear_layers([levels * features, width, width, d], dtype)

    def forward(self, coordinates: Tensor) -> Tensor:
        unit = ((coordinates + 1) / 2).clamp(0, 1)
        h = torch.cat([self._level(unit, level) for level in range(len(self.cells))], dim=1)
        for layer in self.layers[:-1]:
            h = torch.relu(layer(h))
        z: Tensor = self.layers[-1](h)
        return z

    def _level(self, unit: Tensor, level: int) -> Tensor:
        """Features of one level, (n, features): four corners, weighted by the opposite areas."""
        cells, table = self.cells[level], self.tables[level]
        cell = (unit * cells).floor().clamp(max=cells - 1)
        along = unit * cells - cell
        out = torch.zeros(len(unit), table.shape[1], dtype=table.dtype)
        for right in (0, 1):
            for up in (0, 1):
                i, j = cell[:, 0].long() + right, cell[:, 1].long() + up
                if (cells + 1) ** 2 <= self.size:
                    entry = i + j * (cells + 1)
                else:
                    entry = torch.bitwise_xor(i, j * 2654435761) % self.size
                across = along[:, 0] if right else 1 - along[:, 0]
                upward = along[:, 1] if up else 1 - along[:, 1]
                out = out + (across * upward)[:, None] * table[entry]
        return out


BACKBONES: dict[str, Callable[..., nn.Module]] = {"ffn": FFN, "siren": SIREN, "ngp": NGP}


def reconstruction_loss(p: Tensor, x: Tensor) -> Tensor:
    """Mean of (p - x)² over all elements."""
    return (p - x).square().mean()


def embedding_loss(found: Tensor, z: Tensor) -> Tensor:
    """L_embd = mean (ẑ - z)² + mean |ẑ - z|."""
    return (found - z).square().mean() + (found - z).abs().mean()


def dice_loss(p: Tensor, y: Tensor) -> Tensor:
    """1 - (2 Σ q t + 1) / (Σ q + Σ t + 1) with q = tanh(p / 2), t = 1[y > 0], over the matrix."""
    q = torch.tanh(p / 2)
    t = (y > 0).to(p.dtype)
    return 1 - (2 * (q * t).sum() + 1) / (q.sum() + t.sum() + 1)


def decoder_loss(p: Tensor, y: Tensor, dice: float = 0.01) -> Tensor:
    """L = mean over y ≠ 0 of (p - y)² + mean |p - y| + 0.01 Dice."""
    there = y != 0
    return (p - y)[there].square().mean() + (p - y).abs().mean() + dice * dice_loss(p, y)


def nonzero_errors(p: Tensor, y: Tensor) -> dict[str, float]:
    """MAE, MSE and cosine over the elements with y > 0 of the whole matrix."""
    p, y = p[y > 0], y[y > 0]
    cosine = (p * y).sum() / (_length(p, 0) * _length(y, 0))
    return {
        "MAE": (p - y).abs().mean().item(),
        "MSE": (p - y).square().mean().item(),
        "cosine": cosine.item(),
    }


def pearson(p: Tensor, y: Tensor) -> Tensor:
    """Correlation across genes of every location, (n,); NaN where either side is constant."""
    constant = (p.amax(1) == p.amin(1)) | (y.amax(1) == y.amin(1))
    p = p - p.mean(1, keepdim=True)
    y = y - y.mean(1, keepdim=True)
    r: Tensor = (p * y).sum(1) / (_length(p, 1) * _length(y, 1))
    r[constant] = torch.nan
    return r


def ranks(values: Tensor) -> Tensor:
    """Ranks 1 ... g of a vector, equal values sharing the mean of their ranks."""
    _, group, size = values.unique(return_inverse=True, return_counts=True)
    last = size.cumsum(0).to(values.dtype)
    mean: Tensor = last - (size - 1) / 2
    return mean[group]


def spearman(p: Tensor, y: Tensor) -> Tensor:
    """Pearson correlation of the ranks of every location, (n,)."""
    return pearson(torch.stack([ranks(row) for row in p]), torch.stack([ranks(row) for row in y]))


def metrics(p: Tensor, y: Tensor) -> dict[str, float]:
    """All of the paper's numbers; correlations averaged over locations that have one."""
    return {
        **nonzero_errors(p, y),
        "Pearson": pearson(p, y).nanmean().item(),
        "Spearman": spearman(p, y).nanmean().item(),
    }


def _linear_layers(widths: Sequence[int], dtype: torch.dtype) -> nn.ModuleList:
    """Linear layers from each width to the next."""
    return nn.ModuleList(nn.Linear(a, b, dtype=dtype) for a, b in pairwise(widths))


def _length(values: Tensor, axis: int) -> Tensor:
    """Euclidean length along an axis."""
    return values.square().sum(axis).sqrt()
