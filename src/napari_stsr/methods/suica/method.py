"""SUICA as a method: its card, its checks, its estimate."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.methods.base import Estimate
from napari_stsr.methods.field import FieldFitted, FieldMethod
from napari_stsr.methods.measured import Measured
from napari_stsr.methods.parameters import Params
from napari_stsr.methods.suica.cost import Cost
from napari_stsr.methods.suica.params import PRESETS, SuicaParams
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
        if "dice" in params.without and params.objective == "counts":
            raise InputError(
                "Only the published objective has a Dice loss to leave out.",
                "Set the objective to published, or choose another ablation.",
            )

    def estimate(self, slide: Slide, targets: Targets, params: Params) -> Estimate:
        """Memory and time of training and prediction on one processor core."""
        assert isinstance(params, SuicaParams)
        cost = Cost(slide, len(targets), params)
        return Estimate(int(cost.memory), float(cost.seconds))

    def learn(
        self, slide: Slide, measured: Measured, params: Any, run: Run
    ) -> Generator[Progress, None, dict[str, NDArray[np.generic]]]:
        """Train autoencoder, field and decoder, then all that was not trained on."""
        from napari_stsr.methods.suica.fitting import Fitting

        return (yield from Fitting(self, slide, measured, params, run).run_through())
