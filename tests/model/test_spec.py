"""The model file: what is read, what is refused and with which words, and that nothing is lost on the way back."""

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncdb_dask.errors import SpecError
from ncdb_dask.model.keys import DECODINGS, KEYS
from ncdb_dask.model.spec import EvaluationSpec, InputSpec, ModelSpec, OutputSpec, find_spec, read_spec

SIZE = {"width": 640, "height": 192}
SIZE_TOML = "[input]\nwidth = 640\nheight = 192\n"
PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "model_file.md").read_text()


def written(folder: Path, text: str, name: str = "model.toml") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def refusal(values: object) -> str:
    with pytest.raises(SpecError) as caught:
        ModelSpec.from_dict(values, "net.toml")  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith("net.toml: ")
    assert "\n" not in message
    return message


# What is read


def test_width_and_height_are_enough(tmp_path):
    spec = read_spec(written(tmp_path, SIZE_TOML))
    assert spec == ModelSpec(InputSpec(640, 192), OutputSpec(), EvaluationSpec())
    assert spec.input == InputSpec(640, 192, None, "lanczos", "rgb", 255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "nchw")
    assert spec.output == OutputSpec((), "linear", 1.0, 0.0, 1.0, None, None)
    assert spec.evaluation == EvaluationSpec(0.001, 80.0, "none", "none")


def test_the_reference_shows_a_file_that_is_read(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.split("## ")[0], re.DOTALL)
    spec = read_spec(written(tmp_path, example))
    assert (spec.input.width, spec.input.height, spec.output.decode) == (640, 384, "inverse-sigmoid")


@pytest.mark.parametrize("section", KEYS)
def test_the_reference_names_every_key_and_no_other(section):
    (table,) = [part for part in PAGE.split("\n## ") if part.startswith(f"`[{section}]`")]
    keys = table.split("\n| decode |")[0]
    assert re.findall(r"^\| `(\w+)` \|", keys, re.MULTILINE) == list(KEYS[section])


def test_the_reference_names_every_decoding_with_its_keys():
    table = PAGE.split("| decode | metres |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `([\w-]+)` \| `.*` \| (.*) \|$", table, re.MULTILINE)
    named = {decode: tuple(re.findall(r"`(\w+)(?: =[^`]*)?`", cell)) for decode, cell in rows}
    assert {decode: tuple(key for key in keys if key != "name") for decode, keys in named.items()} == DECODINGS


@pytest.mark.parametrize("kind", [InputSpec, OutputSpec, EvaluationSpec])
def test_every_key_is_kept(kind):
    section = kind.__name__.removesuffix("Spec").lower()
    assert [one.name for one in fields(kind)] == list(KEYS[section])


def test_one_number_counts_for_all_channels():
    spec = ModelSpec.from_dict({"input": {**SIZE, "mean": 0.5, "std": [0.1, 0.2, 1]}}).input
    assert (spec.mean, spec.std) == ((0.5, 0.5, 0.5), (0.1, 0.2, 1.0))


def test_one_output_is_named_by_a_string_and_two_by_a_list():
    one = ModelSpec.from_dict({"input": SIZE, "output": {"name": "depth"}})
    two = {"name": ["whole", "rest"], "decode": "integer-fraction", "max": 15}
    assert one.output.name == ("depth",)
    assert ModelSpec.from_dict({"input": SIZE, "output": two}).output.name == ("whole", "rest")


@pytest.mark.parametrize("start", ["\ufeff", "# ein Kommentar: Tiefe in Metern, größer\n", "\r\n"])
def test_files_of_any_editor_are_read(tmp_path, start):
    assert read_spec(written(tmp_path, start + SIZE_TOML)).input == InputSpec(640, 192)


# Where it is looked for


def test_it_lies_beside_the_network(tmp_path):
    written(tmp_path, SIZE_TOML, "net.int8.toml")
    assert find_spec(tmp_path / "net.int8.onnx") == tmp_path / "net.int8.toml"


def test_the_one_given_counts(tmp_path):
    written(tmp_path, SIZE_TOML, "net.toml")
    assert find_spec(tmp_path / "net.onnx", tmp_path / "other.toml") == tmp_path / "other.toml"


def test_where_none_lies_the_place_and_the_option_are_named(tmp_path):
    with pytest.raises(SpecError, match=rf"net\.onnx: .*{re.escape(str(tmp_path / 'net.toml'))}.*--model-spec"):
        find_spec(tmp_path / "net.onnx")


