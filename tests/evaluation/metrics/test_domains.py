"""Domains against scikit-learn and against trying every naming."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from napari_stsr.errors import InputError
from napari_stsr.evaluation.metrics import (
    adjusted_rand,
    boundary,
    clustering_accuracy,
    label_transfer,
    mutual_information,
    partition,
    principal_components,
    silhouette,
)

FUNCTIONS = [adjusted_rand, mutual_information, clustering_accuracy]
LABELS = np.array(list("aaabbbbccddd"))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_perfect_partition_under_other_names_scores_one(function):
    renamed = np.unique(LABELS, return_inverse=True)[1][::1] * 7 % 5
    assert function(LABELS, renamed) == pytest.approx(1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_indices_are_those_of_scikit_learn_and_of_every_naming(clusters):
    found = np.array(clusters)
    assert adjusted_rand(LABELS, found) == pytest.approx(
        reference.adjusted_rand_score(LABELS, found)
    )
    assert mutual_information(LABELS, found) == pytest.approx(
        reference.normalized_mutual_info_score(LABELS, found)
    )
    best = max(
        np.mean(np.array(names)[found] == LABELS) for names in itertools.permutations("abcd")
    )
    assert clustering_accuracy(LABELS, found) == pytest.approx(best)


def test_more_clusters_than_labels_leave_some_wrong():
    assert clustering_accuracy(["a", "a", "b", "b"], [0, 1, 2, 2]) == 0.75
    assert clustering_accuracy(["a", "a", "b", "b"], [0, 0, 0, 0]) == 0.5


def test_accuracy_at_the_boundary_names_clusters_by_all():
    labels = np.array(list("aaaabbbb"))
    line = np.column_stack([np.arange(8) - 1, np.arange(8) + 1])
    line[line == 8] = -1
    at = boundary(labels, line)
    assert np.flatnonzero(at).tolist() == [3, 4]
    clusters = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    assert clustering_accuracy(labels, clusters, at) == 0.5
    assert clustering_accuracy(labels, clusters) == 0.875
    with pytest.raises(InputError, match="no boundary"):
        clustering_accuracy(labels, clusters, np.zeros(8, dtype=bool))
    with pytest.raises(InputError, match="Neighbours of 7"):
        boundary(labels, line[1:])


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("labels", "clusters", "words"),
    [
        (["a", "a"], [0, 1], "All 2 locations have the label 'a'"),
        ([], [], "at least one location"),
        (["a", "b"], [0], "2 labels cannot be compared with 1 clusters"),
    ],
)
def test_bad_labels_are_a_sentence(function, labels, clusters, words):
    with pytest.raises(InputError, match=words):
        function(labels, clusters)


def blobs(n: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    return rng.normal(size=(n, 20)) + 6 * np.eye(3, 20)[labels], labels


def test_silhouette_is_scikit_learns_and_samples_what_is_large():
    points, labels = blobs()
    assert silhouette(points, labels) == pytest.approx(reference.silhouette_score(points, labels))
    sampled = silhouette(points, labels, most=100, seed=1)
    assert sampled == silhouette(points, labels, most=100, seed=1)
    assert sampled == pytest.approx(silhouette(points, labels), abs=0.05)
    for labels_of in (np.arange(150), np.zeros(150)):
        with pytest.raises(InputError):
            silhouette(points, labels_of)


def test_the_recipe_finds_clear_domains_and_repeats_itself():
    points, labels = blobs()
    components = principal_components(points)
    assert components.shape == (150, 15)
    assert components[:, 0].std() == pytest.approx(1)
    found = partition(components, 3)
    assert adjusted_rand(labels, found) > 0.95
    np.testing.assert_array_equal(found, partition(components, 3))


def test_a_constant_map_is_one_domain():
    components = principal_components(np.ones((30, 4)))
    assert (partition(components, 3) == 0).all()
    with pytest.raises(InputError, match="3 locations cannot be split into 3"):
        partition(components[:3], 3)


def test_labels_carried_over_from_a_like_slice_are_right():
    points, labels = blobs()
    other, theirs = blobs(90, seed=5)
    assert label_transfer(3 * points, labels, other, theirs) > 0.95
    shuffled = np.random.default_rng(0).permutation(theirs)
    assert abs(label_transfer(points, labels, other, shuffled)) < 0.2
    cosines = points @ other.T / np.linalg.norm(other, axis=1)
    want = reference.adjusted_rand_score(labels, theirs[cosines.argmax(axis=1)])
    assert label_transfer(points, labels, other, theirs) == pytest.approx(want)
    with pytest.raises(InputError, match="same dimensions"):
        label_transfer(points, labels, other[:, 1:], theirs)
    with pytest.raises(InputError, match="table of numbers"):
        label_transfer(points * np.nan, labels, other, theirs)
