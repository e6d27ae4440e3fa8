"""Two sets beside each other."""

from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.sampling.sizes import compared_sizes


def test_a_large_data_set_has_the_guides_sizes():
    assert compared_sizes(600) == compared_sizes(1_000_000) == (100, 300)


def test_of_a_small_one_at_most_half_is_taken():
    assert compared_sizes(599) == (99, 299)
    assert compared_sizes(170) == (28, 85)
    assert compared_sizes(2) == compared_sizes(1) == (1, 1)


@given(st.integers(1, 2000))
def test_there_are_always_as_many_frames(available):
    few, many = compared_sizes(available)
    assert 1 <= few <= many <= max(1, available // 2)
    assert compared_sizes(available + 1) >= (few, many)
