"""The model of BayesSpace: a mixture of t distributions whose labels follow a Potts prior.

```text
y_i | z_i = k, w_i ~ N(μ_k, (w_i Λ)⁻¹)      w_i ~ Gamma(2, 2): a t with 4 degrees of freedom
π(z_i | neighbours) ∝ exp(2γ/|N_i| · Σ_{j ∈ N_i} 1[z_i = z_j])
μ_k ~ N(ȳ, 100 I),   Λ ~ Wishart(1, 100 I)
```

Where y are the parts of spots, they are latent: their mean is the spot's y, and they scatter
around it with variance `spread`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]

_FREEDOM = 4.0
_MEAN_PRECISION = 0.01
_SCATTER = 0.01


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Who neighbours whom, and which places can be drawn at once.

    Parameters
    ----------
    share : (m, m) CSR matrix
        ``1/|N_i|`` for every neighbour of i.
    classes : list of int arrays
        Places of one class are no neighbours of each other.
    """

    share: sparse.csr_matrix
    classes: list[Ints]

    @classmethod
    def of(cls, neighbours: Ints, colours: Ints) -> Neighbourhood:
        """Make it from a table of neighbours (m, s), -1 where none, and a colour per place (m,)."""
        there = neighbours >= 0
        many = there.sum(axis=1)
        weight = np.repeat(1.0 / np.maximum(many, 1), many).astype(np.float32)
        ends = np.concatenate([[0], np.cumsum(many)])
        m = len(neighbours)
        share = sparse.csr_matrix((weight, neighbours[there], ends), shape=(m, m))
        return cls(share, [np.flatnonzero(colours == c) for c in np.unique(colours)])


