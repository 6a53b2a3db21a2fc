"""Dense GATv2 against PyG's, in value and gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.nn import GATv2Conv

from napari_stsr.methods.layers.gatv2 import DenseGATv2, attend


def _same_parameters(dense: DenseGATv2, reference: GATv2Conv) -> None:
    with torch.no_grad():
        reference.lin_l.weight.copy_(dense.left.weight)
        reference.lin_l.bias.copy_(dense.left.bias)
        reference.lin_r.weight.copy_(dense.right.weight)
        reference.lin_r.bias.copy_(dense.right.bias)
        reference.att.copy_(dense.att[None])
        reference.bias.copy_(dense.bias)


@pytest.mark.parametrize("gathered", [True, False])
def test_equals_pyg_in_value_and_gradient(gathered: bool) -> None:
    def inputs(x: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (x if gathered else x[index]), x[:, None]

    torch.manual_seed(0)
    nodes, k, heads, channels = 40, 5, 4, 6
    x = torch.randn(nodes, 7, dtype=torch.float64, requires_grad=True)
    index = torch.from_numpy(
        np.array([np.random.default_rng(i).choice(nodes, k, replace=False) for i in range(nodes)])
    )
    dense = DenseGATv2(7, heads, channels).double()
    reference = GATv2Conv(7, channels, heads=heads, add_self_loops=False).double()
    _same_parameters(dense, reference)

    ours, _ = dense(*inputs(x, index), index=index if gathered else None)
    edges = torch.stack([index.flatten(), torch.arange(nodes).repeat_interleave(k)])
    theirs = reference(x, edges)
    assert torch.allclose(ours[:, 0], theirs, atol=1e-14, rtol=0)

    weight = torch.randn_like(theirs)
    ours_x, ours_att = torch.autograd.grad((ours[:, 0] * weight).sum(), [x, dense.att])
    theirs_x, theirs_att = torch.autograd.grad((theirs * weight).sum(), [x, reference.att])
    assert torch.allclose(ours_x, theirs_x, atol=1e-13, rtol=0)
    assert torch.allclose(ours_att, theirs_att[0], atol=1e-13, rtol=0)


def test_equal_scores_leave_the_prior_as_weights() -> None:
    left, right = torch.zeros(1, 3, 1, 2), torch.zeros(1, 1, 1, 2)
    prior = torch.tensor([2.0, 1.0, 1.0])
    log_prior = torch.log(prior)[None, None, :, None]
    _, weights = attend(left, right, torch.ones(1, 2), log_prior=log_prior)
    assert torch.allclose(weights.flatten(), prior / prior.sum())


def test_a_missing_source_gets_nothing_and_no_source_gives_zeros() -> None:
    left, right = torch.randn(2, 3, 2, 4), torch.randn(2, 2, 2, 4)
    log_prior = torch.zeros(2, 1, 3, 1)
    log_prior[0, :, 1] = log_prior[1] = -torch.inf
    mixed, weights = attend(left, right, torch.ones(2, 4), log_prior=log_prior)
    assert (weights[0, :, 1] == 0).all()
    assert torch.allclose(weights[0].sum(1), torch.ones(2, 2))
    assert (weights[1] == 0).all()
    assert (mixed[1] == 0).all()


@pytest.mark.parametrize("targets", [1, 4])
def test_gradients_agree_with_finite_differences(targets: int) -> None:
    torch.manual_seed(1)
    left = torch.randn(2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    right = torch.randn(2, targets, 2, 4, dtype=torch.float64, requires_grad=True)
    att = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(attend, (left, right, att))
    prior = torch.randn(1, targets, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: attend(left, right, att, log_prior=p), (prior,))
