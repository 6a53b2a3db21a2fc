"""An enhancement: predicted expression at targets, with what is needed to judge and repeat it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stsr.errors import InputError
from napari_stsr.results.attention import Attention
from napari_stsr.results.expression import Expression, GenesExpression
from napari_stsr.results.posterior import Unseen
from napari_stsr.slides import Genes, PixelScale, Targets


@dataclass(frozen=True, eq=False)
class Enhancement:
    """Predicted expression. Every name and file says so, and where measured counts were kept.

    Parameters
    ----------
    name : str
        Shown on layers, for example ``"her2st_C2 · Square"``.
    targets : Targets
    genes : Genes
    expression_source : Expression
        Lazy; `expression` computes only the genes asked.
    scale : PixelScale
        Scale of the slide, for writing px.
    in_tissue : (m,) bool array
        The target lies in the cell of a measured in-tissue location.
    supported : (m,) bool array
        The target lies within one pitch of a measured location.
    parents : (m,) array of str
        Barcode of the location a subspot divides, empty for other targets.
    attention : Attention, optional
    sources : (n,) array of str, optional
        Barcodes of the locations attention points to.
    source_coordinates : (n, 2) float array, optional
        Their centres in µm.
    embedding : (m, d) float array, optional
    denoised : Expression, optional
        The method's own expected counts, where `expression_source` was made to add up to what was
        measured, or keeps what was measured.
    unseen : Unseen, optional
        Expected counts of genes taken as missing at the target, where the method's own expected
        counts weigh what was counted there. Imputation takes these.
    uncertainty : Expression, optional
        Standard deviation of the expected counts, that is of `denoised` where there is one.
    provenance : dict
        JSON-ready; enough to run it again.
    """

    name: str
    targets: Targets
    genes: Genes
    expression_source: Expression
    scale: PixelScale
    in_tissue: NDArray[np.bool_]
    supported: NDArray[np.bool_]
    parents: NDArray[np.str_]
    attention: Attention | None = None
    sources: NDArray[np.str_] | None = None
    source_coordinates: NDArray[np.float64] | None = None
    embedding: NDArray[np.float32] | None = None
    denoised: Expression | None = None
    uncertainty: Expression | None = None
    unseen: Unseen | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.expression_source.shape != (len(self.targets), len(self.genes)):
            raise InputError(
                f"Expression is {self.expression_source.shape}, but there are "
                f"{len(self.targets)} targets and {len(self.genes)} genes."
            )

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def kind(self) -> str:
        """``"predicted"``, or ``"measured and predicted"`` where both stand in its expression."""
        return str(self.provenance.get("kind", "predicted"))

    @property
    def coordinates_px(self) -> NDArray[np.float64]:
        """Target centres (x, y) in full-resolution pixels."""
        return self.targets.coordinates / self.scale.um_per_px

    def expression(self, genes: Iterable[str] | None = None) -> NDArray[np.float32]:
        """Expected counts of the given genes (ids or symbols; all by default), (m, len(genes)).

        Raises
        ------
        InputError
            When a gene is unknown, or when all genes at once would take more than 8 GB.
        """
        if genes is None:
            if 4 * len(self) * len(self.genes) > 8e9:
                raise InputError(
                    f"All of {len(self):,} targets × {len(self.genes):,} genes do not fit.",
                    "Name some genes, or go through `blocks()`.",
                )
            return self.expression_source.columns(np.arange(len(self.genes)))
        return self.expression_source.columns(self.genes.columns(genes))

    def blocks(
        self, megabytes: float = 256.0
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Go through all genes in blocks of bounded size: (gene columns, values)."""
        width = max(1, int(megabytes * 1e6 / (4 * max(1, len(self)))))
        for start in range(0, len(self.genes), width):
            columns = np.arange(start, min(start + width, len(self.genes)))
            yield columns, self.expression_source.columns(columns)

    def with_genes(self, columns: NDArray[np.int64]) -> Enhancement:
        """Return only some genes, in the order given."""

        def of_genes(source: Expression) -> Expression:
            return GenesExpression(source, columns)

        def chosen(source: Expression | None) -> Expression | None:
            return None if source is None else of_genes(source)

        return replace(
            self,
            genes=self.genes.take(columns),
            expression_source=of_genes(self.expression_source),
            denoised=chosen(self.denoised),
            uncertainty=chosen(self.uncertainty),
            unseen=None if self.unseen is None else self.unseen.each(of_genes),
        )

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Enhancement:
        """Return some of the targets."""
        return replace(
            self,
            targets=self.targets.take(rows),
            expression_source=self.expression_source.take(rows),
            in_tissue=self.in_tissue[rows],
            supported=self.supported[rows],
            parents=self.parents[rows],
            attention=None if self.attention is None else self.attention.take(rows),
            embedding=None if self.embedding is None else self.embedding[rows],
            denoised=None if self.denoised is None else self.denoised.take(rows),
            uncertainty=None if self.uncertainty is None else self.uncertainty.take(rows),
            unseen=None if self.unseen is None else self.unseen.each(lambda all_: all_.take(rows)),
        )
