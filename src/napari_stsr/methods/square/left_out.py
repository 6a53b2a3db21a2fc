"""What left-out locations, and the parts of blocks, teach about Square's uncertainty."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from napari_stsr.methods.conformal import around_mean, left_out_factor, left_out_variances
from napari_stsr.methods.doubt import Doubt
from napari_stsr.methods.layers.likelihood import SparseBatch
from napari_stsr.methods.square.embedding import Codec, Vae
from napari_stsr.methods.square.fitted import SquareFitted
from napari_stsr.methods.square.learned import Learned
from napari_stsr.methods.square.nodes import Nodes
from napari_stsr.methods.square.template import block_tasks, location_tasks, site_tasks
from napari_stsr.methods.square.uncertainty import MOST_AT_ONCE, Spread
from napari_stsr.results.expression import Expression
from napari_stsr.slides import Division
from napari_stsr.training import Progress, Run

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
# Places that are looked at; those no network was trained on come first.
_MOST_PLACES = 500


def posterior_variance(codec: Codec, nodes: Nodes, chunk: int = 2048) -> Tensor | None:
    """Posterior variance of the embeddings of all locations, (n, latent).

    None without an autoencoder, and on slides so large that its doubt is left out.
    """
    if not isinstance(codec, Vae) or nodes.locations > MOST_AT_ONCE:
        return None
    device = codec.output.weight.device
    out = torch.empty(nodes.locations, codec.latent)
    for start in range(0, nodes.locations, chunk):
        rows = nodes.counts[start : start + chunk]
        with torch.no_grad():
            _, log_variance = codec.posterior(SparseBatch.of(rows, device).dense())
        out[start : start + chunk] = log_variance.exp().float().cpu()
    return out


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Predictions of places whose counts were left out, with these counts.

    Attributes
    ----------
    rows : (r,) int array
        Their locations.
    doubt : Doubt
        (r, g).
    truth : CSR matrix (r, g)
    fresh : (r,) bool array
        No network was trained on them.
    each : int
        Rows that were left out together.
    """

    rows: Ints
    doubt: Doubt
    truth: sparse.csr_matrix
    fresh: NDArray[np.bool_]
    each: int = 1


def left_out_locations(learned: Learned, fresh: Ints, others: Ints, run: Run) -> LeftOut:
    """Whole locations, each told by its neighbours.

    Parameters
    ----------
    learned : Learned
    fresh, others : int arrays
        Locations no network was trained on, and such as the networks know.
    run : Run
    """
    rows, new = _chosen(fresh, others, _MOST_PLACES, run.seed)
    tasks = location_tasks(learned.lattice, rows, np.eye(2, dtype=np.int64), learned.params.rings)
    decoded, noise = SquareFitted(learned).given_back(tasks, run)
    expected: Expression = decoded
    if learned.companion is not None:
        other = learned.companion.kernel.left_out(rows, run)
        expected = learned.companion.mixed(decoded, other)
    return LeftOut(rows, Doubt(expected, noise), learned.measured.rows[rows], new)


def seen_locations(learned: Learned, rows: Ints, run: Run) -> LeftOut:
    """Whole locations whose own counts the networks see, as when they predict what was measured.

    One gene of many hardly moves the embedding, so its counts are as good as left out.
    """
    lattice, parts = learned.lattice, learned.lattice.divisions[0]
    rings, centre = learned.params.rings, np.zeros((1, 1, 2))
    tasks = site_tasks(lattice, lattice.sites[rows], centre, -float(np.log(parts)), rings)
    decoded, noise = SquareFitted(learned).given_back(tasks, run, float(np.log(parts)))
    expected: Expression = decoded
    if learned.companion is not None:
        other, _ = learned.companion.kernel.field(learned.coordinates[rows], run)
        expected = learned.companion.mixed(decoded, other)
    truth = learned.measured.rows[rows]
    return LeftOut(rows, Doubt(expected, noise), truth, np.zeros(len(rows), dtype=bool))


def left_out_parts(
    learned: Learned, division: Division, fresh: Ints, others: Ints, run: Run
) -> LeftOut | None:
    """The locations of blocks, each block seen as a whole; None where there is no block.

    The kernels know no blocks: these are the networks alone.
    """
    parts = len(division.cells)
    anchors, new = _chosen(fresh, others, _MOST_PLACES // parts, run.seed)
    if not len(anchors):
        return None
    context = cast(Literal["superspots", "ring"], learned.params.context)
    identity = np.eye(2, dtype=np.int64)
    tasks = block_tasks(learned.lattice, division, anchors, identity, learned.params.rings, context)
    decoded, noise = SquareFitted(learned).given_back(tasks, run, learned.observed.log_gain)
    rows = tasks.truth.ravel()
    truth = learned.measured.rows[rows]
    return LeftOut(rows, Doubt(decoded, noise), truth, np.repeat(new, parts), parts)


def _chosen(fresh: Ints, others: Ints, most: int, seed: int) -> tuple[Ints, NDArray[np.bool_]]:
    """At most so many items, fresh ones at least half where there are enough, and which are."""
    rng = np.random.default_rng([seed, 31])
    room = max(most // 2, most - len(others))
    new = rng.permutation(fresh)[:room]
    known = rng.permutation(others)[: most - len(new)]
    items = np.concatenate([new, known])
    return items, np.arange(len(items)) < len(new)


def learn_spread(
    hidden: LeftOut, seen: LeftOut, parts: LeftOut | None, run: Run
) -> Generator[Progress, None, Spread]:
    """Learn how far the truth lies.

    Parameters
    ----------
    hidden, seen : LeftOut
        Locations told by their neighbours, and such as are seen.
    parts : LeftOut, optional
        Parts of blocks.
    run : Run
    """
    outside = yield from left_out_variances(hidden.truth, hidden.doubt.columns, run)
    # Its own counts cannot make a location less certain than its neighbours do.
    own = yield from left_out_variances(seen.truth, seen.doubt.columns, run)
    own = np.minimum(own, outside)
    unknown = yield from left_out_variances(hidden.truth, around_mean(hidden.truth), run)
    factor = _factor(hidden, outside, run)
    # Without blocks parts are taken to differ as neighbours do.
    within, inside_factor = outside, factor
    if parts is not None:
        of_parts = yield from left_out_variances(parts.truth, parts.doubt.columns, run)
        within = np.maximum(of_parts - own, 0)
        # Small sections keep no block from training: what holds for locations then holds for parts.
        if parts.fresh.any():
            inside_factor = _factor(parts, own + within, run)
    return Spread(outside, own, within, unknown, np.array([factor, inside_factor]))


def _factor(left_out: LeftOut, relative: Floats, run: Run) -> float:
    """Conformal factor, from what no network was trained on."""
    rows = np.flatnonzero(left_out.fresh)
    doubt, units = left_out.doubt.take(rows), len(rows) // left_out.each
    return left_out_factor(left_out.truth[rows], doubt.columns, relative, run, units)
