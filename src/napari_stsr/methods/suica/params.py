"""Parameters of SUICA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_stsr.methods.field import FieldParams
from napari_stsr.methods.parameters import parameter
from napari_stsr.slides import Slide

# Passes of the published autoencoder over the slide.
PASSES = 200
# Steps between two validations; locations that decode genes no network was trained on.
VALIDATE_EVERY, MOST_DECODED = 25, 2500
# Locations whose passage through the field is held at once in training; fewer where it is deep.
FIELD_CHUNK, DEEP_CHUNK = 32_768, 8_192
# The published fields: Fourier features and linear layers; sine layers after the first, with an
# autoencoder and without.
FEATURES, LINEAR_LAYERS = 256, 3
SINE_LAYERS, SINE_LAYERS_ALONE = 2, 11


@dataclass(frozen=True)
class SuicaParams(FieldParams):
    """What the user can set; see docs/methods/suica.md for the formulas."""

    backbone: str = parameter(
        "auto",
        "Backbone",
        "How the network sees a place: random Fourier features (ffn), sine layers (siren), or a "
        "hash grid of many resolutions (ngp). As published, spots get siren and dense data ffn.",
        choices=("auto", "ffn", "siren", "ngp"),
    )
    objective: str = parameter(
        "counts",
        "Objective",
        "What is learned: counts as they are, by their likelihood (counts), or values scaled to a "
        "total of 200, by the published losses (published).",
        choices=("counts", "published"),
    )
    mix: str = parameter(
        "kernel",
        "Mixed with",
        "Take the mean of SUICA and of a pair of kernels (factor kernel and Poisson kernel, mixed "
        "gene by gene), in the shares that held-out locations decide; or SUICA alone (off).",
        choices=("kernel", "off"),
    )
    own_counts: bool = parameter(
        True,
        "Own counts",
        "At measured locations and their parts, weigh what the slide tells against what was "
        "counted there, as far as left-out locations show that counts can be trusted.",
    )
    members: int = parameter(
        5,
        "Ensemble",
        "Models trained side by side, each blind to another share of the locations: from these "
        "come the stopping point, the shares and the uncertainty. 1 is blind to none.",
        low=1,
        high=20,
    )
    variable_genes: int = parameter(
        2000,
        "Variable genes",
        "Genes the networks learn from; all others are decoded from what these taught.",
        low=1,
        high=50_000,
    )
    wavelength_um: float = parameter(
        0.0,
        "Wavelength (µm)",
        "Typical wavelength of the field's features: shorter ones follow finer patterns and more "
        "noise. 0 takes several pitches, each member its own.",
        low=0.0,
        high=100_000.0,
    )
    ablation: str = parameter(
        "none",
        "Ablation",
        "Leaves parts out, to see what they are worth: the autoencoder (the field then speaks of "
        "genes directly), its graph, or the Dice term of the published losses. The vanilla network "
        "of the paper has neither autoencoder nor Dice.",
        choices=(
            "none",
            "autoencoder",
            "graph",
            "dice",
            "graph and dice",
            "autoencoder and dice",
        ),
        advanced=True,
    )
    filters: bool = parameter(
        False,
        "Published filters",
        "Learn nothing of locations under 200 counts, and of genes above 200 in one of them or "
        "under 3 in all, as the published code.",
        advanced=True,
    )
    leak: bool = parameter(
        False,
        "Published leak",
        "Embed training locations on a graph that contains those held out, as the published code "
        "does; for comparison only. Needs an ensemble: one member holds nothing out.",
        advanced=True,
    )
    neighbours: int = parameter(
        5,
        "Neighbours (k)",
        "Nearest locations the graph layer sums, the location itself among them.",
        low=1,
        high=50,
        advanced=True,
    )
    normalise: str = parameter(
        "batch",
        "Normalise over",
        "Whose statistics the batch normalisation takes: the batch's, or those of the batch and "
        "its neighbours, which hear whom of their own neighbours was loaded with them, as in the "
        "published code (neighbours).",
        choices=("batch", "neighbours"),
        advanced=True,
    )
    latent: int = parameter(
        8, "Latent dimensions", "Size of the embedding.", low=2, high=128, advanced=True
    )
    hidden: int = parameter(
        64,
        "Hidden units",
        "Width of autoencoder and decoder (its first layer in the published form).",
        low=8,
        high=4096,
        advanced=True,
    )
    width: int = parameter(
        256, "Field width", "Width of the field's layers.", low=8, high=4096, advanced=True
    )
    autoencoder_steps: int = parameter(
        400,
        "Autoencoder steps",
        "Most training steps of the autoencoder; 0 takes 200 passes, as published.",
        low=0,
        high=1_000_000,
        advanced=True,
    )
    field_steps: int = parameter(
        200,
        "Field steps",
        "Training steps in which the field learns the embedding.",
        low=1,
        high=1_000_000,
        advanced=True,
    )
    decoder_steps: int = parameter(
        1500,
        "Decoder steps",
        "Most training steps in which field and decoder (published: the decoder alone) learn the "
        "expression.",
        low=1,
        high=1_000_000,
        advanced=True,
    )
    batch: int = parameter(
        256,
        "Batch size",
        "Locations in one training step; the published field and decoder take all.",
        low=4,
        high=8192,
        advanced=True,
    )
    autoencoder_rate: float = parameter(
        3e-4,
        "Learning rate of the autoencoder",
        "Step size of Adam.",
        low=1e-7,
        high=1.0,
        advanced=True,
    )
    learning_rate: float = parameter(
        3e-4,
        "Learning rate",
        "Step size of AdamW for field and decoder.",
        low=1e-7,
        high=1.0,
        advanced=True,
    )
    stride: int = parameter(
        1,
        "Stride",
        "Steps that one step of autoencoder and decoder stands for: it is so many times as long, "
        "its momenta forget as much, and there are as many fewer. 1 in the published form is the "
        "publication to the letter.",
        low=1,
        high=16,
        advanced=True,
    )
    weight_decay: float = parameter(
        0.1, "Weight decay", "Of AdamW.", low=0.0, high=10.0, advanced=True
    )
    jitter: float = parameter(
        0.5,
        "Jitter",
        "Training places are shaken by a normal draw of so many pitches: a location gathers from "
        "around its centre, and the field is kept from following single ones.",
        low=0.0,
        high=5.0,
        advanced=True,
    )
    patience: int = parameter(
        8,
        "Patience",
        "Validations without a better one before training ends; 0 trains to the end, as does an "
        "ensemble of one.",
        low=0,
        high=1000,
        advanced=True,
    )

    @property
    def published(self) -> bool:
        """Whether scaled values are learned by the published losses."""
        return self.objective == "published"

    @property
    def without(self) -> frozenset[str]:
        """Parts that are left out, of autoencoder, graph and dice."""
        return frozenset(self.ablation.split(" and ")) - {"none"}

    @property
    def alone(self) -> bool:
        """Whether the field speaks of genes, without an autoencoder."""
        return "autoencoder" in self.without

    @property
    def widths(self) -> tuple[int, ...]:
        """Layers of the encoder, from the genes inwards; the decoder mirrors them."""
        if self.alone:
            return ()
        if not self.published:
            return (self.hidden,)
        return (self.hidden, max(self.hidden // 4, 1), max(self.hidden // 32, 1))

    @property
    def outputs(self) -> int:
        """Numbers the field says of a place."""
        return self.hidden if self.alone else self.latent

    def backbone_on(self, slide: Slide) -> str:
        """Backbone for a slide: as published, sine layers for spots, features for what is dense."""
        if self.backbone != "auto":
            return self.backbone
        return "siren" if self.published and slide.location_word == "spot" else "ffn"


_PUBLISHED: dict[str, Any] = {
    "objective": "published",
    "mix": "off",
    "own_counts": False,
    "filters": True,
    "members": 1,
    "variable_genes": 50_000,
    "latent": 32,
    "hidden": 2048,
    "width": 2048,
    "autoencoder_steps": 0,
    "field_steps": 1001,
    "decoder_steps": 999,
    "batch": 512,
    "autoencoder_rate": 1e-5,
    "learning_rate": 1e-4,
    "weight_decay": 0.01,
    "jitter": 0.0,
    "patience": 0,
    "stride": 4,
    "normalise": "neighbours",
}
PRESETS: dict[str, dict[str, Any]] = {
    "auto": {},
    "fast": {"members": 3, "autoencoder_steps": 200, "field_steps": 100, "decoder_steps": 500},
    "paper": _PUBLISHED,
    "vanilla": _PUBLISHED
    | {
        "ablation": "autoencoder and dice",
        "learning_rate": 1e-5,
        "decoder_steps": 2000,
        "stride": 1,
    },
}
