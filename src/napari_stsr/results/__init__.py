"""What was predicted: enhancements, attention, and the files they are kept in."""

from napari_stsr.results.attention import Attention
from napari_stsr.results.enhancement import Enhancement
from napari_stsr.results.expression import (
    ConservedExpression,
    DecodedExpression,
    Expression,
    LoggedExpression,
    ScaledExpression,
    SelectedExpression,
    StoredExpression,
)

__all__ = [
    "Attention",
    "ConservedExpression",
    "DecodedExpression",
    "Enhancement",
    "Expression",
    "LoggedExpression",
    "ScaledExpression",
    "SelectedExpression",
    "StoredExpression",
]
