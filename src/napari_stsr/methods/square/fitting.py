"""Fitting Square: embedding, then graph, then the decoder of all other genes."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from napari_stsr.methods.companion import Companion, fit_companion
from napari_stsr.methods.own_counts import learn_trust
from napari_stsr.methods.poisson_regression import chosen_ridge, poisson_weights
from napari_stsr.methods.square.diffusion import Diffusion
from napari_stsr.methods.square.embedding import Codec, LogCodec, Vae, VaeTraining, embed
from napari_stsr.methods.square.fitted import SquareFitted
from napari_stsr.methods.square.graph_training import GraphTraining, Observed
from napari_stsr.methods.square.learned import Learned
from napari_stsr.methods.square.left_out import (
    learn_spread,
    left_out_locations,
    left_out_parts,
    posterior_variance,
    seen_locations,
)
from napari_stsr.methods.square.nodes import Nodes, tissue_split
from napari_stsr.methods.square.params import SquareParams
from napari_stsr.methods.square.template import block_tasks, blocks, symmetries
from napari_stsr.methods.variable_genes import variable_genes
from napari_stsr.results.expression import Composed
from napari_stsr.slides import Counts, Division, Slide
from napari_stsr.training import Progress, Run
from napari_stsr.training.checkpoint import Checkpoints, identity
from napari_stsr.training.loop import Stage, Trainer, seeded
from napari_stsr.training.progress import reported, spanned

Ints = NDArray[np.int64]
_LOWER = "batch size, rings of context or variable genes"
_MOST_VALIDATED = 384
_REPLICATES = 4
_MOST_DECODED = 5000


@dataclass(frozen=True, eq=False)
class _Split:
    """Locations and blocks to train on and to validate on."""

    anchors: Ints
    centres: Ints
    held_anchors: Ints
    held_centres: Ints

    @classmethod
    def of(cls, slide: Slide, nodes: Nodes, params: SquareParams, seed: int) -> _Split:
        """Split by tiles of tissue: no trained location or block touches a validation tile."""
        held = tissue_split(slide.coordinates, params.validation_share, seed)
        usable = nodes.usable()[: len(slide)]
        complete = np.flatnonzero(nodes.blocks.complete)
        touched = held[nodes.blocks.members[complete]]
        rng = np.random.default_rng([seed, 8])
        neighbours = (slide.lattice.neighbours() >= 0).any(axis=1)
        parts = [
            (complete[~touched.any(axis=1)], params.max_centres),
            (np.flatnonzero(usable & ~held & neighbours), params.max_centres),
            (complete[touched.all(axis=1)], _MOST_VALIDATED),
            (np.flatnonzero(usable & held & neighbours), _MOST_VALIDATED),
        ]
        return cls(*(_drawn(rng, *part) for part in parts))

    @property
    def validates(self) -> bool:
        """Whether there is enough held-out tissue to choose weights by."""
        return len(self.held_centres) >= 8


def _drawn(rng: np.random.Generator, items: Ints, most: int) -> Ints:
    if len(items) <= most:
        return items
    return np.sort(rng.choice(items, most, replace=False))


def _drawn_centres(split: _Split, seed: int) -> Ints:
    centres = np.sort(np.concatenate([split.centres, split.held_centres]))
    return _drawn(np.random.default_rng([seed, 10]), centres, _MOST_VALIDATED)


def training_division(slide: Slide) -> Division:
    """Blocks that teach: flowers of 7 on hex lattices, 3 × 3 on square ones."""
    return slide.lattice.division(7 if slide.lattice.kind == "hex" else 9)


def fit_square(
    slide: Slide, params: SquareParams, run: Run, genes: NDArray[np.int64] | None
) -> Generator[Progress, None, SquareFitted]:
    """Fit all stages; see `Square.fit`."""
    yield Progress("choosing genes", 0, 1, 0.0)
    run.cancel.check()
    wanted = np.arange(len(slide.genes)) if genes is None else genes
    learned_genes = variable_genes(slide.counts, params.variable_genes, genes)
    run.cancel.check()
    counts = slide.counts.genes(learned_genes)
    run.cancel.check()
    division = training_division(slide)
    nodes = Nodes(counts, blocks(slide.lattice, division))
    split = _Split.of(slide, nodes, params, run.seed)
    further = np.setdiff1d(wanted, learned_genes)
    weights = _stage_weights(params)
    owner = identity("square", slide, learned_genes, params.as_dict(), run)
    trainer = Trainer(run, Checkpoints(run.checkpoints, owner), sum(weights.values()))

    codec = yield from _embedding(trainer, nodes, split, params, weights["embedding"])
    usable = nodes.usable()
    thinned = params.depth == "thinned"
    wanted_nodes = usable & _read_nodes(slide, division, split, params)
    replicates = _REPLICATES if thinned else 0
    embedding = embed(codec, nodes, wanted_nodes, replicates, run.seed)
    z, log_depth = yield from reported(
        embedding, "embedding the slide", 100, (trainer.fraction, trainer.fraction), run
    )
    gain = float(np.log(len(division.cells))) if thinned else 0.0
    variance = posterior_variance(codec, nodes)
    observed = Observed(z, log_depth, torch.from_numpy(wanted_nodes), gain, variance)
    typical = float(log_depth[0, : len(slide)].median())
    with seeded(run.seed, "diffusion"):
        diffusion = Diffusion(
            codec.latent,
            params.width,
            params.heads,
            params.layers,
            typical,
            params.prior,
            params.ablation,
        )
    learned = Learned.of(slide, wanted, codec, diffusion, observed, params, learned_genes)
    trainer.snapshot = lambda: None if run.preview is None else run.preview(SquareFitted(learned))
    # Without held-out tissue nothing would tell training from overfitting: the prior stays.
    if split.validates:
        yield from _graph(trainer, nodes, observed, split, slide, params, codec, diffusion, weights)
    diffusion.cpu().requires_grad_(False).eval()
    if params.mix != "off":
        # A graph that was not trained has seen no location: all may vote.
        voting = split.held_centres if split.validates else _drawn_centres(split, run.seed)
        learned.companion = yield from _companion(run, slide, learned, voting)
    yield from _extension(run, slide, learned, further)
    yield from _uncertainty(run, learned, division, split)
    return SquareFitted(learned)


def _read_nodes(
    slide: Slide, division: Division, split: _Split, params: SquareParams
) -> NDArray[np.bool_]:
    """All locations, and the blocks that any training or validation task looks at, (2n,)."""
    read = np.zeros(2 * len(slide), dtype=bool)
    read[: len(slide)] = True
    anchors = np.concatenate([split.anchors, split.held_anchors])
    context = cast(Literal["superspots", "ring"], params.context)
    for symmetry in symmetries(
        slide.lattice.kind, cast(Literal["all", "mirror"], params.symmetries)
    ):
        tasks = block_tasks(slide.lattice, division, anchors, symmetry, params.rings, context)
        for seen in (tasks.centre, tasks.context):
            read[seen[seen >= 0]] = True
    return read


def _stage_weights(params: SquareParams) -> dict[str, float]:
    """Relative time of the stages, from measured steps."""
    parts = 16 if params.ablation == "vae" else 4
    return {
        "embedding": 0.0 if params.ablation == "vae" else float(params.embedding_steps),
        "graph": float(parts * params.graph_steps * params.rings),
    }


def _embedding(
    trainer: Trainer, nodes: Nodes, split: _Split, params: SquareParams, weight: float
) -> Generator[Progress, None, Codec]:
    frequency = np.asarray(nodes.counts.sum(axis=0), dtype=np.float64).ravel()
    genes = len(frequency)
    if params.ablation == "vae":
        return LogCodec(genes).to(trainer.device)
    frequency = (frequency + 0.5) / (frequency.sum() + 0.5 * genes)
    with seeded(trainer.run.seed, "embedding"):
        vae = Vae(frequency, params.latent, params.hidden, params.likelihood)
    items = np.concatenate([split.centres, split.anchors + nodes.locations])
    training = VaeTraining(vae, nodes, items, params.kl_weight, params.embedding_steps // 3)
    held = np.concatenate([split.held_centres, split.held_anchors + nodes.locations])
    stage = Stage(
        "embedding",
        "learning the embedding",
        training,
        len(items),
        params.embedding_steps,
        params.batch,
        params.learning_rate,
        validate=(lambda: training.validation(held)) if split.validates else None,
        patience=params.patience,
        weight=weight,
        lower=_LOWER,
    )
    yield from trainer.fit(stage)
    return vae


def _graph(
    trainer: Trainer,
    nodes: Nodes,
    observed: Observed,
    split: _Split,
    slide: Slide,
    params: SquareParams,
    codec: Codec,
    diffusion: Diffusion,
    weights: dict[str, float],
) -> Generator[Progress, None, None]:
    training = GraphTraining(
        diffusion,
        codec,
        nodes,
        observed,
        slide.lattice,
        training_division(slide),
        params,
        split.anchors,
        split.centres,
    )
    stage = Stage(
        "graph",
        "learning the graph",
        training,
        len(split.anchors) + len(split.centres),
        params.graph_steps,
        params.batch,
        params.graph_learning_rate,
        decay=True,
        validate=lambda: training.validation(split.held_anchors, split.held_centres),
        patience=params.patience,
        weight=weights["graph"],
        lower=_LOWER,
    )
    yield from trainer.fit(stage)


def _companion(
    run: Run, slide: Slide, learned: Learned, held: Ints
) -> Generator[Progress, None, Companion]:
    """Fit the kernel, and find Square's share beside it at held-out locations."""
    output = learned.codec.output
    weight, bias = output.weight.detach().cpu().numpy(), output.bias.detach().cpu().numpy()
    own = replace(SquareFitted(learned).left_out(held, run), weight=weight, bias=bias)
    trained = learned.trained_columns
    fitting = fit_companion(slide, learned.gene_columns, trained, own, held, run)
    return (yield from spanned(fitting, (0.98, 0.99)))


