"""Options: every mistake is one sentence that names the value and what is expected."""

import math
from fractions import Fraction

import pytest

from ncdb_dask.errors import SampleError
from ncdb_dask.sampling.request import Eligibility, SampleRequest


def test_the_defaults_are_the_guides():
    request = SampleRequest.of()
    assert (request.size, request.strategy, request.seed, request.min_gap) == (300, "stratified", 42, 0)
    assert request.bins.edges == (0, 3, 8, 15, math.inf)
    assert request.ratios == (Fraction(1, 4), Fraction(2, 5), Fraction(1, 4), Fraction(1, 10))
    assert request.eligible == Eligibility(0, 0, "leave-out", "keep", "leave-out")
    assert request.by == ("depth_range",)


def test_text_and_sequences_say_the_same():
    text = SampleRequest.of(bins="0, 2,inf", names="a, b", ratios=" .3,0.7 ", exclude="val.json")
    plain = SampleRequest.of(bins=[0, 2, math.inf], names=["a", "b"], ratios=[0.3, 0.7], exclude=["val.json"])
    assert text == plain
    assert text.ratios == (Fraction(3, 10), Fraction(7, 10))  # as written, not as binary numbers
    assert SampleRequest.of(ratios="1/3,1/3,1/3,0").ratios == (Fraction(1, 3),) * 3 + (Fraction(0),)


def test_columns_of_the_strategies():
    assert SampleRequest.of(strategy="balanced").by == ("depth_range", "scene_type")
    assert SampleRequest.of(strategy="matched", by="lighting, depth_range").by == ("lighting", "depth_range")
    assert SampleRequest.of(strategy="balanced", by=["lighting"]).by == ("lighting",)
    for strategy in ("random", "uniform", "first"):
        assert SampleRequest.of(strategy=strategy).by == ()
        assert SampleRequest.of(strategy=strategy).ratios is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"strategy": "best"},
            "strategy 'best': expected one of stratified, balanced, matched, coverage, random, uniform, first",
        ),
        ({"size": 0}, "size 0: expected a number of frames, at least 1"),
        ({"size": -3}, "size -3: expected a number of frames, at least 1"),
        ({"min_gap": -1}, "min-gap -1: expected a difference of frame numbers"),
        (
            {"ratios": "1,0,0,0", "strategy": "random"},
            "--ratios is for --strategy stratified; random does not use it",
        ),
        ({"weights": {}, "strategy": "matched"}, "--weights is for --strategy balanced; matched does not use it"),
        (
            {"statistics": "kept", "strategy": "random"},
            "--statistics is for --strategy coverage; random does not use it",
        ),
        ({"strategy": "coverage"}, "strategy coverage: found no --statistics, expected the folder in which"),
        (
            {"strategy": "coverage", "statistics": "kept", "ratios": "1,0,0,0"},
            "--ratios is for --strategy stratified; coverage does not use it",
        ),
        ({"strategy": "coverage", "statistics": "kept", "by": "lighting"}, "--by is for --strategy balanced or"),
        ({"strategy": "coverage", "statistics": "kept", "weights": {}}, "--weights is for --strategy balanced;"),
        ({"by": "lighting"}, "--by is for --strategy balanced or matched; stratified does not use it"),
        ({"by": "lighting", "strategy": "first"}, "--by is for --strategy balanced or matched; first does not use it"),
        ({"ratios": "0.5,0.5,0.5,0.5"}, "sum to 2; expected shares from 0 to 1 that sum to 1"),
        ({"ratios": "a,b"}, "ratios 'a,b': expected numbers separated by commas"),
        ({"ratios": ""}, "ratios '': expected numbers separated by commas"),
        ({"ratios": "1/0,0,0,0"}, "expected numbers separated by commas"),
        ({"ratios": "nan,0,0,1"}, "expected numbers separated by commas"),
        ({"ratios": [math.inf, 0, 0, 0]}, "expected numbers separated by commas"),
        ({"ratios": "1,0"}, "found 2, expected 4"),
        ({"bins": "0,5,3,inf"}, "bins 0,5,3,inf: expected depths in metres that rise"),
        ({"bins": "0;3"}, "bins '0;3': expected numbers separated by commas"),
        ({"bins": "0,,3"}, "expected numbers separated by commas"),
        ({"bins": "0,nan"}, "expected depths in metres that rise"),
        ({"bins": "0,5,inf"}, "2 bins (0-5 m, 5+ m) need as many ratios"),
        ({"names": "a,b"}, "names a,b: expected 4 different ones, for the bins 0,3,8,15,inf"),
        ({"by": "colour", "strategy": "balanced"}, "by 'colour' is no column; expected different columns among depth_"),
        ({"by": "lighting,lighting", "strategy": "balanced"}, "by 'lighting,lighting'; expected different columns"),
        ({"by": "", "strategy": "balanced"}, "by '' is no column"),
        ({"by": [], "strategy": "matched"}, "expected different columns"),
        ({"by": "depth_hist", "strategy": "balanced"}, "by 'depth_hist' is no column"),
        ({"ambiguous": "maybe"}, "ambiguous 'maybe': expected keep or leave-out"),
        ({"synthetic": "nearest"}, "synthetic 'nearest': expected keep or leave-out"),
        ({"beyond": "keep"}, "beyond 'keep': expected nearest or leave-out"),
        ({"min_valid": "many"}, "min-valid 'many': expected a number of pixels such as 1000, or a share such as 1%"),
        ({"min_valid": "101%"}, "min-valid '101%'"),
        ({"min_valid": "-1"}, "min-valid '-1'"),
        ({"min_valid": "0.5"}, "min-valid '0.5'"),
        ({"min_valid": "nan%"}, "min-valid 'nan%'"),
        ({"min_valid": "inf"}, "min-valid 'inf'"),
        ({"min_valid": "1e999999999"}, "min-valid '1e999999999'"),
        ({"min_valid": 2**53}, "min-valid 9007199254740992"),
        ({"min_valid": "%"}, "min-valid '%'"),
        ({"min_valid": True}, "min-valid True"),
    ],
)
def test_a_wrong_option(options, says):
    with pytest.raises(SampleError) as error:
        SampleRequest.of(**options)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "pixels", "share"),
    [(0, 0, 0), ("1000", 1000, 0), ("1%", 0, Fraction(1, 100)), (" 7 % ", 0, Fraction(7, 100)), ("100%", 0, 1)],
)
def test_least_valid_pixels(given, pixels, share):
    eligible = SampleRequest.of(min_valid=given).eligible
    assert (eligible.min_pixels, eligible.min_share) == (pixels, share)