class PottsMixture:
    """A Gibbs sampler of the mixture; all its draws are exact conditional ones.

    Parameters
    ----------
    values : (n·parts, d) array
        Principal components; for parts of spots where they start, ``parts`` rows a spot.
    labels : (n·parts,) int array
        Where the labels start, 0 … q-1.
    around : Neighbourhood
        Of the n·parts places.
    domains : int
        q.
    gamma : float
    tailed : bool
        t distributed errors; otherwise normal ones (all w = 1).
    parts : int
        1 for measured values, k for latent parts of spots.
    spread : float
        Prior variance of a part around its spot.
    """

    def __init__(
        self,
        values: NDArray[Any],
        labels: Ints,
        around: Neighbourhood,
        domains: int,
        gamma: float,
        tailed: bool,
        parts: int = 1,
        spread: float = 1.0,
    ) -> None:
        self.values = np.array(values, dtype=np.float32)
        self.labels, self.parts = labels.copy(), parts
        self.tailed, self.spread = tailed, spread
        share = around.share * np.float32(2 * gamma)
        self.classes = [(places, share[places]) for places in around.classes]
        self.spots = self.values.reshape(-1, parts, self.values.shape[1]).mean(axis=1)
        self.prior_mean = self.values.mean(axis=0, dtype=np.float64)
        self.weights = np.ones(len(labels), dtype=np.float32)
        self.same = np.eye(domains, dtype=np.float32)
        residual = self.values - self.prior_mean
        covariance = residual.T @ residual / len(residual) + 1e-6 * np.eye(residual.shape[1])
        self.precision = np.linalg.inv(covariance)
        self.means = np.tile(self.prior_mean, (domains, 1))
        self.kept = 0
        self.value_sum = np.zeros_like(self.values)
        self.label_counts = np.zeros((len(labels), domains), dtype=np.int32)

    def sweep(self, rng: np.random.Generator, keep: bool) -> None:
        """Draw everything once, given the rest."""
        self._draw_means(rng)
        self._draw_precision(rng)
        if self.parts > 1:
            self._draw_values(rng)
        self._draw_labels(rng)
        if keep:
            self.kept += 1
            self.value_sum += self.values
            self.label_counts[np.arange(len(self.labels)), self.labels] += 1

    @property
    def mean_values(self) -> Floats32:
        """Posterior means of the values, (n·parts, d)."""
        return np.asarray(self.value_sum / max(1, self.kept), dtype=np.float32)

    @property
    def domains(self) -> Ints:
        """Most frequent label of every place."""
        return np.asarray(np.argmax(self.label_counts, axis=1))

    def _draw_means(self, rng: np.random.Generator) -> None:
        q, d = self.means.shape
        member = self.same[self.labels] * self.weights[:, None]
        many, sums = member.sum(axis=0, dtype=np.float64), member.T @ self.values
        precision = _MEAN_PRECISION * np.eye(d) + many[:, None, None] * self.precision
        pull = _MEAN_PRECISION * self.prior_mean + sums @ self.precision
        root = np.linalg.cholesky(precision)
        noise = np.linalg.solve(root.transpose(0, 2, 1), rng.standard_normal((q, d, 1)))
        self.means = (np.linalg.solve(precision, pull[:, :, None]) + noise)[:, :, 0]

    def _draw_precision(self, rng: np.random.Generator) -> None:
        d = self.values.shape[1]
        residual = self.values - self.means[self.labels].astype(np.float32)
        scatter = (residual * self.weights[:, None]).T @ residual
        rate = _SCATTER * np.eye(d) + scatter.astype(np.float64)
        self.precision = wishart(rate, 1.0 + len(residual), rng)

    def _draw_values(self, rng: np.random.Generator) -> None:
        """Latent parts given all else, in the basis where Λ is diagonal; see `given_mean`."""
        n, d = self.spots.shape
        scale, basis = np.linalg.eigh(self.precision)
        turned = basis.astype(np.float32)
        pull = self.weights.reshape(n, self.parts, 1) * scale.astype(np.float32)
        precision = pull + np.float32(1.0 / self.spread)
        spots = (self.spots @ turned)[:, None]
        mean = (self.means.astype(np.float32) @ turned)[self.labels].reshape(n, self.parts, d)
        mean = (pull * mean + spots / np.float32(self.spread)) / precision
        noise = rng.standard_normal(mean.shape, dtype=np.float32)
        self.values = given_mean(mean, precision, spots, noise).reshape(-1, d) @ turned.T

    def _draw_labels(self, rng: np.random.Generator) -> None:
        d = self.values.shape[1]
        root = np.linalg.cholesky(self.precision).astype(np.float32)
        white, centres = self.values @ root, self.means.astype(np.float32) @ root
        away = (white**2).sum(axis=1)[:, None] - 2 * white @ centres.T + (centres**2).sum(axis=1)
        if self.tailed:
            own = np.maximum(away[np.arange(len(away)), self.labels], 0)
            drawn = rng.standard_gamma((_FREEDOM + d) / 2, len(own), dtype=np.float32)
            self.weights = drawn * 2 / (np.float32(_FREEDOM) + own)
        score = -0.5 * self.weights[:, None] * away
        score -= np.log(-np.log(rng.random(score.shape, dtype=np.float32) * 0.999999 + 5e-7))
        # Those of one class are drawn at once: none of them looks at another.
        member = self.same[self.labels]
        for places, share in self.classes:
            chosen = np.argmax(score[places] + share @ member, axis=1)
            self.labels[places] = chosen
            member[places] = self.same[chosen]


def given_mean(
    mean: Floats32, precision: Floats32, total_mean: Floats32, noise: Floats32
) -> Floats32:
    """Draw independent normals whose average over axis 1 is given.

    Drawn without the condition, then moved by what is missing, in proportion to their variances:
    that is exact for normals under a linear condition.

    Parameters
    ----------
    mean, precision : (n, k, d) array
        Without the condition.
    total_mean : (n, 1, d) array
        The average they must have.
    noise : (n, k, d) array
        Standard normal.
    """
    variance = 1.0 / precision
    drawn = mean + noise * np.sqrt(variance)
    missing = mean.shape[1] * (total_mean - drawn.mean(axis=1, keepdims=True))
    return np.asarray(drawn + variance / variance.sum(axis=1, keepdims=True) * missing)


def wishart(rate: Floats, freedom: float, rng: np.random.Generator) -> Floats:
    """Draw from the Wishart of mean ``freedom · rate⁻¹``, by Bartlett's decomposition."""
    d = len(rate)
    lower = np.tril(rng.standard_normal((d, d)), -1)
    np.fill_diagonal(lower, np.sqrt(rng.chisquare(np.maximum(freedom - np.arange(d), 1.0))))
    root = np.linalg.cholesky(np.linalg.inv(rate)) @ lower
    return np.asarray(root @ root.T)