# What is refused


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "[input] has no width and height"),
        ({"input": {"width": 640}}, "[input] has no height"),
        ([], "holds []; expected the sections [input], [output], [evaluation]"),
        ({"input": 3}, "input = 3; expected a section [input]"),
        ({"input": [SIZE]}, "expected a section [input]"),
        ({"inputs": SIZE}, 'the section [inputs], which is unknown (did you mean "input"?); known are [input], [out'),
        ({"training": {}}, "the section [training], which is unknown; known are [input], [output], [evaluation]"),
        ({"width": 640}, "width stands outside a section; put it under [input]"),
        ({"name": "x"}, "name stands outside a section; put it under [input] or [output]"),
        ({"title": "x"}, 'the key "title" outside a section, which is unknown'),
        ({"input": {**SIZE, "widht": 3}}, '"widht", which is unknown (did you mean "width"?); known are width, heig'),
        ({"input": {**SIZE, "Resize": "nearest"}}, '(did you mean "resize"?)'),
        ({"input": {**SIZE, "zzz": 3}}, 'the key "zzz", which is unknown; known are width, height, name'),
        ({"input": {**SIZE, "a\nb": 3}}, r'"a\nb"'),
        ({"input": {**SIZE, "max_depth": 80}}, "the key max_depth, which belongs under [evaluation]"),
        ({"output": {"scale": 2}}, "the key scale, which belongs under [input]"),
        ({"input": SIZE, "output": {"decode": "log"}}, 'decode = "log"; expected one of "linear", "reciprocal"'),
        ({"input": SIZE, "output": {"decode": "inverse_sigmoid"}}, '(did you mean "inverse-sigmoid"?)'),
        ({"input": SIZE, "output": {"decode": "inverse-sigmoid", "max": 9}}, '"inverse-sigmoid" needs min'),
        ({"input": SIZE, "output": {"decode": "log-sigmoid", "min": 9}}, '"log-sigmoid" needs max'),
        ({"input": SIZE, "output": {"decode": "log-sigmoid", "min": 9, "max": 9}}, "min = 9 is not below max = 9"),
        ({"input": SIZE, "output": {"min": 0.5}}, 'does not use; it goes with "inverse-sigmoid" or "log-sigmoid"'),
        ({"input": SIZE, "output": {"gain": 2}}, '[output] has gain, which decode = "linear" does not use'),
        ({"input": SIZE, "output": {"decode": "integer-fraction", "max": 9}}, 'two outputs, name = ["INTEGER", "FR'),
        ({"input": SIZE, "output": {"name": ["a", "b"]}}, 'decode = "linear" takes one output; name has a, b'),
        ({"input": SIZE, "evaluation": {"min_depth": 90}}, "min_depth = 90 is not below max_depth = 80"),
    ],
)
def test_a_faulty_file_is_refused_with_what_helps(values, said):
    assert said in refusal(values)


