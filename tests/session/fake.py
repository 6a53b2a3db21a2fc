"""A small method with every outcome a real one can have, registered for one test."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from napari_stsr.errors import InputError, RunError
from napari_stsr.methods import Estimate, Fitted, Method, Params, parameter, registry
from napari_stsr.methods.measured import Measured, read_field, write_field
from napari_stsr.results import (
    Attention,
    ConservedExpression,
    DecodedExpression,
    Enhancement,
    Expression,
)
from napari_stsr.slides import Slide, Targets, points
from napari_stsr.training import Progress, Run


@dataclass(frozen=True)
class FakeParams(Params):
    steps: int = parameter(3, "Steps", "How long it takes.", low=1, high=1_000_000)
    conserve: bool = parameter(True, "Conserve", "Parts sum to the spot.")
    ends: str = parameter(
        "well",
        "Ends",
        "How it ends.",
        choices=("well", "with a note", "in words", "by a bug", "out of memory"),
    )


class FakeFitted(Fitted):
    def __init__(self, slide: Slide, params: FakeParams, columns: NDArray[np.int64]) -> None:
        self.slide, self.params, self.columns = slide, params, columns

    def predict(self, targets: Targets, run: Run | None = None) -> Enhancement:
        slide = self.slide
        _, near = cKDTree(slide.coordinates).query(targets.coordinates, k=3)
        edges = (np.full(near.size, 1 / 3), near.ravel(), np.arange(0, near.size + 1, 3))
        weights = sparse.csr_matrix(edges, shape=(len(targets), len(slide)))
        measured = slide.counts.dense(self.columns)
        expected = np.asarray(weights @ measured) + 0.01
        # A rank as high as the number of genes holds any expression in the decoded form.
        predicted: Expression = DecodedExpression(
            np.log(expected).astype(np.float32),
            np.eye(len(self.columns), dtype=np.float32),
            np.zeros(len(self.columns), dtype=np.float32),
            np.zeros(len(targets), dtype=np.float32),
            np.full(len(targets), 1 / targets.per_location, dtype=np.float32),
        )
        denoised: Expression | None = None
        if self.params.conserve and targets.kind == "subspots":
            from napari_stsr.slides import Counts

            counts = Counts(slide.counts.genes(self.columns))
            denoised = predicted
            predicted = ConservedExpression(predicted, targets.parent, counts, targets.per_location)
        owned, noted = targets.parent >= 0, self.params.ends == "with a note"
        parents = np.where(owned, slide.barcodes[targets.parent], "")
        return Enhancement(
            "fake",
            targets,
            slide.genes.take(self.columns),
            predicted,
            slide.scale,
            np.ones(len(targets), dtype=bool),
            np.ones(len(targets), dtype=bool),
            parents,
            Attention({(0, 0): weights}),
            slide.barcodes,
            slide.coordinates,
            denoised=denoised,
            provenance={"notes": ["Two genes were left out."]} if noted else {},
        )

    def at(self, places: NDArray[np.float64], run: Run | None = None) -> Expression:
        return self.predict(points(places, self.slide.diameter_um), run).expression_source

    def save(self, path: Path) -> None:
        measured = Measured.of(self.slide, self.columns)
        write_field(path, "fake", measured, self.params, 0, {})


class FakeMethod(Method):
    name = "fake"
    title = "Fake"
    summary = "Mean of the three nearest locations."
    paper = "None"
    needs = ("counts",)
    gives = ("expression", "attention")
    params = FakeParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "auto": {},
        "fast": {"steps": 2},
        "paper": {"steps": 5},
    }
    # Lets a test hold the fit at its first step.
    gate = threading.Event()

    def check(self, slide: Slide, targets: Targets, params: Params) -> None:
        if len(slide) < 3:
            raise InputError(f"{len(slide)} locations are too few.", "Take at least 3.")

    def estimate(self, slide: Slide, targets: Targets, params: Params) -> Estimate:
        return Estimate(1_500_000_000, 61.0)

    def fit(
        self, slide: Slide, params: Params, run: Run, genes: NDArray[np.int64] | None = None
    ) -> Generator[Progress, None, Fitted]:
        assert isinstance(params, FakeParams)
        for step in range(1, params.steps + 1):
            self.gate.wait(30)
            run.cancel.check()
            part = step / params.steps
            yield Progress("training", step, params.steps, part, {"training": 1 / step}, 3.0)
            if params.ends == "in words":
                raise RunError("The disk is full.", "Free some space.")
            if params.ends == "by a bug":
                raise RuntimeError("wires crossed")
            if params.ends == "out of memory":
                raise MemoryError
        columns = np.arange(len(slide.genes), dtype=np.int64) if genes is None else genes
        return FakeFitted(slide, params, columns)

    def load(self, path: Path) -> Fitted:
        measured, values, _, _ = read_field(path, "fake", self.title)
        slide = Slide(
            measured.name, "simulated", measured.counts, measured.genes, measured.coordinates,
            measured.barcodes, measured.lattice, measured.diameter_um, measured.scale,
            np.ones(len(measured), dtype=bool),
        )  # fmt: skip
        return FakeFitted(slide, FakeParams(**values), np.arange(len(measured.genes)))


@contextmanager
def fake_method(name: str = "fake") -> Iterator[type[FakeMethod]]:
    """Install the fake method, under any name, as the only one."""
    FakeMethod.gate.set()
    entry: Any = SimpleNamespace(name=name, load=lambda: FakeMethod)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_found", lambda: {name: entry})
        registry.get_method.cache_clear()
        yield FakeMethod
    registry.get_method.cache_clear()
    FakeMethod.gate.set()
