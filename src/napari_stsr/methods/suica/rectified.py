"""A rectified layer that does not multiply what is silent.

Of ``p = relu(x Wᵀ + b)`` an input that is zero in all rows adds nothing, and an output that is zero
in all rows hands no gradient on. In the published form that is a third of the units and half of
the genes; left out, values and gradients stay what they are.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor


def rectified(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``relu(x Wᵀ + b)``, (n, outputs).

    Parameters
    ----------
    x : (n, inputs) tensor
        What comes out of such a layer, or has no column of zeros: none is handed a gradient.
    weight : (outputs, inputs) tensor
    bias : (outputs,) tensor
    """
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        narrow = torch.get_autocast_dtype(kind)
        x, weight, bias = x.to(narrow), weight.to(narrow), bias.to(narrow)
    return cast(Tensor, _Rectified.apply(x, weight, bias))  # type: ignore[no-untyped-call]


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        units = _somewhere(x)
        kept, weight = x.index_select(1, units), weight.index_select(1, units)
        p = torch.addmm(bias, kept, weight.t()).relu_()
        ctx.save_for_backward(kept, weight, p, units)
        ctx.inputs = x.shape[1]
        return p

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, Tensor]:
        (gradient,) = gradients
        kept, weight, p, units = ctx.saved_tensors
        awake = _somewhere(p)
        own = gradient.index_select(1, awake) * (p.index_select(1, awake) > 0)
        of_x = own @ weight.index_select(0, awake)
        of_weight = _spread(own.t() @ kept, 1, units, ctx.inputs)
        return (
            _spread(of_x, 1, units, ctx.inputs),
            _spread(of_weight, 0, awake, len(weight)),
            _spread(own.sum(0), 0, awake, len(weight)),
        )


def _somewhere(x: Tensor) -> Tensor:
    """Columns that are not zero in all rows."""
    return x.any(0).nonzero()[:, 0]


def _spread(values: Tensor, axis: int, at: Tensor, size: int) -> Tensor:
    """Values at some places along an axis, zero at the others."""
    shape = list(values.shape)
    shape[axis] = size
    return values.new_zeros(shape).index_copy_(axis, at, values)
