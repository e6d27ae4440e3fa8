"""Neighbours and copies against brute force over all pairs."""

import numpy as np
import pytest
from helpers import sampling_oracle as oracle
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.sampling import neighbours
from ncdb_dask.sampling.neighbours import effective_number, frame_numbers, hash_values, near, same_picture, thinned

HASHES = st.integers(0, 2**64 - 1)


def hashes(values) -> np.ndarray:
    return np.asarray(values, dtype=np.uint64)


@pytest.mark.parametrize(
    ("stem", "number"),
    [
        ("0000000123", 123),
        ("000000000000042", 42),
        ("frame_17", 17),
        ("cam2_000031", 31),
        ("000031_left", 31),
        ("12-34.5", 5),
        ("0", 0),
        ("left", -1),
        ("", -1),
        ("1700000000000000000", 1700000000000000000),  # a time stamp in nanoseconds
        ("9" * 19, -1),
        ("9" * 300, -1),
        ("0" * 30 + "7", 7),
        ("0" * 30, 0),
        ("x²", -1),  # a digit for Unicode, no number of a frame
        ("٣", -1),
    ],
)
def test_the_number_of_a_frame_is_the_last_in_its_stem(stem, number):
    assert frame_numbers([stem]).tolist() == [number]


numbers = st.one_of(st.just(-1), st.integers(0, 40))
frames = st.lists(st.tuples(st.integers(0, 2), numbers), min_size=1, max_size=40)


@given(frames, st.integers(1, 12), st.randoms(use_true_random=False))
def test_thinned_is_the_greedy_choice(given_frames, gap, dice):
    priority = dice.sample(range(10**6), len(given_frames))
    kept = thinned(*_columns(given_frames), hashes(priority), gap)
    plain = [(str(scene), None if n < 0 else n, p) for (scene, n), p in zip(given_frames, priority, strict=True)]
    assert kept.tolist() == oracle.thinned(plain, gap)


@given(frames, st.integers(2, 12), st.permutations(range(40)))
def test_thinned_does_not_depend_on_the_order_of_the_rows(given_frames, gap, order):
    count = len(given_frames)
    order = [k for k in order if k < count]
    columns = [*_columns(given_frames), hashes([(k * 7919) % 1009 for k in range(count)])]
    whole = thinned(*columns, gap)
    assert thinned(*(column[order] for column in columns), gap).tolist() == whole[order].tolist()


@given(frames, frames, st.integers(1, 12))
def test_near_is_what_all_pairs_say(some, others, gap):
    expected = [
        any(scene == scene_2 and n >= 0 and n_2 >= 0 and abs(n - n_2) < gap for scene_2, n_2 in others)
        for scene, n in some
    ]
    assert near(*_columns(some), *_columns(others), gap).tolist() == expected


def test_near_with_nothing_to_be_near_to():
    nothing = np.empty(0, dtype=np.int64)
    assert near(*_columns([(0, 1), (1, 2)]), nothing, nothing, 5).tolist() == [False, False]
    assert near(nothing, nothing, *_columns([(0, 1)]), 5).tolist() == []


def test_numbers_at_the_end_of_their_range_do_not_run_over():
    numbers = [2**62 - 1, 2**62 - 3, 0]
    kept = thinned(*_columns([(0, n) for n in numbers]), hashes([1, 2, 3]), 2**62)
    assert kept.tolist() == [True, False, False]


def _columns(given_frames) -> tuple[np.ndarray, np.ndarray]:
    scenes, numbers = zip(*given_frames, strict=True)
    return np.asarray(scenes, dtype=np.int64), np.asarray(numbers, dtype=np.int64)


def test_hashes_are_hexadecimal_text():
    assert hash_values(["00000000000000ff", "ffffffffffffffff"]).tolist() == [255, 2**64 - 1]
    assert hash_values([]).tolist() == []


@st.composite
def near_misses(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Hashes that differ from others by a few bits, mostly around the threshold, spread over all bands or in one."""
    others = draw(st.lists(HASHES, min_size=1, max_size=12))
    flips = st.lists(st.integers(0, 63), min_size=2, max_size=7, unique=True)
    changed = draw(st.lists(st.tuples(st.sampled_from(others), flips), max_size=12))
    return [value ^ sum(1 << bit for bit in bits) for value, bits in changed] + draw(
        st.lists(HASHES, min_size=1, max_size=4)
    ), others


@given(near_misses(), st.integers(0, 9))
def test_same_picture_is_what_all_pairs_say(given_hashes, bits):
    some, others = given_hashes
    expected = [any(oracle.bits_apart(one, other) <= bits for other in others) for one in some]
    assert same_picture(hashes(some), hashes(others), bits).tolist() == expected


@pytest.mark.parametrize("spread", [[0, 13, 26, 39], [60, 61, 62, 63], [11, 12, 24, 25], [0, 1, 50, 51]])
def test_four_bits_are_a_copy_and_five_are_none(spread):
    base = 0x0123456789ABCDEF
    four = base ^ sum(1 << bit for bit in spread)
    fifth = next(bit for bit in (55, 7) if bit not in spread)
    assert same_picture(hashes([four, four ^ (1 << fifth)]), hashes([base])).tolist() == [True, False]


def test_same_picture_in_many_blocks(monkeypatch):
    rng = np.random.default_rng(3)
    others = rng.integers(0, 2**64, 300, dtype=np.uint64)
    some = np.concatenate([others[:40] ^ np.uint64(0b1010001), rng.integers(0, 2**64, 60, dtype=np.uint64), others[:5]])
    # Equal bands, so that every frame meets many others.
    others &= np.uint64(0xFFFFFFFFFFFFF000)
    some &= np.uint64(0xFFFFFFFFFFFFF0FF)
    expected = [any(oracle.bits_apart(a, b) <= 4 for b in others.tolist()) for a in some.tolist()]
    assert any(expected)
    assert not all(expected)
    monkeypatch.setattr(neighbours, "_PAIRS_AT_ONCE", 64)
    assert same_picture(some, others).tolist() == expected


def test_same_picture_with_nothing():
    nothing = hashes([])
    assert same_picture(nothing, hashes([1])).tolist() == []
    assert same_picture(hashes([1]), nothing).tolist() == [False]


@given(near_misses())
def test_the_effective_number_is_its_definition(given_hashes):
    some = given_hashes[0] + given_hashes[1]
    assert effective_number(hashes(some)) == pytest.approx(oracle.effective(some, 8), rel=1e-12)
    assert effective_number(hashes(some), 2) == pytest.approx(oracle.effective(some, 2), rel=1e-12)


def test_copies_count_once_and_different_frames_each():
    different = [0xFF << (8 * k) | 0xFFFF << (8 * (k % 3)) for k in range(3, 8)]
    assert effective_number(hashes([17] * 30)) == pytest.approx(1)
    assert effective_number(hashes(different)) == pytest.approx(5)
    assert effective_number(hashes([0] * 10 + different)) == pytest.approx(6)
    assert effective_number(hashes([])) == 0


def test_the_effective_number_block_by_block_and_its_limit(monkeypatch):
    some = np.random.default_rng(1).integers(0, 64, 100, dtype=np.uint64) * np.uint64(0x0101010101010101)
    whole = effective_number(some)
    monkeypatch.setattr(neighbours, "_PAIRS_AT_ONCE", 700)
    assert effective_number(some) == whole
    assert 1 < whole < 100
    monkeypatch.setattr(neighbours, "MOST_COMPARED", 99)
    assert effective_number(some) is None
