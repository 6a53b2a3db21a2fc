"""Three checks of what attention has learned, each beside a control.

The slides of Square claim that the centre is attended most, that closer nodes are attended more,
and that removing the most attended edge hurts. The last is only evidence beside the removal of a
random edge, which is measured here too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from napari_stsr.methods.layers.likelihood import SparseBatch
from napari_stsr.methods.square.embedding import decoded_log_likelihood
from napari_stsr.methods.square.fitted import SquareFitted
from napari_stsr.methods.square.learned import Learned
from napari_stsr.methods.square.nodes import Nodes
from napari_stsr.methods.square.template import Tasks, block_tasks, blocks
from napari_stsr.slides import Slide

Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class AttentionChecks:
    """What attention shows on the blocks of a slide.

    Attributes
    ----------
    centre_first : float
        Share of parts that attend most to their own centre.
    centre_first_by_chance : float
        The same if sources were ranked at random: mean of 1 / sources.
    distance_correlation : float
        Spearman correlation of distance and attention over context nodes; negative when closer
        nodes are attended more.
    loss_whole, loss_without_top, loss_without_random : float
        Mean negative log-likelihood of the true parts, in nats per gene: with all edges, without
        each part's most attended context node, and without a random one.
    ari_whole, ari_without_top, ari_without_random : float
        Agreement of known domains with k-means on the parts' embeddings, in the same three cases;
        NaN where no domains are known.
    """

    centre_first: float
    centre_first_by_chance: float
    distance_correlation: float
    loss_whole: float
    loss_without_top: float
    loss_without_random: float
    ari_whole: float
    ari_without_top: float
    ari_without_random: float

    def sentences(self) -> list[str]:
        """Tell the findings in words."""
        top = self.loss_without_top - self.loss_whole
        control = self.loss_without_random - self.loss_whole
        said = [
            f"The centre is attended most by {self.centre_first:.0%} of the subspots "
            f"(by chance {self.centre_first_by_chance:.0%}).",
            f"Attention falls with distance: rank correlation {self.distance_correlation:.2f}.",
            f"Removing the most attended neighbour changes the loss by {top:+.2e} nats per gene, "
            f"a random one by {control:+.2e}.",
        ]
        if np.isfinite(self.ari_whole):
            said.append(
                f"Domains are found with ARI {self.ari_whole:.2f}; "
                f"{self.ari_without_top:.2f} without the most attended neighbour, "
                f"{self.ari_without_random:.2f} without a random one."
            )
        return said


def attention_checks(
    fitted: SquareFitted,
    slide: Slide,
    most: int = 500,
    seed: int = 0,
    domains: NDArray[np.generic] | None = None,
) -> AttentionChecks:
    """Run the three checks on blocks of the slide the fit was made on.

    Parameters
    ----------
    fitted : SquareFitted
    slide : Slide
        The slide it learned from.
    most : int
        Blocks looked at.
    seed : int
        Chooses blocks and random edges.
    domains : (n,) array, optional
        Known domain of every location, for the check by clustering.
    """
    learned = fitted.learned
    division = slide.lattice.division(7 if slide.lattice.kind == "hex" else 9)
    genes = learned.codec.output.out_features
    columns = learned.trained_columns
    assert len(columns) == genes
    nodes = Nodes(slide.counts.genes(columns), blocks(slide.lattice, division))
    anchors = np.flatnonzero(nodes.blocks.complete)
    rng = np.random.default_rng(seed)
    anchors = np.sort(rng.permutation(anchors)[:most])
    identity = np.eye(2, dtype=np.int64)
    tasks = block_tasks(
        slide.lattice, division, anchors, identity, learned.params.rings, "superspots"
    )
    loss, attention, z = _answers(learned, nodes, tasks, None)
    present = np.column_stack([tasks.centre, tasks.context]) >= 0
    context = np.where(present[:, None, 1:], attention[:, :, 1:], -1.0)
    drawn = np.where(present[:, None, 1:], rng.random(context.shape), -1.0)
    away = np.linalg.norm(tasks.positions[None] - tasks.virtual[0][:, None], axis=-1)
    seen = np.broadcast_to(present[:, None, 1:], context.shape)
    far = np.broadcast_to(away[None], context.shape)[seen]
    without_top, _, z_top = _answers(learned, nodes, tasks, context.argmax(axis=2))
    without_random, _, z_random = _answers(learned, nodes, tasks, drawn.argmax(axis=2))
    known = None if domains is None else domains[tasks.truth]
    return AttentionChecks(
        float((attention.argmax(axis=2) == 0).mean()),
        float((1 / present.sum(axis=1)).mean()),
        float(spearmanr(far, context[seen]).statistic),
        loss,
        without_top,
        without_random,
        *(_agreement(known, some, seed) for some in (z, z_top, z_random)),
    )


def _agreement(known: NDArray[np.generic] | None, z: Floats32, seed: int) -> float:
    """Adjusted Rand index of known domains and k-means on embeddings (b, v, latent)."""
    if known is None:
        return float("nan")
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    clusters = KMeans(len(np.unique(known)), n_init=5, random_state=seed % 2**32)
    found = clusters.fit_predict(z.reshape(-1, z.shape[-1]))
    return float(adjusted_rand_score(known.ravel(), found))


def _answers(
    learned: Learned, nodes: Nodes, tasks: Tasks, removed: NDArray[np.int64] | None
) -> tuple[float, Floats32, Floats32]:
    """Loss, mean attention (b, v, 1 + s) and embeddings (b, v, latent) of the true parts.

    With one context edge a part removed, parts are asked one at a time: each loses another one.
    """
    losses, kept, embeddings = [], [], []
    places = range(tasks.virtual.shape[1])
    for part in places if removed is not None else [slice(None)]:
        one = Tasks(
            tasks.centre,
            tasks.context.copy(),
            tasks.positions,
            tasks.truth[:, part].reshape(len(tasks), -1),
            tasks.virtual[:, part].reshape(1, -1, 2),
            tasks.log_size,
        )
        if removed is not None:
            one.context[np.arange(len(tasks)), removed[:, part]] = -1
        loss, attention, z = _answer(learned, nodes, one)
        losses.append(loss)
        kept.append(attention)
        embeddings.append(z)
    together = np.concatenate(embeddings, axis=1)
    return float(np.mean(losses)), np.concatenate(kept, axis=1), together


def _answer(learned: Learned, nodes: Nodes, tasks: Tasks) -> tuple[float, Floats32, Floats32]:
    device = learned.diffusion.correction.weight.device
    with torch.no_grad():
        around = learned.observed.around(tasks, learned.params.centre_prior, device)
        z, log_depth, weights = learned.diffusion(around)
        log_depth = log_depth.flatten() + learned.observed.log_gain
        batch = SparseBatch.of(nodes.rows(tasks.truth.ravel()), device)
        fit = decoded_log_likelihood(learned.codec, z.flatten(0, 1), batch, log_depth)
    mean = torch.stack([weight.mean(-1) for weight in weights]).mean(0)
    return float(-fit.mean() / batch.columns), mean.cpu().numpy(), z.float().cpu().numpy()
