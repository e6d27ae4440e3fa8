"""Weight tables: TOML, CSV and mappings say the same, and every mistake in one is named."""

from fractions import Fraction
from pathlib import Path

import pytest

from ncdb_dask.errors import SampleError
from ncdb_dask.sampling.strata import DEPTH_RANGE, DepthBins
from ncdb_dask.sampling.weights import read_weights

BY = (DEPTH_RANGE, "scene_type")
EXPECTED = {
    ("near", "indoor"): Fraction(1, 5),
    ("near", "outdoor_near"): Fraction(0),
    ("mid", "indoor"): Fraction(3),
}
TOML = "[near]\nindoor = 0.2\noutdoor_near = 0\n[mid]\nindoor = 3\n"
CSV = "depth_range,scene_type,weight\nnear,indoor,0.2\nnear,outdoor_near,0\nmid,indoor,3\n"
MAPPING = {"near": {"indoor": 0.2, "outdoor_near": 0}, "mid": {"indoor": 3}}


@pytest.fixture
def put(tmp_path: Path):
    def write(name: str, data: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


def read(given, by=BY):
    return read_weights(given, by, DepthBins.of())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("w.toml", TOML),
        ("w.csv", CSV),
        ("bom.csv", "\ufeff" + CSV),
        ("windows.csv", CSV.replace("\n", "\r\n")),
        ("spaces.csv", CSV.replace(",", " , ").replace("depth_range ,", "depth_range,").replace("type ,", "type,")),
        ("other_order.csv", "weight,scene_type,depth_range\n0.2,indoor,near\n0,outdoor_near,near\n3,indoor,mid\n"),
        ("old_mac.csv", CSV.replace("\n", "\r")),
        ("bom.toml", "\ufeff" + TOML),
        ("inline.toml", "near = {indoor = 0.2, outdoor_near = 0}\nmid.indoor = 3\n"),
        ("text.toml", TOML.replace("0.2", "'0.2'")),
    ],
)
def test_every_form_says_the_same(name, text, put):
    path = put(name, text)
    for given in (path, str(path)):
        table = read(given)
        assert (table.weights, table.columns, table.name) == (EXPECTED, BY, str(path))


def test_a_mapping_is_a_table_too():
    assert read(MAPPING).weights == EXPECTED


def test_keys_are_text_even_where_they_look_like_numbers():
    table = read_weights({"0001": {640: 1}}, ("dataset_root", "width"), DepthBins.of())
    assert table.weights == {("0001", "640"): Fraction(1)}


def test_the_home_folder_is_understood(put, monkeypatch, tmp_path):
    put("w.toml", TOML)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read("~/w.toml").weights == EXPECTED


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "-inf", "1e400000x", "''", "many", "true", "[1]", "2020-01-01"])
def test_a_weight_that_is_no_number_from_0_on(value, put):
    toml = value if value in ("-1", "nan", "inf", "-inf", "''", "true", "[1]", "2020-01-01") else f"'{value}'"
    with pytest.raises(SampleError, match=r"the weight of near/indoor is .*; expected a number, 0 or more"):
        read(put("w.toml", f"[near]\nindoor = {toml}\n"))
    with pytest.raises(SampleError, match=r"the weight of near/indoor is .*; expected a number, 0 or more"):
        read(put("w.csv", f"depth_range,scene_type,weight\nnear,indoor,{value.strip(chr(39))}\n"))


@pytest.mark.parametrize("value", [True, False, None, -0.5, float("nan"), float("inf"), "x", {"deeper": 1}])
def test_a_weight_in_a_mapping_that_is_no_number(value):
    with pytest.raises(SampleError, match="weights: the weight of near/indoor is"):
        read({"near": {"indoor": value, "outdoor_near": 1}})


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "w.toml",
            "[nearby]\nindoor = 1\n",
            "names the depth range 'nearby'; expected one of near, mid, far, very_far",
        ),
        ("w.csv", CSV.replace("mid", "middle"), "names the depth range 'middle'"),
        ("w.csv", CSV + "near,indoor,1\n", "gives the weight of near/indoor twice"),
        ("w.toml", "near = 1\n", "near is 1; expected tables nested 2 deep"),
        ("w.toml", "[near]\nindoor = 0\n", "has no weight above 0; expected one for each cell of depth_range x scene"),
        ("w.toml", "", "has no weight above 0"),
        ("w.csv", "depth_range,scene_type,weight\n", "has no weight above 0"),
        ("w.csv", "", "has the columns ; expected depth_range,scene_type,weight (see --by)"),
        ("w.csv", CSV.replace("scene_type", "scene"), "has the columns depth_range,scene,weight; expected depth_range"),
        ("w.csv", "depth_range,weight\nnear,1\n", "has the columns depth_range,weight"),
        ("w.csv", CSV.replace("scene_type", "depth_range"), "has the columns depth_range,depth_range,weight"),
        ("w.csv", CSV + "far,indoor\n", "line 5 has not 3 fields"),
        ("w.csv", CSV + "far,indoor,1,2\n", "line 5 has not 3 fields"),
        ("w.toml", CSV, "is no TOML ("),
        ("w.toml", "[near]\nindoor = 1\n[near]\nindoor = 2\n", "is no TOML ("),
        ("w.txt", CSV, "a CSV table must be named .csv"),
        ("w.csv", b"\xff\xfe\0", "no weight table that can be read"),
    ],
)
def test_a_table_with_a_mistake(name, text, says, put):
    path = put(name, text)
    with pytest.raises(SampleError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(SampleError, match=r"none\.toml: no weight table that can be read \(No such file"):
        read(tmp_path / "none.toml")
    with pytest.raises(SampleError, match="Is a directory"):
        read(tmp_path)


def test_a_table_must_cover_the_cells_that_hold_frames():
    table = read(MAPPING)
    table.check_cells([("near", "indoor"), ("near", "outdoor_near")], [4, 5])
    with pytest.raises(SampleError) as error:
        table.check_cells([("near", "indoor"), ("far", "indoor"), ("far", "outdoor_near")], [4, 17, 3])
    assert str(error.value) == (
        "weights: has no weight for far/indoor, which holds 17 frames (and 1 cells more); "
        "add it, 0 to take none of them"
    )


def test_a_weight_for_a_value_that_no_frame_has_is_a_slip():
    table = read({"near": {"indoor": 1, "indor": 5}})
    with pytest.raises(SampleError) as error:
        table.check_cells([("near", "indoor")], [4])
    assert str(error.value) == (
        "weights: names the scene_type 'indor', which no frame has; expected indoor, outdoor_far, outdoor_near"
    )
    read({"near": {"indoor": 1, "indor": 0, "outdoor_far": 2}}).check_cells([("near", "indoor")], [4])


def test_a_table_of_too_many_cells():
    with pytest.raises(SampleError, match="weights: has 501 cells; expected at most 500"):
        read({"near": {str(n): 1 for n in range(501)}})
