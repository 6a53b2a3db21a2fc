import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_stsr.viewer.layers.look import (
    Percentiles,
    certainty,
    clear_low,
    clear_middle,
    row_column_affine,
)

VALUES = arrays(np.float32, st.integers(0, 40), elements=st.floats(0, 1e4, width=32))
NUMBER = st.floats(-500, 500)


@settings(max_examples=50, deadline=None)
@given(VALUES, st.floats(0, 50), st.floats(50, 100))
def test_limits_are_always_a_range_inside_the_values(values, low, high):
    bottom, top = Percentiles(low, high).limits(np.append(values, np.float32(np.nan)))
    assert bottom < top
    if values.size and values.max() > values.min():
        assert bottom >= values.min() - 1e-3
        assert top <= max(values.max(), bottom + 1) + 1e-3


def test_a_gene_seen_in_one_spot_of_a_thousand_is_not_flattened():
    values = np.zeros(1000, dtype=np.float32)
    values[7] = 12
    assert Percentiles(0, 99).limits(values) == (0.0, 12.0)


def test_differences_are_centred_on_zero():
    low, high = Percentiles(0, 100).symmetric(np.array([-3.0, 1.0], dtype=np.float32))
    assert (low, high) == (-3.0, 3.0)


@pytest.mark.parametrize("name", ["viridis", "magma"])
def test_the_lowest_colour_is_clear_and_the_highest_is_not(name):
    alpha = clear_low(name).map(np.array([0.0, 1.0]))[:, 3]
    assert alpha[0] == 0
    assert alpha[1] == 1


def test_no_difference_is_clear_and_both_ends_differ():
    low, middle, high = clear_middle().map(np.array([0.0, 0.5, 1.0]))
    assert middle[3] == 0
    assert low[3] == high[3] == 1
    assert not np.allclose(low[:3], high[:3])


@settings(max_examples=50, deadline=None)
@given(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), st.tuples(NUMBER, NUMBER), NUMBER, NUMBER)
def test_affine_puts_column_and_row_where_the_basis_says(basis, origin, row, column):
    steps = np.array(basis).reshape(2, 2)
    y, x, one = row_column_affine(steps, origin) @ [row, column, 1.0]
    assert one == 1
    np.testing.assert_allclose([x, y], origin + np.array([column, row]) @ steps, atol=1e-6)


def test_certainty_is_a_half_where_the_deviation_is_as_large_as_the_value():
    expected = np.array([4.0, 4.0, 4.0, 0.0, 0.0], dtype=np.float32)
    deviation = np.array([0.0, 4.0, 12.0, 0.0, 1.0], dtype=np.float32)
    np.testing.assert_allclose(certainty(expected, deviation), [1, 0.5, 0.1, 1, 0], atol=1e-6)
