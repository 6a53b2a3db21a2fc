"""SUICA as a method: its card, its checks, its estimate."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.methods.base import Estimate
from napari_stsr.methods.field import FieldFitted, FieldMethod
from napari_stsr.methods.kernel_pair import KernelPair
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.parameters import Params
from napari_stsr.methods.suica.params import FIELD_CHUNK, PASSES, PRESETS, SuicaParams
from napari_stsr.slides import Slide, Targets
from napari_stsr.training.progress import Progress, Run


class Suica(FieldMethod):
    """Implicit neural field of expression over a graph autoencoder."""

    name = "suica"
    title = "SUICA"
    summary = (
        "Learns a continuous field of expression: a network turns any coordinate into an "
        "embedding, and a decoder that into all genes. Ask for expression at any place and "
        "resolution, and for denoised or filled-in counts where it was measured."
    )
    paper = "Zhu et al.: SUICA, ICML 2025 (arXiv 2412.01124)"
    needs = ("counts",)
    gives = ("expression", "uncertainty")
    family = "method"
    params = SuicaParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    fewest = 20

    @property
    def fitted(self) -> type[FieldFitted]:  # type: ignore[override]
        """The class of its fits; reading it loads torch."""
        from napari_stsr.methods.suica.fitted import SuicaFitted

        return SuicaFitted

    def check(self, slide: Slide, targets: Targets, params: Params) -> None:
        """Refuse what `FieldMethod.check` does, and forms that cannot be."""
        super().check(slide, targets, params)
        assert isinstance(params, SuicaParams)
        if params.objective == "published" and params.members > 1:
            raise InputError(
                f"The published form has one field, not {params.members}.",
                "Set members to 1, or the objective to counts.",
            )
        if params.objective == "published":
            for name, none in (("mix", "off"), ("own_counts", False), ("jitter", 0.0)):
                if getattr(params, name) != none:
                    raise InputError(
                        f"The published form knows no {name.replace('_', ' ')}.",
                        f"Set {name} to {none}, or the objective to counts.",
                    )
        if params.leak and params.members == 1:
            raise InputError(
                "The leak shows the graph what is held out, and one member holds nothing out.",
                "Turn it off, or set members to 2 or more.",
            )
        if params.ablation == "dice" and params.objective == "counts":
            raise InputError(
                "Only the published objective has a Dice loss to leave out.",
                "Set the objective to published, or choose another ablation.",
            )

    def estimate(self, slide: Slide, targets: Targets, params: Params) -> Estimate:
        """Memory and time of training and prediction; the constants were measured on one core."""
        assert isinstance(params, SuicaParams)
        p, n = params, len(slide)
        genes = min(p.variable_genes, len(slide.genes))
        published = p.objective == "published"
        batch = min(n, p.batch)
        inner = p.hidden * p.hidden / 4 + p.hidden * p.hidden / 32 if published else 0
        codec = p.hidden * genes + inner
        steps = p.autoencoder_steps or PASSES * max(1, -(-n // batch))
        flops = steps / p.stride * batch * 12 * codec
        if p.normalise == "neighbours":
            loaded = min(n, batch * p.neighbours) - batch
            flops += steps / p.stride * loaded * 4 * p.hidden * genes
        if published:
            layers = 2 * p.width**2 if p.backbone in ("auto", "siren") else 512 * p.width
            flops += p.field_steps * n * 6 * layers + p.decoder_steps / p.stride * n * 6 * codec
        else:
            entries = p.decoder_steps / p.stride * p.members * batch * genes
            flops += entries * (6 * p.hidden + 400)
        # Wide layers run near the processor's peak, and leave silent genes out.
        seconds = 3 + flops / (8e10 if published else 4e10) + 2e-8 * slide.counts.nnz
        seconds += len(targets) * p.members * 2e-9 * (genes * p.hidden / 100 + p.width * 500)
        if p.mix != "off":
            seconds += KernelPair().seconds(slide, None)
        memory = 700e6 + 24.0 * slide.counts.nnz + 4.0 * min(n * genes, 250e6)
        memory += 32.0 * codec + 4.0 * len(targets) * p.hidden * (1 + p.members)
        # Layers of the field whose values the step back needs, and their gradients.
        deep = 8.5 if p.backbone in ("auto", "siren") else 4.0
        held = deep * 4.0 * min(n, FIELD_CHUNK) * p.width
        memory += held if published else 12.0 * p.members * batch * genes
        return Estimate(int(memory), float(seconds))

    def learn(
        self, slide: Slide, measured: Measured, params: Any, run: Run
    ) -> Generator[Progress, None, dict[str, NDArray[np.generic]]]:
        """Train autoencoder, field and decoder, then all that was not trained on."""
        from napari_stsr.methods.suica.fitting import Fitting

        return (yield from Fitting(self, slide, measured, params, run).run_through())
