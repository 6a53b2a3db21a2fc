"""SUICA: a continuous field of expression from coordinates."""

from napari_stsr.methods.suica.method import Suica

__all__ = ["Suica"]
