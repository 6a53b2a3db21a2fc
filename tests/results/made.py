"""Enhancements made by hand, with every optional part in place."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse

from napari_stsr.results import (
    Attention,
    ConservedExpression,
    DecodedExpression,
    Enhancement,
    StoredExpression,
)
from napari_stsr.slides import Counts, Genes, Lattice, PixelScale, Targets, grid, points, subspots

GENES = Genes(
    np.array(["ENSG1", "ENSG2", "ENSG3", "ENSG4", "ENSG5"]),
    np.array(["ERBB2", "MBP", "", "TWIN", "TWIN"]),
)
UM_PER_PX = 0.37


def hex_slide(rows: int = 5, columns: int = 4, turn: float = 0.3) -> tuple[Lattice, np.ndarray]:
    """Lattice and coordinates of a small turned Visium array."""
    r, c = (axis.ravel() for axis in np.indices((rows, columns)))
    c = 2 * c + r % 2
    flat = np.column_stack([c * 50.0, r * 86.6])
    turned = 1000 + flat @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return Lattice.from_array(r, c, turned), turned


def decoded(targets: int, genes: int = 5, seed: int = 0) -> DecodedExpression:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    depth = rng.uniform(1, 50, targets).astype(np.float32)
    return DecodedExpression(draw(targets, 3), draw(genes, 3), draw(genes), draw(targets), depth)


def enhancement(
    kind: Literal["subspots", "grid", "points"] = "subspots", *, full: bool = True, seed: int = 0
) -> Enhancement:
    """Enhancement of a small slide at any kind of targets."""
    rng = np.random.default_rng(seed)
    lattice, places = hex_slide()
    barcodes = np.array([f"BC{n:02d}-1" for n in range(len(places))])
    targets: Targets
    if kind == "subspots":
        targets = subspots(lattice, places, 7, barcodes)
    elif kind == "grid":
        targets = grid(places, 41.0, 60.0)
    else:
        targets = points(places[:7] + 11.5, rng.uniform(10, 60, 7), np.array(list("gfedcba")))
    m, n = len(targets), len(places)
    source = decoded(m, seed=seed)
    measured = Counts(sparse.random(n, 5, 0.7, "csr", random_state=seed, dtype=np.float32))
    conserved = ConservedExpression(source, targets.parent, measured, targets.per_location)
    weights = {
        (layer, head): sparse.random(m, n, 0.2, "csr", random_state=layer * 2 + head)
        for layer in range(2)
        for head in range(2)
    }
    owned = targets.parent >= 0
    return Enhancement(
        name="slide · Méthode",
        targets=targets,
        genes=GENES,
        expression_source=conserved if kind == "subspots" else source,
        scale=PixelScale(UM_PER_PX, "spot lattice"),
        in_tissue=rng.random(m) < 0.5,
        supported=rng.random(m) < 0.5,
        parents=np.where(owned, barcodes[targets.parent], ""),
        attention=Attention(weights) if full else None,
        sources=barcodes if full else None,
        source_coordinates=places if full else None,
        embedding=rng.normal(size=(m, 3)).astype(np.float32) if full else None,
        denoised=source if kind == "subspots" else None,
        uncertainty=StoredExpression(rng.random((m, 5)).astype(np.float32)) if full else None,
        provenance={
            "kind": "predicted",
            "method": "square",
            "params": {"lr": 1e-3, "conserve": True, "rings": None, "sizes": [1, 2]},
            "slide": {"hashes": {"spatial/tissue_positions.csv": "ab12"}, "name": "µ-slide"},
            "run": {"seed": 3},
        },
    )


def assert_same(a: Enhancement, b: Enhancement) -> None:
    """Assert that two enhancements agree in every part."""
    assert (a.name, a.scale, a.provenance) == (b.name, b.scale, b.provenance)
    for name in ("kind", "per_location"):
        assert getattr(a.targets, name) == getattr(b.targets, name)
    for name in ("coordinates", "parent", "part", "cell", "area_um2", "ids"):
        np.testing.assert_array_equal(getattr(a.targets, name), getattr(b.targets, name))
    np.testing.assert_array_equal(a.genes.ids, b.genes.ids)
    np.testing.assert_array_equal(a.genes.symbols, b.genes.symbols)
    np.testing.assert_array_equal(a.expression(), b.expression())
    for name in ("in_tissue", "supported", "parents", "sources", "source_coordinates", "embedding"):
        left, right = getattr(a, name), getattr(b, name)
        assert (left is None) == (right is None)
        if left is not None:
            np.testing.assert_array_equal(left, right)
            assert left.dtype.kind == right.dtype.kind
            if left.dtype.kind == "f":
                assert left.dtype == right.dtype
    every = np.arange(len(a.genes))
    for name in ("denoised", "uncertainty"):
        left, right = getattr(a, name), getattr(b, name)
        assert (left is None) == (right is None)
        if left is not None:
            np.testing.assert_array_equal(left.columns(every), right.columns(every))
    assert (a.attention is None) == (b.attention is None)
    if a.attention is not None and b.attention is not None:
        assert a.attention.weights.keys() == b.attention.weights.keys()
        for key, weights in a.attention.weights.items():
            assert (weights != b.attention.weights[key]).nnz == 0
