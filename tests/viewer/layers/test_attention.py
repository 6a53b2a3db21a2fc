import numpy as np
import pytest
import shapely
from scipy import sparse

from napari_stsr.errors import InputError
from napari_stsr.results import Attention
from napari_stsr.viewer.layers.attention import arrows_layer, own_share, pull, sources_of
from tests.results.made import enhancement


def attending(weights: np.ndarray):
    """A made-up result whose attention is the given (targets × locations) matrix."""
    from dataclasses import replace

    return replace(enhancement(), attention=Attention({(0, 0): sparse.csr_matrix(weights)}))


@pytest.fixture
def own_only():
    result = enhancement()
    weights = np.zeros((len(result), len(result.sources)))
    weights[np.arange(len(result)), result.targets.parent] = 1
    return attending(weights)


def test_share_on_the_own_spot(own_only):
    assert (own_share(own_only) == 1).all()
    weights = own_only.attention.matrix().toarray() * 0.25
    weights[:, 0] += 0.75
    shared = own_share(attending(weights))
    first = own_only.targets.parent == 0
    np.testing.assert_allclose(shared[~first], 0.25)
    np.testing.assert_allclose(shared[first], 1.0)


def test_attention_to_one_side_pulls_and_to_all_sides_does_not():
    result = enhancement()
    near = np.linalg.norm(
        result.targets.coordinates[:, None] - result.source_coordinates[None], axis=2
    )
    one = np.zeros_like(near)
    one[np.arange(len(result)), near.argmax(axis=1)] = 1
    np.testing.assert_allclose(pull(attending(one)), 1.0, rtol=1e-5)
    # Sources mirrored about a target's centre cancel.
    from dataclasses import replace

    middle = result.targets.coordinates[5]
    mirrored = replace(
        attending(np.tile([0.5, 0.5], (len(result), 1))),
        sources=np.array(["a", "b"]),
        source_coordinates=middle + np.array([[-30, -10], [30, 10]]),
    )
    assert pull(mirrored)[5] == pytest.approx(0, abs=1e-6)


def test_sources_are_the_strongest_first_and_name_the_own_spot(own_only):
    weights = own_only.attention.matrix().toarray() * 0.6
    weights[:, 3] += 0.4
    table = sources_of(attending(weights), 20)
    assert (np.diff(table.weight) <= 0).all()
    assert table.weight.sum() == pytest.approx(1)
    assert table.barcodes[0] == own_only.parents[20]
    assert table.own.tolist() == [True, False]


def test_arrows_end_at_the_target_and_are_wider_for_more_weight(own_only):
    weights = own_only.attention.matrix().toarray() * 0.7
    weights[:, 3] += 0.3
    table = sources_of(attending(weights), 20)
    corners, shown, kind = arrows_layer(table, 100.0)
    assert kind == "shapes"
    for arrow in corners:
        np.testing.assert_allclose(arrow[1], table.end[::-1])
    bases = [np.linalg.norm(arrow[0] - arrow[2]) for arrow in corners]
    assert bases[0] > bases[1] > 0
    assert all(shapely.Polygon(arrow).area > 0 for arrow in corners)
    assert [colour[3] for colour in shown["face_color"]] == sorted(
        (colour[3] for colour in shown["face_color"]), reverse=True
    )


def test_a_result_without_attention_says_so():
    from dataclasses import replace

    with pytest.raises(InputError, match="keeps no attention"):
        sources_of(replace(enhancement(), attention=None), 0)
