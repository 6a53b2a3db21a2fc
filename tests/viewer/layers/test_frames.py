from dataclasses import replace

import numpy as np
import pytest

from napari_stsr.results import StoredExpression
from napari_stsr.session import denoise, enhance, impute
from napari_stsr.viewer.layers.difference import Bearing
from napari_stsr.viewer.layers.frames import (
    AttentionMap,
    View,
    bearing_of,
    describe,
    frames,
    task_of,
)
from tests.session.fake import fake_method


@pytest.fixture(scope="module")
def result(slide):
    with fake_method():
        return enhance(slide, method="fake", subspots=9)


def test_measured_and_enhanced_say_which_they_are(slide, result):
    gene = str(slide.genes.ids[3])
    made = {f.kind: f for f in frames(View(slide, result, gene, attention=AttentionMap()))}
    symbol = slide.genes.label(3)
    assert made["measured"].name == f"{symbol} · measured"
    assert made["enhanced"].name == f"{symbol} · enhanced (Fake, 9 per spot)"
    assert "own share" in made["attention"].name
    np.testing.assert_array_equal(made["measured"].values, slide.counts.column(3))
    np.testing.assert_array_equal(made["enhanced"].values, result.expression([gene])[:, 0])


def test_differences_cancel_within_every_spot_of_a_conserved_result(slide, result):
    gene = str(slide.genes.ids[3])
    made = {f.kind: f for f in frames(View(slide, result, gene))}
    sums = np.bincount(result.targets.parent, made["difference"].values)
    np.testing.assert_allclose(sums, 0, atol=1e-3)


def test_the_denoised_picture_is_the_methods_own_and_says_so(slide, result):
    gene = str(slide.genes.ids[3])
    made = {f.kind: f for f in frames(View(slide, result, gene))}
    assert made["denoised"].name == f"{slide.genes.label(3)} · denoised (Fake, 9 per spot)"
    own = result.denoised.columns(np.array([3]))[:, 0]
    np.testing.assert_array_equal(made["denoised"].values, own)
    assert np.abs(made["denoised"].values - made["enhanced"].values).max() > 0.01


def test_uncertainty_has_a_picture_where_a_result_has_it(slide, result):
    gene = str(slide.genes.ids[3])
    told = replace(result, uncertainty=result.denoised)
    made = {f.kind: f for f in frames(View(slide, told, gene))}
    assert "uncertainty" in made["uncertainty"].name
    assert "uncertainty" not in {f.kind for f in frames(View(slide, result, gene))}


def test_pictures_fade_where_uncertain_and_keep_their_values(slide, result):
    gene = str(slide.genes.ids[3])
    own = result.denoised.columns(np.arange(len(slide.genes)))
    doubt = np.random.default_rng(0).uniform(0, 3, own.shape).astype(np.float32)
    told = replace(result, uncertainty=StoredExpression(doubt * own))
    plain = {f.kind: f for f in frames(View(slide, told, gene))}
    fading = {f.kind: f for f in frames(View(slide, told, gene, faded=True))}
    for kind in ("enhanced", "denoised"):
        assert "faint where uncertain" in fading[kind].name
        assert "faint" not in plain[kind].name
        np.testing.assert_array_equal(fading[kind].values, plain[kind].values)
        assert fading[kind].limits == plain[kind].limits
        index = fading[kind].places.index
        full = (index >= 0) & (plain[kind].painted >= 0.3 * plain[kind].limits[1])
        alpha, unsure = fading[kind].painted[full][:, 3] / 255, doubt[index[full], 3]
        np.testing.assert_allclose(alpha, 1 / (1 + unsure**2), atol=0.01)
    for kind in ("measured", "difference", "uncertainty"):
        np.testing.assert_array_equal(fading[kind].painted, plain[kind].painted)
    # A result that does not know how certain it is does not fade.
    unknown = {f.kind: f for f in frames(View(slide, result, gene, faded=True))}
    assert unknown["enhanced"].painted.ndim == 2


def test_measured_counts_spread_over_subspots_keep_their_sum(slide, result):
    counts = slide.counts.column(5)
    spread = Bearing.of(slide, result).measured(counts)
    np.testing.assert_allclose(np.bincount(result.targets.parent, spread), counts, rtol=1e-4)


def test_shared_contrast_gives_the_same_shade_to_the_same_count_per_area(slide, result):
    gene = str(slide.genes.ids[3])
    shared = {f.kind: f for f in frames(View(slide, result, gene, shared=True))}
    share = bearing_of(slide, result).usual_share
    assert share == pytest.approx(1 / 9, rel=1e-3)
    np.testing.assert_allclose(
        np.array(shared["measured"].limits) * share, shared["enhanced"].limits, rtol=1e-6
    )


def test_a_gene_that_was_not_predicted_has_no_enhanced_picture(slide, result):
    few = enhance_few(slide)
    made = [f.kind for f in frames(View(slide, few, str(slide.genes.ids[3])))]
    assert made == ["measured"]


def enhance_few(slide):
    with fake_method():
        return enhance(slide, method="fake", genes=(str(slide.genes.ids[0]),))


def test_results_are_described_by_method_and_targets(slide):
    with fake_method():
        grid = enhance(slide, method="fake", grid_um=55.0)
    assert describe(grid) == "Fake, 55 µm grid"


def test_pictures_at_the_measured_spots_say_what_was_kept_and_what_predicted(slide):
    gene = str(slide.genes.ids[3])
    symbol, measured = slide.genes.label(3), slide.counts.column(3)
    with fake_method():
        plain, filled = denoise(slide, "fake"), impute(slide, "fake")
    seen = {f.kind: f for f in frames(View(slide, plain, gene))}
    where = f"(Fake, {len(slide)} points)"
    assert seen["enhanced"].name == f"{symbol} · denoised {where}"
    assert seen["difference"].name == f"{symbol} · denoised − measured"
    np.testing.assert_allclose(
        seen["difference"].values, seen["enhanced"].values - measured, rtol=1e-5
    )
    seen = {f.kind: f for f in frames(View(slide, filled, gene))}
    assert seen["enhanced"].name == f"{symbol} · measured, zeros filled in {where}"
    assert seen["denoised"].name == f"{symbol} · denoised {where}"
    # Nothing was added where something was counted.
    added = seen["difference"].values
    np.testing.assert_allclose(added[measured > 0], 0, atol=1e-4)
    assert (added[measured == 0] > 0).all()


def test_a_result_that_says_no_task_is_an_enhancement(result):
    assert task_of(replace(result, provenance={})) == "enhance"
    assert task_of(replace(result, provenance={"task": "guess"})) == "enhance"
