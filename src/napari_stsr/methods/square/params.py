"""Parameters of Square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_stsr.methods.parameters import Params, parameter


@dataclass(frozen=True)
class SquareParams(Params):
    """What the user can set; see docs/methods/square.md for the formulas."""

    variable_genes: int = parameter(
        2000,
        "Variable genes",
        "Genes the networks learn from; all others are decoded from what these taught.",
        low=1,
        high=20000,
    )
    context: str = parameter(
        "superspots",
        "Context",
        "What surrounds a training block: superspots of the same depth and geometry as at "
        "inference, or the raw ring of locations around the block (the slides' formula).",
        choices=("superspots", "ring"),
    )
    rings: int = parameter(
        1,
        "Rings of context",
        "How many rings of neighbours a subspot may draw on.",
        low=1,
        high=4,
    )
    conserve: str = parameter(
        "expected",
        "Conservation",
        "How the parts of a location add up to its measured counts: as expected values, as whole "
        "numbers drawn at random (multinomial), as whole numbers by largest remainder, or not "
        "at all (off: the network's own amounts).",
        choices=("expected", "multinomial", "largest remainder", "off"),
    )
    mix: str = parameter(
        "kernel",
        "Mixed with",
        "Take the mean of Square and of a pair of kernels (factor kernel and Poisson kernel, mixed "
        "gene by gene), in the shares that held-out locations decide; or Square alone (off).",
        choices=("kernel", "off"),
    )
    own_counts: bool = parameter(
        True,
        "Own counts",
        "At measured locations and their parts, weigh what the slide tells against what was "
        "counted there, as far as left-out locations show that counts can be trusted.",
    )
    likelihood: str = parameter(
        "nb",
        "Likelihood",
        "Distribution of the counts: negative binomial, with extra zeros (zinb), or Poisson.",
        choices=("nb", "zinb", "poisson"),
        advanced=True,
    )
    latent: int = parameter(
        16, "Latent dimensions", "Size of the embedding.", low=2, high=128, advanced=True
    )
    hidden: int = parameter(
        128, "Hidden units", "Width of encoder and decoder.", low=8, high=1024, advanced=True
    )
    heads: int = parameter(
        4, "Attention heads", "Heads of each attention layer.", low=1, high=16, advanced=True
    )
    layers: int = parameter(
        2, "Attention layers", "Layers of the graph network.", low=1, high=4, advanced=True
    )
    width: int = parameter(
        64,
        "Graph width",
        "Features of a node; a multiple of the heads.",
        low=4,
        high=512,
        advanced=True,
    )
    centre_prior: float = parameter(
        2.0,
        "Prior of the centre (t)",
        "How much likelier, before learning, a subspot draws on its own location than on a "
        "neighbour.",
        low=1.0,
        high=100.0,
        advanced=True,
    )
    prior: str = parameter(
        "distance",
        "Prior of distance",
        "Whether the prior falls with distance, at a learned reach per head, or is the same for "
        "all neighbours (flat, the slides' formula).",
        choices=("distance", "flat"),
        advanced=True,
    )
    depth: str = parameter(
        "thinned",
        "Depth of training blocks",
        "Pooled blocks hold k times the molecules of a location. Thinned to one location's depth "
        "they are as noisy as what the network will see; pooled keeps all (the slides' formula).",
        choices=("thinned", "pooled"),
        advanced=True,
    )
    drop_centre: float = parameter(
        0.2,
        "Centre dropped",
        "Share of training blocks whose centre is hidden, so that unmeasured places can be "
        "predicted.",
        low=0.0,
        high=0.9,
        advanced=True,
    )
    symmetries: str = parameter(
        "all",
        "Symmetries",
        "Training blocks are shown turned and mirrored in all ways the lattice allows, or only "
        "mirrored.",
        choices=("all", "mirror"),
        advanced=True,
    )
    embedding_steps: int = parameter(
        1500,
        "Embedding steps",
        "Most training steps of the embedding (stage 1).",
        low=1,
        high=200_000,
        advanced=True,
    )
    graph_steps: int = parameter(
        800,
        "Graph steps",
        "Most training steps of the graph network (stage 2).",
        low=1,
        high=200_000,
        advanced=True,
    )
    patience: int = parameter(
        6,
        "Patience",
        "Validations without a better one before a stage ends; 0 trains to the end.",
        low=0,
        high=1000,
        advanced=True,
    )
    batch: int = parameter(
        128, "Batch size", "Locations in one training step.", low=4, high=8192, advanced=True
    )
    learning_rate: float = parameter(
        1e-3, "Learning rate", "Step size of Adam in stage 1.", low=1e-6, high=1.0, advanced=True
    )
    graph_learning_rate: float = parameter(
        2e-3,
        "Learning rate of the graph",
        "Step size of Adam in stage 2, where it falls along a cosine.",
        low=1e-6,
        high=1.0,
        advanced=True,
    )
    kl_weight: float = parameter(
        1.0,
        "KL weight",
        "Weight of the prior of the embedding after warm-up.",
        low=0.0,
        high=100.0,
        advanced=True,
    )
    validation_share: float = parameter(
        0.15,
        "Validation share",
        "Share of the tissue, in whole blocks, kept from training to choose the best weights.",
        low=0.0,
        high=0.5,
        advanced=True,
    )
    max_centres: int = parameter(
        20_000,
        "Most training blocks",
        "Larger slides train on this many locations, drawn at random.",
        low=100,
        high=10_000_000,
        advanced=True,
    )
    ablation: str = parameter(
        "none",
        "Ablation",
        "Leaves out one part, to see what it is worth: virtual nodes, the VAE, or attention.",
        choices=("none", "virtual nodes", "vae", "attention"),
        advanced=True,
    )


PRESETS: dict[str, dict[str, Any]] = {
    "auto": {"rings": 2, "embedding_steps": 2000, "graph_steps": 1200, "patience": 8},
    "fast": {"embedding_steps": 600, "graph_steps": 400, "patience": 6},
    "paper": {
        "likelihood": "zinb",
        "latent": 32,
        "width": 128,
        "symmetries": "mirror",
        "graph_learning_rate": 1e-3,
        "prior": "flat",
        "depth": "pooled",
        "mix": "off",
        "own_counts": False,
        "embedding_steps": 6000,
        "graph_steps": 4000,
        "patience": 20,
    },
}
