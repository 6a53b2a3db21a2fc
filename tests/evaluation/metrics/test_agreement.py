"""Agreement per gene against SciPy and scikit-learn, gene by gene."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference
from sklearn.metrics.pairwise import cosine_similarity

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics import (
    Figures,
    Pooled,
    cosine,
    mean_absolute_error,
    mean_squared_error,
    pearson,
    pooled,
    relative_error,
    share_won,
    spearman,
    variance_ratio,
    within_parents,
)

FUNCTIONS = [
    cosine,
    mean_absolute_error,
    mean_squared_error,
    pearson,
    relative_error,
    spearman,
    variance_ratio,
]
REFERENCES = {
    pearson: lambda t, p: stats.pearsonr(t, p).statistic,
    spearman: lambda t, p: stats.spearmanr(t, p).statistic,
    cosine: lambda t, p: cosine_similarity(t[None], p[None])[0, 0],
    mean_absolute_error: reference.mean_absolute_error,
    mean_squared_error: reference.mean_squared_error,
    relative_error: lambda t, p: np.sqrt(reference.mean_squared_error(t, p)) / t.std(),
    variance_ratio: lambda t, p: p.var() / t.var(),
}


def drawn(m: int = 60, g: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    expected = rng.gamma(1.0, 2.0, (m, g))
    return rng.poisson(expected).astype(float), expected


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("m", [60, 5000])
def test_each_figure_is_that_of_the_reference(function, masked, m):
    truth, predicted = drawn(m)
    scored = np.random.default_rng(1).random(truth.shape) < 0.6 if masked else None
    found = function(truth, predicted, scored).values
    for gene in range(truth.shape[1]):
        counted = slice(None) if scored is None else scored[:, gene]
        want = REFERENCES[function](truth[counted, gene], predicted[counted, gene])
        assert found[gene] == pytest.approx(want, abs=1e-10)


@pytest.mark.parametrize("function", [pearson, spearman, cosine, variance_ratio])
def test_a_perfect_prediction_scores_one(function):
    truth, _ = drawn()
    np.testing.assert_allclose(function(truth, truth).values, 1)


@pytest.mark.parametrize("function", [relative_error, mean_absolute_error, mean_squared_error])
def test_a_perfect_prediction_has_no_error(function):
    truth, _ = drawn()
    np.testing.assert_allclose(function(truth, truth).values, 0)


def test_a_shuffled_prediction_correlates_with_nothing():
    truth, predicted = drawn(4000, 8)
    shuffled = np.random.default_rng(3).permutation(predicted)
    assert np.abs(pearson(truth, shuffled).values).max() < 5 / np.sqrt(4000)
    assert pearson(truth, predicted).median > 0.5


def test_the_mean_of_the_truth_has_a_relative_error_of_one():
    truth, _ = drawn()
    mean = np.broadcast_to(truth.mean(axis=0), truth.shape)
    np.testing.assert_allclose(relative_error(truth, mean).values, 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-100, 100), st.sampled_from([1, 3]))
def test_correlations_do_not_see_shift_and_scale(seed, scale, shift, power):
    truth, predicted = drawn(30, 3, seed)
    changed = predicted * scale + shift
    np.testing.assert_allclose(
        pearson(truth, changed).values, pearson(truth, predicted).values, atol=1e-8
    )
    np.testing.assert_allclose(
        spearman(truth, predicted**power).values, spearman(truth, predicted).values, atol=1e-8
    )


def test_order_of_locations_does_not_matter():
    truth, predicted = drawn()
    order = np.random.default_rng(0).permutation(len(truth))
    for function in FUNCTIONS:
        np.testing.assert_allclose(
            function(truth[order], predicted[order]).values, function(truth, predicted).values
        )


def test_a_constant_prediction_is_counted_and_knows_nothing():
    truth, predicted = drawn()
    predicted[:, 1] = 0.1 + np.random.default_rng(0).random(len(truth)) * 1e-8
    truth[:, 3] = 4
    found = pearson(truth, predicted)
    assert np.isnan(found.values).tolist() == [False, True, False, True, False]
    assert (found.undefined, found.constant_truth.sum(), found.constant_prediction.sum()) == (
        2,
        1,
        1,
    )
    others = found.values[[0, 2, 4]]
    assert found.median == pytest.approx(np.median([*others, 0.0]))
    assert found.notes == [
        "The truth is constant in 1 of 5 genes.",
        "The prediction is constant in 1 of 5 genes.",
    ]


@pytest.mark.parametrize("function", [pearson, spearman, relative_error, variance_ratio])
def test_where_all_truth_is_constant_there_is_nothing_to_say(function):
    _, predicted = drawn()
    found = function(np.ones_like(predicted), predicted)
    assert np.isnan(found.values).all()
    with pytest.raises(InputError, match="truth is constant in all of 5 genes"):
        _ = found.median


def test_a_gene_of_which_nothing_counts_is_undefined():
    truth, predicted = drawn()
    scored = np.ones(truth.shape, dtype=bool)
    scored[:, 2] = False
    for function in FUNCTIONS:
        found = function(truth, predicted, scored)
        assert np.isnan(found.values).tolist() == [False, False, True, False, False]
        assert found.constant_truth.tolist() == np.isnan(found.values).tolist()


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("truth", "predicted", "words"),
    [
        (np.ones((4, 2)), np.ones((4, 3)), "4 × 2, but the prediction is 4 × 3"),
        (np.ones((3, 2)), np.ones((4, 2)), "same locations"),
        (np.ones((0, 2)), np.ones((0, 2)), "nothing to compare"),
        (np.array([[np.nan, 1]]), np.ones((1, 2)), "The truth holds 1 values that are no numbers"),
        (np.ones((2, 1)), np.array([[1], [np.inf]]), "The prediction holds 1 values"),
    ],
)
def test_bad_input_is_a_sentence(function, truth, predicted, words):
    with pytest.raises(InputError, match=words):
        function(truth, predicted)


def test_within_parents_is_the_correlation_of_what_differs_inside_a_spot():
    truth, predicted = drawn(60, 4)
    parent = np.repeat(np.arange(10), 6)
    inner_t, inner_p = (
        np.vstack([v[parent == one] - v[parent == one].mean(axis=0) for one in range(10)])
        for v in (truth, predicted)
    )
    want = [stats.pearsonr(inner_t[:, g], inner_p[:, g]).statistic for g in range(4)]
    np.testing.assert_allclose(within_parents(truth, predicted, parent).values, want)


def test_within_parents_a_uniform_split_scores_nothing():
    truth, _ = drawn(60, 4)
    parent = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 6))
    means = np.vstack([truth[parent == one].mean(axis=0) for one in range(10)])
    found = within_parents(truth, means[parent] / 3, parent)
    assert found.constant_prediction.all()
    assert found.median == 0
    assert pearson(truth, means[parent]).median > 0.2


def test_within_parents_leaves_out_orphans_and_what_is_alone():
    truth, predicted = drawn(14, 3)
    parent = np.array([0, 0, 0, 0, 2, 2, 2, 2, 7, -1, -1, 5, 5, 5])
    used = (parent >= 0) & (parent != 7)
    want = within_parents(truth[used], predicted[used], parent[used]).values
    np.testing.assert_allclose(within_parents(truth, predicted, parent).values, want)
    scored = np.random.default_rng(0).random(truth.shape) < 0.8
    truth[~scored] = 99
    changed = truth.copy()
    changed[~scored] = -5
    np.testing.assert_allclose(
        within_parents(changed, predicted, parent, scored).values,
        within_parents(truth, predicted, parent, scored).values,
    )


@pytest.mark.parametrize("parent", [-np.ones(6, dtype=int), np.arange(6)])
def test_within_parents_needs_parents_with_parts(parent):
    with pytest.raises(InputError, match="No location holds two targets"):
        within_parents(np.ones((6, 2)), np.ones((6, 2)), parent)


def test_pooled_errors_over_nonzeros_add_up_over_blocks():
    truth, predicted = drawn(40, 6)
    chosen = truth > 0
    whole = pooled(truth, predicted)
    assert whole.entries == chosen.sum()
    assert whole.mae == pytest.approx(np.abs(truth - predicted)[chosen].mean())
    assert whole.mse == pytest.approx(((truth - predicted) ** 2)[chosen].mean())
    want = cosine_similarity(truth[chosen][None], predicted[chosen][None])[0, 0]
    assert whole.cosine == pytest.approx(want)
    added = pooled(truth[:, :2], predicted[:, :2]) + pooled(truth[:, 2:], predicted[:, 2:])
    assert vars(added) == pytest.approx(vars(whole))
    assert np.isnan(Pooled().mae)
    assert pooled(truth, predicted, nonzero=False).entries == truth.size


def test_share_won_counts_ties_as_half():
    assert share_won([0.5, 0.2, 0.1, 0.3], [0.4, 0.2, 0.3, 0.0]) == 0.625
    with pytest.raises(InputError, match="one by one"):
        share_won([1.0], [1.0, 2.0])
    with pytest.raises(InputError, match="undefined"):
        share_won([np.nan], [1.0])


def test_figures_of_blocks_are_those_of_the_whole():
    truth, predicted = drawn(30, 6)
    predicted[:, 4] = 0
    blocks = [pearson(truth[:, part], predicted[:, part]) for part in (slice(0, 2), slice(2, 6))]
    joined, whole = Figures.joined(blocks), pearson(truth, predicted)
    np.testing.assert_array_equal(joined.values, whole.values)
    assert joined.median == whole.median
    assert joined.mean == pytest.approx(np.mean(whole.counted))
