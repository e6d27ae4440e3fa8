"""NPU profiles: those that come along, those of users, and what they forbid."""

import re
import tomllib
from pathlib import Path

import pytest

from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.errors import QuantizationError
from ncdb_dask.quantization.ort import OnnxRuntimeQuantizer
from ncdb_dask.quantization.profile import GENERIC, TYPES, Profile, read_profile, shipped
from ncdb_dask.quantization.target import of_softmax

NAMES = ("litert", "per-tensor", "qnn-htp", "vitis-dpu")
FULL = {
    "description": '"an NPU"',
    "source": '"its manual"',
    "activations": '["int8", "int16"]',
    "zero_points": '["symmetric"]',
    "power_of_two": "true",
    "per_channel_weights": "false",
    "operators": '["Conv", "Relu"]',
    "fixed_softmax": "true",
}


def written(folder: Path, **changes: str) -> str:
    keys = {**FULL, **changes}
    path = folder / "npu.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in keys.items() if value))
    return str(path)


# Those that come along


def test_these_come_along():
    assert tuple(shipped()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_says_what_it_is_and_where_that_is_written(name):
    profile = read_profile(name)
    assert profile.name == name
    assert len(profile.description) > 20
    assert len(profile.source) > 10
    assert set(tomllib.loads(shipped()[name])) > {"description", "source", "activations"}


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        (None, Scheme()),
        ("litert", Scheme(signed=True)),
        ("per-tensor", Scheme()),
        ("qnn-htp", Scheme()),
        ("vitis-dpu", Scheme(signed=True, symmetric=True, power_of_two=True)),
    ],
)
def test_what_a_profile_gives_to_who_asks_for_nothing(name, scheme):
    assert read_profile(name).scheme(None, None, None) == scheme
    assert OnnxRuntimeQuantizer(profile=name).target().scheme == scheme


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("litert", {"activations": "uint8"}, "the profile litert has no activations of type uint8; it has int8"),
        ("litert", {"wide": ("a",)}, "the profile litert has no activations of type int16; it has int8"),
        ("per-tensor", {"per_channel": True}, "per-tensor has no weights with a scale a channel; it has one a tensor"),
        ("per-tensor", {"activations": "uint16"}, "has no activations of type uint16; it has uint8, int8"),
        ("qnn-htp", {"activations": "int8"}, "has no activations of type int8; it has uint8, uint16"),
        ("vitis-dpu", {"symmetric": False}, "vitis-dpu has no asymmetric activations; it has symmetric"),
        ("vitis-dpu", {"power_of_two": False}, "has no scales that are no powers of two; it has powers of two"),
        ("vitis-dpu", {"per_channel": True}, "has no weights with a scale a channel"),
        ("vitis-dpu", {"wide": ("a",)}, "has no activations of type int16; it has int8"),
    ],
)
def test_what_an_npu_cannot_do_is_refused_with_what_it_can(name, options, message):
    with pytest.raises(QuantizationError, match=re.escape(message)):
        OnnxRuntimeQuantizer(profile=name, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("litert", {"symmetric": True, "per_channel": True}),
        ("per-tensor", {"activations": "int8", "symmetric": False, "power_of_two": True}),
        ("qnn-htp", {"activations": "uint16", "per_channel": True}),
        ("qnn-htp", {"wide": ("a",)}),
        ("vitis-dpu", {"activations": "int8", "symmetric": True, "power_of_two": True}),
    ],
)
def test_what_it_can_do_is_done(name, options):
    scheme = OnnxRuntimeQuantizer(profile=name, **options).target().scheme
    for key in ("symmetric", "power_of_two"):
        if key in options:
            assert getattr(scheme, key) == options[key]


# No profile


@pytest.mark.parametrize("kind", TYPES)
def test_signed_types_are_symmetric_unless_told_otherwise(kind):
    bits, signed = TYPES[kind]
    assert GENERIC.scheme(kind, None, None) == Scheme(bits, signed, symmetric=signed)
    for symmetric in (False, True):
        assert GENERIC.scheme(kind, symmetric, True) == Scheme(bits, signed, symmetric, power_of_two=True)


def test_an_unknown_type_is_refused():
    with pytest.raises(QuantizationError, match='activations "int4": expected uint8, int8, uint16, int16'):
        OnnxRuntimeQuantizer(activations="int4")


