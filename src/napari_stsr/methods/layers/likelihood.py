"""Count likelihoods of sparse batches.

With total L, composition ρ, mean μ = L·ρ, size r and zero inflation π::

    NB(y)   = Γ(y + r) / (Γ(r) y!) · (r/(r + μ))^r · (μ/(r + μ))^y
    ZINB(y) = (1 − π) NB(y) + π [y = 0]

Most y are 0, and NB(0) needs no Γ, so the Γ terms are computed at the non-zeros only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class SparseBatch:
    """Counts of some rows as coordinates of the non-zeros.

    Attributes
    ----------
    row, column : (nnz,) long tensors
    value : (nnz,) float tensor
    rows : int
    columns : int
    """

    row: Tensor
    column: Tensor
    value: Tensor
    rows: int
    columns: int

    @classmethod
    def of(cls, counts: sparse.csr_matrix, device: torch.device | str = "cpu") -> SparseBatch:
        """Take all rows of a CSR matrix."""
        row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        return cls(
            torch.from_numpy(row).to(device),
            torch.from_numpy(counts.indices.astype(np.int64)).to(device),
            torch.from_numpy(counts.data.astype(np.float32)).to(device),
            counts.shape[0],
            counts.shape[1],
        )

    def dense(self) -> Tensor:
        """Counts as a dense (rows, columns) tensor."""
        out = self.value.new_zeros(self.rows * self.columns)
        out[self.row * self.columns + self.column] = self.value
        return out.view(self.rows, self.columns)

    def totals(self) -> Tensor:
        """Sum of every row, shape (rows,)."""
        return self.value.new_zeros(self.rows).index_add_(0, self.row, self.value)


def log_likelihood(
    batch: SparseBatch,
    log_mean: Tensor,
    log_size: Tensor | None,
    zero_logit: Tensor | None = None,
) -> Tensor:
    """Log-likelihood of every row, summed over genes, shape (rows,).

    Parameters
    ----------
    batch : SparseBatch
    log_mean : (rows, columns) tensor
        log μ.
    log_size : (columns,) tensor or None
        log r per gene; None gives the Poisson limit.
    zero_logit : (columns,) tensor or None
        Logit of π per gene; None gives no zero inflation.
    """
    at = batch.row * batch.columns + batch.column
    y, column = batch.value, batch.column
    # index_select, not r[column]: the gradient of the latter adds up in no fixed order.
    log_mu = log_mean.flatten()[at]
    if log_size is None:
        zero = -torch.exp(log_mean)
        own = y * log_mu - torch.lgamma(y + 1)
    else:
        r = torch.exp(log_size)
        # −r log(1 + μ/r), written so that neither large r nor small μ loses digits.
        zero = -r * functional.softplus(log_mean - log_size)
        own = (
            torch.lgamma(y + r.index_select(0, column))
            - torch.lgamma(r).index_select(0, column)
            - torch.lgamma(y + 1)
        )
        own = own - y * functional.softplus(log_size.index_select(0, column) - log_mu)
    if zero_logit is None:
        return zero.sum(1) + _by_row(own, batch)
    inflated = functional.logsigmoid(zero_logit)
    kept = functional.logsigmoid(-zero_logit)
    mixed = torch.logaddexp(inflated, kept + zero)
    at_nonzero = kept.index_select(0, column) + zero.flatten()[at] + own - mixed.flatten()[at]
    return mixed.sum(1) + _by_row(at_nonzero, batch)


def _by_row(values: Tensor, batch: SparseBatch) -> Tensor:
    return values.new_zeros(batch.rows).index_add_(0, batch.row, values)
