"""Square: spots split into subspots by graph attention with virtual nodes."""

from napari_stsr.methods.square.method import Square
from napari_stsr.methods.square.params import SquareParams

__all__ = ["Square", "SquareParams"]
