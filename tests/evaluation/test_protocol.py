"""Protocols: what outranks what, what is refused and with which words, and that nothing is lost on the way back."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.errors import EvaluationError
from ncdb_dask.evaluation.protocol import CHOICES, FIELDS, PRESETS, Protocol
from ncdb_dask.model.spec import EvaluationSpec

SPEC = EvaluationSpec(min_depth=0.3, max_depth=40.0, crop="eigen", scaling="median")


def refusal(preset=None, spec=None, **options) -> str:
    with pytest.raises(EvaluationError) as caught:
        Protocol.of(preset, spec, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_default():
    found = Protocol.of()
    assert found == Protocol()
    assert (found.min_depth, found.max_depth, found.bounds, found.crop) == (0.001, 80.0, "strict", "none")
    assert (found.scaling, found.clamp, found.flip, found.min_pixels) == ("none", True, "none", 1)
    assert (found.resize, found.align_corners, found.resize_of, found.name) == ("bilinear", False, "depth", "default")


def test_the_model_file_outranks_the_default():
    assert Protocol.of(None, SPEC) == Protocol(0.3, 40.0, crop="eigen", scaling="median", name="model file")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_outranks_the_model_file(preset):
    found = Protocol.of(preset, SPEC)
    assert found == Protocol.of(preset)
    assert found.name == preset
    assert [getattr(found, name) for name in FIELDS] == [getattr(PRESETS[preset], name) for name in FIELDS]


OPTIONS = {
    "min_depth": 0.7,
    "max_depth": 33.0,
    "bounds": "inclusive",
    "crop": "nyu",
    "scaling": "median",
    "clamp": False,
    "resize": "nearest",
    "align_corners": False,
    "resize_of": "inverse",
    "flip": "fuse",
    "min_pixels": 5,
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("preset", ["kitti-eigen", None])
def test_an_option_outranks_all_and_changes_nothing_else(name, preset):
    base = Protocol.of(preset, SPEC)
    found = Protocol.of(preset, SPEC, **{name: OPTIONS[name]})
    assert getattr(found, name) == OPTIONS[name]
    assert {**found.as_dict(), name: None} == {**base.as_dict(), name: None}


def test_options_are_all_fields_but_the_name():
    assert set(OPTIONS) == set(FIELDS)
    assert Protocol.of("ncdb", SPEC, **OPTIONS) == Protocol(**OPTIONS, name="ncdb")


def test_none_is_an_option_that_is_not_set_and_false_is_one_that_is():
    assert Protocol.of("ncdb", None, **dict.fromkeys(FIELDS)) == Protocol.of("ncdb")
    found = Protocol.of("nyu", None, clamp=False, align_corners=False, min_depth=0.0)
    assert (found.clamp, found.align_corners, found.min_depth) == (False, False, 0.0)


@pytest.mark.parametrize("name", CHOICES)
def test_a_word_that_is_not_known(name):
    assert refusal(**{name: "Bilinear"}) == f"{name} 'Bilinear': expected one of {', '.join(CHOICES[name])}"
    assert refusal("ncdb", **{name: ""}) == f"{name} '': expected one of {', '.join(CHOICES[name])}"


@pytest.mark.parametrize("name", CHOICES)
def test_every_known_word_is_taken(name):
    for word in CHOICES[name]:
        assert getattr(Protocol.of(**{name: word}), name) == word


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ("min_depth", "5", "a number"),
        ("max_depth", True, "a number"),
        ("clamp", "no", "True or False"),
        ("align_corners", 1, "True or False"),
        ("min_pixels", 2.5, "a whole number"),
        ("crop", 3, "a word"),
    ],
)
def test_a_value_of_another_kind_is_refused_and_not_taken_for_true(rule, value, expected):
    assert refusal(**{rule: value}) == f"{rule} {value!r}: expected {expected}"


@pytest.mark.parametrize("name", ["foo", "name"])
def test_a_rule_that_there_is_not(name):
    assert refusal(**{name: "x"}) == f"{name!r} is no rule of a protocol; there are {', '.join(FIELDS)}"


def test_a_whole_number_is_a_number():
    assert Protocol.of(max_depth=10).max_depth == 10


def test_a_preset_that_is_not_known():
    message = refusal("kitti")
    assert message == (
        "protocol 'kitti': expected one of ncdb, kitti-eigen, kitti-devkit, nyu, packnet, monodepth2, depth-anything"
    )
    assert refusal("", SPEC).startswith("protocol '': ")


NO_RANGES = [(-1.0, 80.0), (5.0, 5.0), (5.0, 4.0), (0.0, 0.0), (math.nan, 80.0), (0.5, math.nan), (0.0, -1.0)]


@pytest.mark.parametrize(("low", "high"), [*NO_RANGES, (math.inf, math.inf)])
def test_depths_that_are_no_range(low, high):
    assert refusal(min_depth=low, max_depth=high) == (
        f"depths from {low:g} to {high:g} m: expected a least depth from 0 below the greatest"
    )


def test_an_option_that_does_not_fit_the_preset_is_refused_too():
    assert refusal("nyu", min_depth=12.0) == (
        "depths from 12 to 10 m: expected a least depth from 0 below the greatest"
    )
    assert refusal(None, SPEC, max_depth=0.2).startswith("depths from 0.3 to 0.2 m")


@pytest.mark.parametrize("count", [0, -3])
def test_too_few_pixels_to_ask_for(count):
    assert refusal(min_pixels=count) == f"min pixels {count}: expected at least 1"


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_protocols_that_are_taken(preset):
    assert Protocol.of(preset, None, **{name: getattr(PRESETS[preset], name) for name in FIELDS}) == Protocol.of(preset)


protocols = st.builds(
    Protocol,
    min_depth=st.floats(0, 5),
    max_depth=st.floats(6, 300) | st.just(math.inf),
    clamp=st.booleans(),
    align_corners=st.booleans(),
    min_pixels=st.integers(1, 1000),
    name=st.sampled_from([*PRESETS, "default", "model file"]),
    **{name: st.sampled_from(words) for name, words in CHOICES.items()},
)


@given(protocols)
def test_json_and_back(protocol):
    text = json.dumps(protocol.as_dict(), allow_nan=False)
    assert Protocol.from_dict(json.loads(text)) == protocol


def test_no_limit_is_null():
    written = Protocol.of("kitti-devkit").as_dict()
    assert written["max_depth"] is None
    assert Protocol.from_dict(written).max_depth == math.inf
    assert list(written) == [*FIELDS, "name"]
    assert Protocol.of("ncdb").as_dict()["max_depth"] == 15.0


def test_text():
    assert Protocol.of("monodepth2").text() == (
        "monodepth2: 0.001 m to 80 m (strict), crop garg, scaling median, clamped, "
        "bilinear resize of inverse, half-pixel centres"
    )
    assert Protocol.of("kitti-devkit", None, flip="fuse", bounds="inclusive", align_corners=True).text() == (
        "kitti-devkit: 0 m to no limit (inclusive), crop none, scaling none, not clamped, "
        "bilinear resize of depth, corners aligned, flip fuse"
    )
