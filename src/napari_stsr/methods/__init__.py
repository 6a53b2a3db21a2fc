"""Methods: each learns from a slide and predicts at targets."""

from napari_stsr.methods.base import Estimate, Fitted, Method
from napari_stsr.methods.parameters import Described, Params, parameter
from napari_stsr.methods.registry import get_method, method_names

__all__ = [
    "Described",
    "Estimate",
    "Fitted",
    "Method",
    "Params",
    "get_method",
    "method_names",
    "parameter",
]
