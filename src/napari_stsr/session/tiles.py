"""Tiles of a field that were evaluated, kept in bounded memory for any gene."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_stsr.results import Expression

SIDE = 16
# What a tile costs beyond its arrays.
_LEAST = 2_000


@dataclass(frozen=True)
class TileKey:
    """A square of `SIDE` × `SIDE` pixels: their size in µm, and its column and row."""

    step_um: float
    column: int
    row: int


@dataclass(frozen=True, eq=False)
class Tile:
    """The field at the supported pixels of a tile.

    Parameters
    ----------
    pixels : (m,) int array
        Which pixels of the tile, row by row.
    expression : Expression or None
        (m, g), lazy in genes; None where no pixel is supported.
    """

    pixels: NDArray[np.int64]
    expression: Expression | None

    def values(self, gene: int) -> NDArray[np.float32]:
        """Values of a gene column, (SIDE, SIDE), NaN where there is no support."""
        picture = np.full(SIDE * SIDE, np.nan, dtype=np.float32)
        if self.expression is not None:
            picture[self.pixels] = self.expression.columns(np.array([gene]))[:, 0]
        return picture.reshape(SIDE, SIDE)


class TileStore:
    """Keeps the tiles used last.

    Parameters
    ----------
    most_bytes : int
        Memory they may take; the newest tile stays in any case.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.bytes = most_bytes, 0
        self._tiles: OrderedDict[TileKey, tuple[Tile, int]] = OrderedDict()

    def __contains__(self, key: TileKey) -> bool:
        return key in self._tiles

    def __len__(self) -> int:
        return len(self._tiles)

    def get(self, key: TileKey) -> Tile | None:
        """Return a tile if it is kept; it is then the one used last."""
        if key not in self._tiles:
            return None
        self._tiles.move_to_end(key)
        return self._tiles[key][0]

    def keep(self, key: TileKey, tile: Tile) -> None:
        """Keep a tile, or count anew what it takes, forgetting those not used for longest."""
        size = _LEAST + tile.pixels.nbytes + held_bytes(tile.expression, len(tile.pixels))
        _, before = self._tiles.pop(key, (tile, 0))
        self._tiles[key] = (tile, size)
        self.bytes += size - before
        while self.bytes > self.most_bytes and len(self._tiles) > 1:
            _, (_, gone) = self._tiles.popitem(last=False)
            self.bytes -= gone


def held_bytes(expression: Any, places: int) -> int:
    """Memory of what grows with the places of an expression; what tiles share does not count."""
    seen: set[int] = set()

    def held(thing: Any) -> int:
        if id(thing) in seen:
            return 0
        seen.add(id(thing))
        if sparse.issparse(thing):
            parts = (thing.data, thing.indices, thing.indptr)
            return sum(part.nbytes for part in parts) if thing.shape[0] == places else 0
        if hasattr(thing, "nbytes") and hasattr(thing, "shape"):
            return int(thing.nbytes) if thing.shape[:1] == (places,) else 0
        if isinstance(thing, dict):
            return sum(held(one) for one in thing.values())
        if isinstance(thing, (list, tuple)):
            return sum(held(one) for one in thing)
        if dataclasses.is_dataclass(thing) or hasattr(thing, "__dict__"):
            return held(dict(getattr(thing, "__dict__", {})))
        return 0

    return held(expression)
