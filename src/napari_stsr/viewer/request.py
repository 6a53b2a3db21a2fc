"""What the Enhance panel asks for, and the plans and previews it turns into. No Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.methods import Fitted
from napari_stsr.session import Card, Model, Plan, Task
from napari_stsr.slides import Region, Slide, Targets
from napari_stsr.training import Run


@dataclass(frozen=True, eq=False)
class Request:
    """Choices of the form, before the slide has been asked anything.

    Parameters
    ----------
    genes : tuple of str, or int, optional
        Names; or a number, for the most variable ones; all by default.
    regions : tuple of Region
        One plan each; the whole tissue without any.
    task : {"enhance", "denoise", "impute"}
    """

    method: str
    preset: str
    values: Mapping[str, Any] = field(default_factory=dict)
    genes: tuple[str, ...] | int | None = None
    subspots: int | None = None
    grid_um: float | None = None
    regions: tuple[Region, ...] = ()
    task: Task = "enhance"

    def by(self, model: Model | Card) -> Request:
        """Return the same for a model that is fitted: of genes only names are still a choice."""
        genes = self.genes if isinstance(self.genes, tuple) else None
        method, preset = str(model.fit["method"]), str(model.fit["preset"])
        return replace(self, method=method, preset=preset, values={}, genes=genes)

    def plans(self, slide: Slide) -> list[Plan]:
        """Turn the choices into plans; finding variable genes may take a second.

        Raises
        ------
        InputError
            When the slide lacks a gene.
        """
        genes = self.genes
        if isinstance(genes, int):
            from napari_stsr.methods.variable_genes import variable_genes

            columns = variable_genes(slide.counts, genes)
            genes = tuple(slide.genes.ids[columns].tolist())
        if genes is not None:
            slide.genes.columns(genes)
        return [
            Plan(
                self.method,
                self.preset,
                self.values,
                genes,
                self.subspots,
                self.grid_um,
                region=region,
                task=self.task,
            )
            for region in (self.regions or (None,))
        ]


class Preview:
    """Values of the gene in view while a fit runs; called in the fitting thread.

    Parameters
    ----------
    plan : Plan
    slide : Slide
    run : Run
    gene : str, optional
        Id of the gene to show; may be changed while the fit runs.
    """

    def __init__(self, plan: Plan, slide: Slide, run: Run, gene: str | None = None) -> None:
        self.gene = gene
        self.shown: str | None = None
        self.targets: Targets | None = None
        self._plan, self._slide, self._run = plan, slide, run

    def __call__(self, fitted: Fitted) -> NDArray[np.float32] | None:
        """Predict the gene with what is fitted so far; None when it is not among those fitted."""
        gene = self.gene
        if gene is None:
            return None
        if self.targets is None:
            self.targets = self._plan.prepare(self._slide)[1]
        result = fitted.predict(self.targets, self._run)
        if gene not in result.genes.ids:
            return None
        self.shown = gene
        return result.expression([gene])[:, 0]
