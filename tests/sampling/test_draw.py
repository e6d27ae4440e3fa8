"""The draw: decided by seed and key alone, so that it survives other orders, sizes, machines and growth."""

from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.sampling.draw import first_by_priority, priorities, reseeded

KEYS = [("synced_data/a" if number % 3 else "scenes/ü b", f"{number:010d}") for number in range(400)]


def chosen(seed: int, keys: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    return [keys[k] for k in first_by_priority(priorities(seed, keys), count)]


def test_priorities_are_the_same_on_every_machine():
    keys = [("synced_data/a", "0000000001"), ("b", "x"), ("scenes/ü b", "0000000000")]
    pinned = [11796885219904584205, 11156968596099236257]
    assert priorities(42, keys)[:2].tolist() == pinned
    expected = [blake2b(f"42\0{root}\0{stem}".encode(), digest_size=8).digest() for root, stem in keys]
    assert priorities(42, keys).tolist() == [int.from_bytes(digest, "big") for digest in expected]
    assert priorities(42, []).shape == (0,)


def test_the_parts_of_a_key_do_not_run_together():
    pairs = [("a", "b1"), ("ab", "1"), ("a/b", "1"), ("a", "b/1")]
    assert len(set(priorities(1, pairs).tolist())) == len(pairs)
    assert priorities(1, [("2", "3")])[0] != priorities(12, [("", "3")])[0]


@given(st.permutations(range(60)), st.integers(1, 60))
def test_the_order_of_the_rows_does_not_matter(order, count):
    assert chosen(7, [KEYS[k] for k in order], count) == chosen(7, KEYS[:60], count)


@given(st.integers(1, 59))
def test_shards_can_be_hashed_apart(cut):
    parts = [priorities(3, KEYS[:cut]), priorities(3, KEYS[cut:60])]
    assert np.array_equal(np.concatenate(parts), priorities(3, KEYS[:60]))


def test_a_larger_set_begins_with_the_smaller_one():
    assert chosen(42, KEYS, 300)[:100] == chosen(42, KEYS, 100)


def test_seeds_draw_different_sets():
    sets = [frozenset(chosen(seed, KEYS, 40)) for seed in range(20)]
    assert len(set(sets)) == 20
    overlaps = [len(sets[0] & other) for other in sets[1:]]
    assert 0 < np.mean(overlaps) < 10  # 4 by chance


@pytest.mark.parametrize("joining", [1, 20, 200])
def test_growth_displaces_no_more_than_join(joining):
    newcomers = [("new", str(number)) for number in range(joining)]
    before, after = set(chosen(42, KEYS, 100)), set(chosen(42, KEYS + newcomers, 100))
    assert len(before - after) == len(after & set(newcomers))
    assert after - set(newcomers) <= before


def test_every_frame_is_as_likely():
    """A mean over 400 frames and 200 seeds: 100 of 400 are drawn, and no key is favoured."""
    counts = np.zeros(len(KEYS))
    for seed in range(200):
        counts[first_by_priority(priorities(seed, KEYS), 100)] += 1
    assert counts.sum() == 200 * 100
    assert counts.min() > 50 - 6 * 6.2
    assert counts.max() < 50 + 6 * 6.2  # six standard deviations of a binomial of 200 draws


def test_reseeded_is_another_draw_and_always_the_same():
    first = priorities(42, KEYS)
    others = [reseeded(first, number) for number in range(1, 21)]
    rankings = {tuple(first_by_priority(priority, 40)) for priority in (first, *others)}
    assert len(rankings) == 21
    assert np.array_equal(others[0], reseeded(priorities(42, KEYS), 1))
    assert len(set(others[0].tolist())) == len(KEYS)  # a permutation of 64 bits: no two keys fall together


def splitmix64(state: int) -> int:
    """The published generator's output function, in Python's integers."""
    mask = 2**64 - 1
    mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return mixed ^ (mixed >> 31)


@given(st.integers(0, 2**64 - 1), st.integers(1, 20))
def test_reseeded_is_splitmix64(value, number):
    expected = splitmix64((value + number * 0x9E3779B97F4A7C15) % 2**64)
    assert reseeded(np.asarray([value], dtype=np.uint64), number).tolist() == [expected]


def test_reseeded_does_not_change_with_the_other_rows():
    first = priorities(42, KEYS)
    assert np.array_equal(reseeded(first, 3)[::-1], reseeded(first[::-1], 3))