def test_a_type_of_sixteen_bits_must_be_of_the_same_kind():
    profile = Profile("x", activations=("int8", "uint16"))
    profile.require(Scheme(16), per_channel=True)
    with pytest.raises(QuantizationError, match="the profile x has no activations of type int16; it has int8, uint16"):
        profile.require(Scheme(16, signed=True), per_channel=False)


# Files of users


def test_a_file_says_it_all(tmp_path):
    profile = read_profile(written(tmp_path))
    assert profile == Profile(
        str(tmp_path / "npu.toml"),
        "an NPU",
        "its manual",
        activations=("int8", "int16"),
        zero_points=("symmetric",),
        power_of_two=True,
        per_channel_weights=False,
        operators=("Conv", "Relu"),
        fixed_softmax=True,
    )
    target = OnnxRuntimeQuantizer(profile=str(tmp_path / "npu.toml"), wide=("a",)).target()
    assert (target.operators, target.fixed_softmax) == (("Conv", "Relu"), True)
    assert target.scheme == Scheme(signed=True, symmetric=True, power_of_two=True)


def test_an_empty_file_forbids_nothing(tmp_path):
    profile = read_profile(written(tmp_path, **dict.fromkeys(FULL, "")))
    assert profile == Profile(str(tmp_path / "npu.toml"))


def test_a_byte_order_mark_is_no_part_of_it(tmp_path):
    path = tmp_path / "npu.toml"
    path.write_text('activations = ["int8"]', encoding="utf-8-sig")
    assert read_profile(str(path)).activations == ("int8",)


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path)
    assert read_profile("~/npu.toml").description == "an NPU"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": '["int8"]'}, 'the key "activation" is unknown; expected description, source, activations'),
        ({"activations": '"int8"'}, "found activations = 'int8'; expected a list of strings"),
        ({"activations": "[8]"}, "found activations = [8]; expected a list of strings"),
        ({"activations": "[]"}, "found activations = []; expected some of uint8, int8, uint16, int16"),
        ({"activations": '["int4"]'}, "found activations = ['int4']; expected some of uint8"),
        ({"zero_points": '["middle"]'}, "found zero_points = ['middle']; expected some of asymmetric, symmetric"),
        ({"power_of_two": "1"}, "found power_of_two = 1; expected a bool"),
        ({"per_channel_weights": '"no"'}, "found per_channel_weights = 'no'; expected a bool"),
        ({"operators": "true"}, "found operators = True; expected a list of strings"),
        ({"operators": '["Conv", "Convv"]'}, 'found "Convv" among operators; expected names of ONNX, such as Conv'),
        ({"description": "3"}, "found description = 3; expected a str"),
        ({"source": "= "}, "is no TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(changes, message, tmp_path):
    path = written(tmp_path, **changes)
    with pytest.raises(QuantizationError, match=re.escape(message)) as caught:
        read_profile(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(
        QuantizationError, match=r'the profile "vitis" is unknown; expected litert, .*vitis-dpu, or the'
    ):
        read_profile("vitis")


@pytest.mark.parametrize("made", ["nothing", "a folder", "no text"])
def test_a_file_that_cannot_be_read(made, tmp_path):
    path = tmp_path / "npu.toml"
    if made == "a folder":
        path.mkdir()
    if made == "no text":
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(QuantizationError, match=r"npu\.toml: cannot be read \(.+\); expected an NPU profile in TOML"):
        read_profile(str(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "kl"}, 'method "kl": expected minmax, percentile, entropy, mse'),
        ({"method": "percentile", "percentile": 0.0}, "percentile 0: expected 50 to 100"),
        ({"method": "percentile", "percentile": 0.999}, "percentile 0.999: expected 50 to 100"),
        ({"method": "percentile", "percentile": 100.5}, "percentile 100.5: expected 50 to 100"),
        ({"method": "percentile", "percentile": float("nan")}, "percentile nan: expected"),
        ({"percentile": 99.9}, "percentile 99.9 is for the method percentile, not minmax"),
    ],
)
def test_other_options_are_checked_as_early(options, message):
    with pytest.raises(QuantizationError, match=re.escape(message)):
        OnnxRuntimeQuantizer(**options)


def test_a_single_name_is_no_sequence_of_letters():
    target = OnnxRuntimeQuantizer(wide="relu", keep="conv").target()
    assert (target.wide, target.kept) == ({"relu"}, {"conv"})


def test_a_fixed_softmax_has_the_steps_of_its_specification():
    found = of_softmax(Scheme(8, signed=True))
    assert (found.scale, found.zero_point) == (1 / 256, -128)