WHOLE = "expected a whole number from 1 to 8192"
POSITIVE = "expected a number from 1e-06 to 1e+06"
THREE = "expected three numbers from -1e+06 to 1e+06, or one for all channels"
THREE_POSITIVE = "expected three numbers from 1e-06 to 1e+06, or one for all channels"
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("section", "key", "values", "said"),
    [
        ("input", "width", ["640", 640.0, True, 0, -1, 8193, 10**400, None, [640], 16**5000], WHOLE),
        ("input", "height", ["192", 192.5, False, 0], WHOLE),
        ("input", "name", ["", 3, ["image"], None], "expected a string that is not empty"),
        ("input", "resize", ["area", "", 3, ["lanczos"], None], 'expected one of "nearest", "bilinear", "bicubic", "l'),
        ("input", "resize", ["LANCZOS", "lanzcos"], '(did you mean "lanczos"?)'),
        ("input", "channels", ["gbr", "RGB", True], 'expected one of "rgb", "bgr"'),
        ("input", "scale", [0, -255, NAN, INF, -INF, "255", True, 10**400, 1e-9, None, [255]], POSITIVE),
        ("input", "mean", [[0.5, 0.5], [0, 0, 0, 0], "0.5", [0, 0, "0"], [0, 0, True], NAN, [0, 0, INF], {}], THREE),
        ("input", "std", [0, [1, 1, 0], -1, [], [1, 1, NAN], True, "1", [[1], [1], [1]]], THREE_POSITIVE),
        ("input", "layout", ["hwc", "chw", 4, None], 'expected one of "nchw", "nhwc"'),
        ("output", "name", ["", [], ["a", "b", "c"], ["a", ""], [1], 3, None], "expected a name, or a list of two"),
        ("output", "name", [["a", "a"]], "expected two different names"),
        ("output", "factor", ["1", True, NAN, INF, 10**400], "expected a finite number"),
        ("output", "factor", [0, 0.0], "expected a finite number other than 0"),
        ("output", "offset", ["1", True, INF], "expected a finite number"),
        ("output", "gain", [0], "expected a finite number other than 0"),
        ("output", "min", [0, -1, "0.5", True], POSITIVE),
        ("output", "max", [0, INF, None], POSITIVE),
        ("evaluation", "min_depth", [0, -1, "0.5", True, NAN], POSITIVE),
        ("evaluation", "max_depth", [0, INF], POSITIVE),
        ("evaluation", "crop", ["kitti", True], 'expected one of "none", "garg", "eigen", "nyu"'),
        ("evaluation", "scaling", ["mean", "medain"], 'expected one of "none", "median"'),
    ],
)
def test_a_value_of_another_kind_or_range_is_refused_with_its_place(section, key, values, said):
    for value in values:
        message = refusal({"input": SIZE} | {section: (SIZE if section == "input" else {}) | {key: value}})
        assert f"[{section}] {key} = " in message
        assert said in message
        assert len(message) < 300


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("width = ", "is no TOML ("),
        ("[input]\nwidth = 1\nwidth = 2", "is no TOML ("),
        ("x = " + "[" * 100_000, "is no TOML ("),
        ("", "[input] has no width and height"),
        (SIZE_TOML + "scale = 2026-01-01\n", 'scale = "2026-01-01"; expected a number'),
        (SIZE_TOML + "scale = 0x1" + "0" * 6000 + "\n", "scale = a int too long to show"),
    ],
)
def test_a_file_that_is_no_model_file_is_named(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_a_file_that_is_not_there_or_is_a_folder_or_a_network_is_named(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08\xff\xfe")
    for name, said in {"no.toml": "No such file", ".": "Is a directory", "net.onnx": "is no TOML"}.items():
        path = tmp_path / name
        with pytest.raises(SpecError, match=said) as caught:
            read_spec(path)
        assert str(path) in str(caught.value)


# There and back

POSITIVES = st.floats(1e-6, 1e6)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
NONZERO = NUMBERS.filter(bool)
NAMES = st.text(min_size=1, max_size=8)
INPUTS = st.builds(
    InputSpec,
    width=st.integers(1, 8192),
    height=st.integers(1, 8192),
    name=st.none() | NAMES,
    resize=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
    channels=st.sampled_from(["rgb", "bgr"]),
    scale=POSITIVES,
    mean=st.tuples(*[st.floats(-1e6, 1e6)] * 3),
    std=st.tuples(*[POSITIVES] * 3),
    layout=st.sampled_from(["nchw", "nhwc"]),
)
RANGES = st.lists(POSITIVES, min_size=2, max_size=2, unique=True).map(sorted)
PAIRS = st.lists(NAMES, min_size=2, max_size=2, unique=True).map(tuple)
EVALUATIONS = RANGES.flatmap(
    lambda span: st.builds(
        EvaluationSpec,
        st.just(span[0]),
        st.just(span[1]),
        st.sampled_from(["none", "garg", "eigen", "nyu"]),
        st.sampled_from(["none", "median"]),
    )
)


@st.composite
def outputs(draw: st.DrawFn) -> OutputSpec:
    decode = draw(st.sampled_from(list(DECODINGS)))
    low, high = draw(RANGES)
    every = {"factor": draw(NONZERO), "offset": draw(NUMBERS), "gain": draw(NONZERO), "min": low, "max": high}
    used = {key: value for key, value in every.items() if key in DECODINGS[decode]}
    names = draw(PAIRS if decode == "integer-fraction" else st.just(()) | st.tuples(NAMES))
    return OutputSpec(name=names, decode=decode, **used)


@settings(deadline=None, max_examples=200)
@given(st.builds(ModelSpec, INPUTS, outputs(), EVALUATIONS))
def test_a_spec_survives_json_and_toml(spec):
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.as_dict(), allow_nan=False))) == spec
    assert ModelSpec.from_dict(tomllib.loads(spec.as_toml())) == spec


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([640, "rgb", 0.5]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
a_section = st.dictionaries(st.sampled_from([key for keys in KEYS.values() for key in keys]), json_values, max_size=4)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from([*KEYS, "inputs"]), a_section.map(lambda keys: SIZE | keys) | json_values))
def test_anything_is_a_spec_or_refused_with_a_sentence(values):
    try:
        spec = ModelSpec.from_dict(values, "net.toml")
    except SpecError as error:
        sentence = str(error)
    else:
        assert ModelSpec.from_dict(spec.as_dict()) == spec
        return
    assert sentence.startswith("net.toml: ")