def _uncertainty(
    run: Run, learned: Learned, division: Division, split: _Split
) -> Generator[Progress, None, None]:
    """Measure on left-out locations and blocks how far the truth lies from the answer."""
    hidden = left_out_locations(learned, split.held_centres, split.centres, run)
    parts = left_out_parts(learned, division, split.held_anchors, split.anchors, run)
    seen = seen_locations(learned, hidden.rows, run)
    learned.spread = yield from learn_spread(hidden, seen, parts, run)
    if learned.params.own_counts:
        expected = cast(Composed, hidden.doubt.expected)
        totals = learned.totals[hidden.rows]
        learned.trust = yield from learn_trust(expected, hidden.truth, totals, run)


def _extension(
    run: Run, slide: Slide, learned: Learned, further: Ints
) -> Generator[Progress, None, None]:
    """Decode all wanted genes that no network was trained on."""
    if not len(further):
        return
    yield Progress("decoding all other genes", 0, 1, 0.99)
    rows = np.flatnonzero(learned.observed.usable[: len(slide)].numpy())
    rows = _drawn(np.random.default_rng([run.seed, 9]), rows, _MOST_DECODED)
    hidden, log_norm = learned.states(learned.observed.z[0, rows])
    offset = learned.observed.log_depth[0, rows].numpy() - log_norm
    counts = Counts(slide.counts.rows[rows]).genes(further)

    def checked(done: float) -> None:
        run.cancel.check()

    ridge = chosen_ridge(hidden, offset, counts, run.seed, checked)
    weight, bias = poisson_weights(hidden, offset, counts, ridge=ridge, checked=checked)
    learned.extend(further, weight, bias)
