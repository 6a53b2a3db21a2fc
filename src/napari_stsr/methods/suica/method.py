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
        if params.published:
            _check_published(params)
        elif params.filters or "dice" in params.without:
            what = "filters to apply" if params.filters else "a Dice loss to leave out"
            raise InputError(
                f"Only the published objective has {what}.",
                "Set the objective to published, or choose the usual value.",
            )
        if params.leak and (params.members == 1 or {"autoencoder", "graph"} & params.without):
            raise InputError(
                "The leak shows the graph what is held out: it needs a graph, and two members or "
                "more, as one holds nothing out.",
                "Turn it off, or set members and ablation accordingly.",
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


def _check_published(params: SuicaParams) -> None:
    """Refuse what the published form would ignore."""
    if params.leak:
        raise InputError(
            "The published form holds nothing out here, so nothing can leak.",
            "Turn the leak off, or set the objective to counts.",
        )
    if params.members > 1:
        raise InputError(
            f"The published form has one field, not {params.members}.",
            "Set members to 1, or the objective to counts.",
        )
    usual = {"mix": "off", "own_counts": False, "jitter": 0.0}
    for name, value in usual.items():
        if getattr(params, name) != value:
            raise InputError(
                f"The published form knows no {name.replace('_', ' ')}.",
                f"Set {name} to {value}, or the objective to counts.",
            )
