"""A slide that was written opens again as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_stsr.slides.readers import open_slide
from napari_stsr.slides.simulate import simulate_slide
from napari_stsr.slides.writing import write_slide


@pytest.mark.parametrize("kind", ["visium", "visium-hd"])
def test_a_folder_named_by_a_string_opens_again(kind: str, tmp_path: Path) -> None:
    lattice = "hex" if kind == "visium" else "square"
    slide = simulate_slide(lattice=lattice, shape=(6, 8), genes=12, image=False, seed=1)
    if kind == "visium-hd":
        slide = replace(slide, kind=kind, diameter_um=slide.lattice.pitch_um)
    home = write_slide(slide, str(tmp_path / "outs"))
    assert home.is_relative_to(tmp_path / "outs")
    again = open_slide(tmp_path / "outs")
    assert again.kind == kind
    order = [again.barcodes.tolist().index(barcode) for barcode in slide.barcodes]
    np.testing.assert_array_equal(again.counts.rows.toarray()[order], slide.counts.rows.toarray())
    away = again.coordinates[order] - slide.coordinates
    # Where µm begin is the reader's.
    np.testing.assert_allclose(away - away[0], 0, atol=1e-6)
    assert again.genes.ids.tolist() == slide.genes.ids.tolist()
