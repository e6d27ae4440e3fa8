"""Depth ranges and cells."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from helpers.sampling_oracle import depth_range
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.errors import SampleError
from ncdb_dask.sampling.strata import DEPTH_RANGE, DepthBins, Grouping, as_written, cell_name, check_ratios

GUIDE = DepthBins.of()


def placed(bins: DepthBins, *depths: float) -> list[str | None]:
    return [bins.names[k] if k >= 0 else None for k in bins.place(np.asarray(depths, dtype=float))]


def test_a_range_holds_its_lower_edge():
    """The guide's pd.cut puts 3.0 into near, and drops 0 and what lies beyond 100."""
    assert placed(GUIDE, 0, 2.999, 3.0, 8.0, 15.0, 1e6) == ["near", "near", "mid", "far", "very_far", "very_far"]
    assert placed(GUIDE, math.nextafter(3, 0), math.nextafter(8, 0)) == ["near", "mid"]


def test_what_lies_beyond_all_is_in_none_or_in_the_nearest():
    bins = DepthBins.of([1, 3, 8])
    assert placed(bins, 0.5, 1, 7.99, 8, 100, math.nan) == [None, "1-3 m", "3-8 m", None, None, None]
    assert bins.nearest(np.asarray([0.5, 1, 3, 7.99, 8, 100.0])).tolist() == [0, 0, 1, 1, 1, 1]


edges = st.lists(st.integers(0, 40).map(lambda n: n / 4), min_size=2, max_size=7, unique=True).map(sorted)


@given(edges, st.booleans(), st.lists(st.integers(0, 400).map(lambda n: n / 40), min_size=1, max_size=30))
def test_every_depth_is_where_the_definition_puts_it(given_edges, to_infinity, depths):
    bins = DepthBins.of([*given_edges, math.inf] if to_infinity else given_edges)
    expected = [depth_range(depth, bins.edges, bins.names) for depth in depths]
    assert placed(bins, *depths) == expected
    for depth, name, near in zip(depths, expected, bins.nearest(np.asarray(depths)), strict=True):
        if name is None:
            assert near == (0 if depth < bins.edges[0] else len(bins.names) - 1)
        else:
            assert bins.names[near] == name


def test_names_are_the_guides_generated_or_given():
    assert GUIDE.names == ("near", "mid", "far", "very_far")
    assert DepthBins.of([0, 0.5, 2, math.inf]).names == ("0-0.5 m", "0.5-2 m", "2+ m")
    assert DepthBins.of([0, 3, 8, 15, math.inf]).names == GUIDE.names
    assert DepthBins.of([0, 1, 2], ["a", "b"]).names == ("a", "b")
    assert DepthBins.of(None, ["a", "b", "c", "d"]).edges == GUIDE.edges


@pytest.mark.parametrize(
    "wrong",
    [[0, 3, 3], [3, 0], [0, 8, 3, 15], [5], [], [-1, 3], [0, math.nan, 3], [math.nan, 3], [0, math.inf, math.inf]],
)
def test_bins_that_do_not_rise(wrong):
    text = ",".join(f"{edge:g}" for edge in wrong)
    with pytest.raises(SampleError, match="expected depths in metres that rise") as error:
        DepthBins.of(wrong)
    assert str(error.value).startswith(f"bins {text}: ")


@pytest.mark.parametrize("wrong", [["a"], ["a", "b", "c"], ["a", "a"], ["a", ""], [], ["a", "beyond"]])
def test_names_that_are_not_one_a_range(wrong):
    with pytest.raises(SampleError, match="expected 2 different ones, for the bins 0,1,2"):
        DepthBins.of([0, 1, 2], wrong)


def test_ratios():
    assert check_ratios(None, GUIDE) == (Fraction(1, 4), Fraction(2, 5), Fraction(1, 4), Fraction(1, 10))
    thirds = [Fraction("0.333333"), Fraction("0.333333"), Fraction("0.333333")]
    assert check_ratios(thirds, DepthBins.of([0, 1, 2, 3])) == tuple(thirds)


