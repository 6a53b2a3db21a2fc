from __future__ import annotations

import numpy as np
import pytest
import shapely

from napari_stsr.errors import InputError
from napari_stsr.results.writers import export, read_enhancement
from napari_stsr.session import Plan, denoise, impute
from napari_stsr.slides import Region
from napari_stsr.slides.readers import open_slide

GENES = ["SIM004", "SIM001", "SIM011"]


@pytest.mark.usefixtures("method")
def test_denoising_predicts_at_the_measured_locations(slide):
    result = denoise(slide, "fake", genes=GENES)
    assert result.targets.ids.tolist() == slide.barcodes.tolist()
    np.testing.assert_array_equal(result.targets.coordinates, slide.coordinates)
    assert result.denoised is None
    assert result.kind == "predicted"
    assert result.name.endswith("· denoised")
    assert result.supported.all()
    np.testing.assert_array_equal(result.in_tissue, slide.in_tissue)
    record = result.provenance
    assert (record["task"], record["kind"]) == ("denoise", "predicted")
    assert record["contents"]["expression"].startswith("predicted")


@pytest.mark.usefixtures("method")
def test_filling_in_keeps_counts_and_predicts_where_zero_was_measured(slide):
    result = impute(slide, "fake", genes=GENES)
    measured = slide.counts.dense(slide.genes.columns(GENES))
    expected = denoise(slide, "fake", genes=GENES).expression()
    zero = measured == 0
    assert zero.any()
    assert not zero.all()
    found = result.expression()
    np.testing.assert_array_equal(found[~zero], measured[~zero])
    np.testing.assert_array_equal(found[zero], expected[zero])
    np.testing.assert_array_equal(result.denoised.columns(np.arange(3)), expected)
    assert result.kind == "measured and predicted"
    assert result.provenance["contents"]["denoised"].startswith("predicted")
    some = result.take(np.array([5, 2]))
    np.testing.assert_array_equal(some.expression(["SIM011"])[:, 0], found[[5, 2], 2])


@pytest.mark.usefixtures("method")
@pytest.mark.parametrize("make", [denoise, impute])
def test_files_hold_the_same_and_say_what_it_is(slide, tmp_path, make):
    result = make(slide, "fake", genes=GENES)
    export(result, tmp_path / "r.h5ad")
    again = read_enhancement(tmp_path / "r.h5ad")
    np.testing.assert_array_equal(again.expression(), result.expression())
    assert (again.name, again.kind) == (result.name, result.kind)
    assert again.provenance == result.provenance
    assert again.targets.ids.tolist() == slide.barcodes.tolist()
    assert (again.denoised is None) == (result.denoised is None)
    import anndata

    assert anndata.read_h5ad(tmp_path / "r.h5ad").uns["napari_stsr"]["kind"] == result.kind
    for name in ("r.csv", "r.ome.tif"):
        export(result, tmp_path / name)
    beside = (tmp_path / "r.provenance.json").read_text()
    assert f'"kind": "{result.kind}"' in beside


@pytest.mark.usefixtures("method")
def test_a_region_fills_in_its_own_locations(slide):
    x, y = slide.coordinates.mean(axis=0)
    region = Region("tumour", shapely.box(x - 250, y - 200, x + 250, y + 200))
    result = impute(slide, "fake", genes=GENES, region=region)
    inside = region.contains(slide.coordinates)
    assert result.targets.ids.tolist() == slide.barcodes[inside].tolist()
    measured = slide.counts.dense(slide.genes.columns(GENES))[inside]
    found = result.expression()
    np.testing.assert_array_equal(found[measured > 0], measured[measured > 0])
    assert result.name.endswith("measured, zeros filled in · tumour")


def test_places_and_unknown_tasks_are_refused(slide):
    for place in ({"subspots": 7}, {"grid_um": 9.0}, {"at": slide.locations()}):
        with pytest.raises(InputError, match="takes no other places"):
            Plan("fake", task="denoise", **place)
    with pytest.raises(InputError, match=r"no task 'guess'. Tasks: enhance, denoise, impute"):
        Plan("fake", task="guess")


def test_the_tumour_marker_is_kept_where_counted_on_a_real_slide(data):
    slide = open_slide(data("her2st_C2/spaceranger_like"))
    result = impute(slide, "factor_kernel", genes=["GRB7"])
    measured = slide.counts.column(slide.genes.column("GRB7"))
    found = result.expression()[:, 0]
    np.testing.assert_array_equal(found[measured > 0], measured[measured > 0])
    assert (found[measured == 0] > 0).mean() > 0.9
    # The field has the slide's own amount of the gene.
    assert result.denoised.columns(np.array([0])).sum() == pytest.approx(measured.sum(), rel=0.1)
