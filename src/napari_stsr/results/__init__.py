"""What was predicted: enhancements, attention, and the files they are kept in."""

from napari_stsr.results.attention import Attention
from napari_stsr.results.enhancement import Enhancement
from napari_stsr.results.expression import (
    ConservedExpression,
    DecodedExpression,
    Expression,
    GenesExpression,
    LoggedExpression,
    ScaledExpression,
    SelectedExpression,
    StoredExpression,
)
from napari_stsr.results.imputed import ImputedExpression

__all__ = [
    "Attention",
    "ConservedExpression",
    "DecodedExpression",
    "Enhancement",
    "Expression",
    "GenesExpression",
    "ImputedExpression",
    "LoggedExpression",
    "ScaledExpression",
    "SelectedExpression",
    "StoredExpression",
]