@pytest.mark.parametrize(
    ("bins", "ratios", "says"),
    [
        (None, ["1/2", "1/4", "1/4", "1/4"], "ratios 0.5,0.25,0.25,0.25: sum to 1.25; expected shares"),
        (None, ["0.33", "0.33", "0.33", "0"], "sum to 0.99"),
        (None, ["-0.5", "0.5", "0.5", "0.5"], "expected shares from 0 to 1 that sum to 1"),
        (None, ["0", "0", "0", "0"], "sum to 0;"),
        (None, ["1/2", "1/2"], "ratios 0.5,0.5: found 2, expected 4, one for each of near, mid, far, very_far"),
        ([0, 1, 2], None, "2 bins (0-1 m, 1-2 m) need as many ratios"),
    ],
)
def test_ratios_that_do_not_fit(bins, ratios, says):
    given_ratios = None if ratios is None else [Fraction(ratio) for ratio in ratios]
    with pytest.raises(SampleError) as error:
        check_ratios(given_ratios, DepthBins.of(bins))
    assert says in str(error.value)


def frames(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def cells(grouping: Grouping) -> list[tuple[str, ...]]:
    return [grouping.cells[code] for code in grouping.codes]


def test_cells_cross_the_values_of_columns():
    table = frames(
        scene_type=["indoor", "outdoor", "indoor", "indoor"],
        lighting=pd.array(["day", None, "night", "day"], dtype="string"),
        scale_ambiguous=pd.array([True, False, None, True], dtype="boolean"),
    )
    ranges = np.asarray([0, 3, 1, 0])
    found = Grouping.of(table, [DEPTH_RANGE, "scene_type", "lighting", "scale_ambiguous"], GUIDE, ranges)
    assert cells(found) == [
        ("near", "indoor", "day", "True"),
        ("very_far", "outdoor", "none", "False"),
        ("mid", "indoor", "night", "none"),
        ("near", "indoor", "day", "True"),
    ]
    assert len(found.cells) == 3
    assert dict(zip(found.cells, found.counts, strict=True))[("near", "indoor", "day", "True")] == 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.sampled_from("xy")), max_size=30))
def test_every_frame_is_in_its_own_cell(rows):
    table = frames(left=[row[0] for row in rows], right=[row[2] for row in rows])
    ranges = np.asarray([row[1] for row in rows], dtype=np.int64)
    found = Grouping.of(table, ["left", DEPTH_RANGE, "right"], GUIDE, ranges)
    assert cells(found) == [(left, GUIDE.names[k], right) for left, k, right in rows]
    assert sorted(set(found.codes.tolist())) == list(range(len(found.cells)))
    assert sum(found.counts) == len(rows)


def test_no_columns_are_one_cell():
    found = Grouping.of(frames(a=[1, 2, 3]), [], GUIDE, np.zeros(3, dtype=np.int64))
    assert (found.cells, found.counts) == (((),), [3])
    assert cell_name(()) == "all"
    assert cell_name(("near", "indoor")) == "near/indoor"


def test_no_frames_are_no_cell():
    found = Grouping.of(frames(a=[]), [DEPTH_RANGE], GUIDE, np.zeros(0, dtype=np.int64))
    assert (found.cells, found.counts) == ((), [])


def test_a_column_of_too_many_values():
    table = frames(mean_depth=np.arange(65) / 7)
    with pytest.raises(SampleError, match="column mean_depth has 65 different values; expected at most 64"):
        Grouping.of(table, ["mean_depth"], GUIDE, np.zeros(65, dtype=np.int64))
    assert len(Grouping.of(table[:64], ["mean_depth"], GUIDE, np.zeros(64, dtype=np.int64)).cells) == 64


@pytest.mark.parametrize(
    ("written", "exact"),
    [("0.1", "1/10"), (0.25, "1/4"), (3, "3"), ("1/3", "1/3"), (" 1e-5 ", "1/100000"), ("-0.0", "0"), ("-2", "-2")],
)
def test_numbers_are_taken_as_they_are_written(written, exact):
    assert as_written(written) == Fraction(exact)


@pytest.mark.parametrize("written", ["1e999999999", "1e-999999999", "nan", "inf", "1/0", "x", "", True, None])
def test_what_is_no_number_or_has_no_end(written):
    with pytest.raises(ValueError, match=r"out of range|no number|could not convert"):
        as_written(written)
