"""Slides from AnnData files: the same as from their folders, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_stsr.errors import InputError
from napari_stsr.slides.readers import open_slide
from tests.slides.folders import UM_PER_PX, Outs, anndata_of, sentences


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
def test_anndata_gives_the_same_slide(tmp_path: Path, form: str) -> None:
    outs = Outs()
    adata = anndata_of(outs)
    if form == "csc":
        adata.X = adata.X.tocsc()  # type: ignore[attr-defined]
    if form == "dense":
        adata.X = adata.X.toarray()  # type: ignore[attr-defined]
    adata.write_h5ad(tmp_path / "brain.h5ad")  # type: ignore[attr-defined]
    slide = open_slide(tmp_path / "brain.h5ad")
    np.testing.assert_array_equal(slide.counts.rows.toarray(), outs.counts)
    assert slide.scale.um_per_px == pytest.approx(UM_PER_PX)
    assert (slide.kind, slide.lattice.kind) == ("visium", "hex")
    assert slide.genes.ids[2] == "ENSG00002"
    assert slide.genes.symbols[2] == "GENE2"
    assert slide.image is not None
    assert slide.image.um_per_px == pytest.approx(10 * UM_PER_PX)


@pytest.mark.parametrize("home", ["layers", "raw"])
def test_counts_are_found_where_x_is_normalised(tmp_path: Path, home: str) -> None:
    outs = Outs()
    adata = anndata_of(outs)
    counts = adata.X.copy()  # type: ignore[attr-defined]
    if home == "layers":
        adata.layers["counts"] = counts  # type: ignore[attr-defined]
    else:
        adata.raw = adata.copy()  # type: ignore[attr-defined]
    adata.X = counts.log1p()  # type: ignore[attr-defined]
    adata.write_h5ad(tmp_path / "brain.h5ad")  # type: ignore[attr-defined]
    slide = open_slide(tmp_path / "brain.h5ad")
    np.testing.assert_array_equal(slide.counts.rows.toarray(), outs.counts)
    assert "X is normalised" in sentences(slide, "notice")


def test_names_beyond_ascii_survive(tmp_path: Path) -> None:
    adata = anndata_of(Outs())
    adata.obs_names = [f"Fläche-{i}µ" for i in range(168)]  # type: ignore[attr-defined]
    adata.write_h5ad(tmp_path / "brain.h5ad")  # type: ignore[attr-defined]
    assert open_slide(tmp_path / "brain.h5ad").barcodes[7] == "Fläche-7µ"


def test_anndata_without_places_or_with_predictions_is_refused(tmp_path: Path) -> None:
    adata = anndata_of(Outs())
    del adata.obsm["spatial"]  # type: ignore[attr-defined]
    adata.write_h5ad(tmp_path / "a.h5ad")  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"no obsm\['spatial'\]"):
        open_slide(tmp_path / "a.h5ad")
    adata.uns["napari_stsr"] = "{}"  # type: ignore[attr-defined]
    adata.write_h5ad(tmp_path / "b.h5ad")  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="predicted expression"):
        open_slide(tmp_path / "b.h5ad")
    content = (tmp_path / "b.h5ad").read_bytes()
    (tmp_path / "c.h5ad").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        open_slide(tmp_path / "c.h5ad")


def test_locations_on_top_of_each_other_are_told(tmp_path: Path) -> None:
    adata = anndata_of(Outs())
    adata.obsm["spatial"] = np.zeros((168, 2))  # type: ignore[attr-defined]
    adata.obs = adata.obs[["in_tissue"]]  # type: ignore[attr-defined]
    adata.write_h5ad(tmp_path / "heap.h5ad")  # type: ignore[attr-defined]
    assert "on top of each other" in sentences(open_slide(tmp_path / "heap.h5ad"), "problem")
