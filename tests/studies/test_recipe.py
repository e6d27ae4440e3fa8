"""A study's recipe: what it may hold, what is made of lists, and what is said of mistakes."""

import json
from pathlib import Path
from typing import Any

import pytest

from ncdb_dask.errors import NcdbError
from ncdb_dask.studies.cells import asked_quantizers, asked_sets, cells
from ncdb_dask.studies.recipe import StudyRecipe, read_study_recipe

LEAST = {"network": {"model": "net.onnx"}, "data": {"scan": "scan"}, "sets": [{"strategy": "random", "sizes": 10}]}


def read(**sections: Any) -> StudyRecipe:
    return StudyRecipe.from_dict(LEAST | sections, "mine.toml")


def labels(*quantizers: dict[str, Any]) -> list[str]:
    return [way.label for way in asked_quantizers(read(quantizers=list(quantizers)))]


# What is made of it


def test_a_network_a_scan_and_a_set_are_enough():
    recipe = read()
    assert [asked.label for asked in asked_sets(recipe)] == ["random 10, seed 42"]
    (way,) = asked_quantizers(recipe)
    assert (way.label, way.backend) == ("onnxruntime", "onnxruntime")
    # Both need passes of their own for every cell, and are on in `quantize`.
    assert way.options == {"equalize": False, "bias_correction": False}
    assert recipe.excluded == ("val_split.json",)


def test_sets_are_each_size_with_each_seed():
    recipe = read(
        sets=[
            {"strategy": "stratified", "sizes": [300, 500], "seeds": [0, 1]},
            {"strategy": "uniform", "sizes": [300, 500], "seeds": [0, 1]},
            {"name": "night", "strategy": "balanced", "sizes": 7, "by": "lighting"},
        ]
    )
    assert [asked.label for asked in asked_sets(recipe)] == [
        "stratified 300, seed 0",
        "stratified 300, seed 1",
        "stratified 500, seed 0",
        "stratified 500, seed 1",
        "uniform 300",  # in which a seed decides nothing
        "uniform 500",
        "night 7, seed 42",
    ]


def test_quantizers_are_every_combination_of_the_lists():
    assert labels({"method": ["minmax", "mse"], "activations": ["uint8", "int8"], "equalize": [False, True]}) == [
        "minmax uint8",
        "minmax uint8 equalize",
        "minmax int8",
        "minmax int8 equalize",
        "mse uint8",
        "mse uint8 equalize",
        "mse int8",
        "mse int8 equalize",
    ]
    assert labels({"equalize": [False, True]}) == ["plain", "equalize"]
    assert labels({"name": "ours", "method": "mse"}, {"method": ["percentile"], "percentile": [99.9, 99.99]}) == [
        "ours",
        "percentile 99.9",
        "percentile 99.99",
    ]


def test_options_that_are_lists_are_varied_by_lists_of_lists():
    one, other = asked_quantizers(read(quantizers=[{"wide": [["a", "b"], []]}]))
    assert (one.label, one.options["wide"]) == ("wide a+b", ["a", "b"])
    assert (other.label, other.options["wide"]) == ("plain", [])
    (alone,) = asked_quantizers(read(quantizers=[{"wide": ["a", "b"]}]))
    assert (alone.label, alone.options["wide"]) == ("onnxruntime", ["a", "b"])


def test_cells_are_every_set_with_every_quantizer():
    recipe = read(
        sets=[{"strategy": "random", "sizes": [1, 2]}], quantizers=[{"method": ["minmax", "mse"]}, {"name": "b"}]
    )
    found = cells(asked_sets(recipe), asked_quantizers(recipe))
    assert [cell.label for cell in found] == [
        f"random {size}, seed 42, {way}" for size in (1, 2) for way in ("minmax", "mse", "b")
    ]


@pytest.mark.parametrize(
    ("options", "profile", "allowed"),
    [
        ({}, "", None),
        ({}, "per-tensor", True),
        ({"per_channel": True}, "per-tensor", False),
        ({"per_channel": True}, "qnn-htp", True),
        ({}, "vitis-dpu", False),
        ({"activations": "int8", "symmetric": True}, "vitis-dpu", False),
        ({"activations": "int8", "symmetric": True, "power_of_two": True}, "vitis-dpu", True),
        ({"wide": ["a"]}, "per-tensor", False),
        ({"wide": ["a"]}, "qnn-htp", True),
        ({"activations": "uint8"}, "litert", False),
        ({"profile": "litert"}, "litert", True),
    ],
)
def test_what_an_npu_can_run(options, profile, allowed):
    (way,) = asked_quantizers(read(quantizers=[options]))
    assert way.allowed(profile) is allowed


def test_an_npu_with_a_fixed_softmax_runs_no_other(tmp_path):
    profile = tmp_path / "npu.toml"
    profile.write_text("fixed_softmax = true\n")
    plain, fixed = asked_quantizers(read(quantizers=[{"name": "a"}, {"name": "b", "profile": str(profile)}]))
    assert plain.allowed(str(profile)) is False
    assert plain.allowed(str(profile), softmax=False) is True
    assert fixed.allowed(str(profile)) is True


def test_what_networks_are_judged_on_is_always_kept_out():
    recipe = read(data={"scan": "s", "exclude": ["test.json", "val_split.json"]})
    assert recipe.excluded == ("val_split.json", "test.json")


def test_what_needs_passes_of_its_own_is_known():
    merged = {way.label: way.merged for way in asked_quantizers(read(quantizers=[{"bias_correction": [False, True]}]))}
    assert merged == {"plain": True, "bias correction": False}


def test_paths_count_from_the_recipes_folder(tmp_path):
    (tmp_path / "mine.toml").write_text(
        '[network]\nmodel = "net.onnx"\n[data]\nscan = "out/scan"\nexclude = ["beside.json", "under_root.json"]\n'
        '[[sets]]\nstrategy = "balanced"\nsizes = 3\nweights = "w.toml"\n'
    )
    for name in ("beside.json", "w.toml"):
        (tmp_path / name).write_text("[]")
    recipe = read_study_recipe(tmp_path / "mine.toml")
    assert (recipe.network.model, recipe.data.scan) == (str(tmp_path / "net.onnx"), str(tmp_path / "out/scan"))
    assert recipe.excluded == ("val_split.json", str(tmp_path / "beside.json"), "under_root.json")
    assert recipe.sets[0].options == {"weights": str(tmp_path / "w.toml")}
    assert json.loads(json.dumps(recipe.as_dict()))["sets"][0]["sizes"] == [3]


def test_the_shipped_example_is_the_guides_plan():
    recipe = read_study_recipe(Path(__file__).parents[2] / "docs" / "examples" / "guide_study.toml")
    groups = dict.fromkeys(asked.group for asked in asked_sets(recipe))
    assert list(groups) == ["random 100", "stratified 300", "stratified 500"]
    assert len(asked_sets(recipe)) >= 3 * 3
    assert [way.label for way in asked_quantizers(recipe)] == [
        "minmax",
        "minmax equalize",
        "percentile",
        "percentile equalize",
    ]


# Mistakes

SET = {"strategy": "random", "sizes": 10}


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"network": {}}, "[network] has no model; expected the FP32 ONNX network"),
        ({"data": {}}, "[data] has no scan; expected the folder of a finished scan"),
        ({"sets": None}, "sets is missing; expected at least one table [[sets]]"),
        ({"sets": []}, "sets = []; expected at least one table [[sets]]"),
        ({"sets": {"strategy": "random"}}, 'sets = {"strategy": "random"}; expected at least one table [[sets]]'),
        ({"sets": [{"sizes": 3}]}, "[[sets]] has no strategy; expected such as stratified"),
        ({"sets": [SET, {"strategy": "random"}]}, "table 2: [[sets]] has no sizes; expected numbers of frames"),
        ({"sets": [SET | {"sizes": []}]}, "[[sets]] sizes = []; expected at least one number, each once"),
        ({"sets": [SET | {"sizes": [3, 0]}]}, "[[sets]] sizes = [3, 0]; expected a whole number from 1"),
        ({"sets": [SET | {"sizes": [3, 3]}]}, "[[sets]] sizes = [3, 3]; expected at least one number, each once"),
        ({"sets": [SET | {"seed": 3}]}, '[[sets]] has the key "seed", which is unknown (did you mean "seeds"?)'),
        ({"sets": [SET | {"name": "a/b"}]}, '[[sets]] name = "a/b"; expected a name of letters, digits, - and _'),
        ({"sets": [SET | {"candidates": 9}]}, "[[sets]] has candidates, which only strategy coverage chooses among"),
        ({"sets": [SET, SET]}, "[[sets]] ask for random 10, seed 42 twice"),
        ({"sets": [SET, {"name": "random", "strategy": "first", "sizes": 3}]}, "two [[sets]] are called random"),
        ({"quantizers": [{"method": []}]}, "[[quantizers]] method = []; expected a value, or a list of at least one"),
        ({"quantizers": [{"method": "minmaks"}]}, '[[quantizers]] 1 (onnxruntime): method "minmaks": expected minmax'),
        ({"quantizers": [{"methods": ["mse"]}]}, "the backend onnxruntime has no option 'methods'"),
        ({"quantizers": [{}, {"backend": "npu"}]}, '[[quantizers]] 2 (npu): the backend "npu" is unknown'),
        ({"quantizers": [{}, {}]}, "two [[quantizers]] are called onnxruntime"),
        ({"evaluation": {"resamples": 3}}, "[evaluation] resamples = 3; expected a whole number from 100"),
        ({"evaluation": {"block": 0}}, "[evaluation] block = 0; expected a whole number from 1"),
        ({"evaluation": {"block": "recordings"}}, '[evaluation] block = "recordings"; expected a whole number from 1'),
        ({"data": {"scan": "s", "min_gap": -1}}, "[data] min_gap = -1; expected a whole number from 0"),
        ({"evaluation": {"block": "all"}}, 'from 1 to 10000000, or "recording"'),
        ({"data": {"scan": "s", "min_valid": -1}}, 'or a share such as "1%"'),
        ({"quantizers": [{"method": ["mse", "mse"]}]}, 'method = ["mse", "mse"]; expected each value once'),
        ({"sets": [SET | {"bins": 3}]}, "[[sets]] bins = 3; expected a list of numbers"),
        ({"sets": [SET | {"bins": [0, 10**400]}]}, "expected a list of numbers"),
        ({"sets": [SET | {"names": 3}]}, "[[sets]] names = 3; expected a string, or a list of them"),
        ({"sets": [SET | {"by": 3}]}, "[[sets]] by = 3; expected a string, or a list of them"),
        ({"sets": [SET | {"by": [["x"]]}]}, '[[sets]] by = [["x"]]; expected a string, or a list of them'),
        ({"sets": [SET | {"ratios": 5}]}, "[[sets]] ratios = 5; expected a list of numbers"),
        ({"sets": [SET | {"weights": 3}]}, "[[sets]] weights = 3; expected the path of a weight table"),
        (
            {"sets": [{"name": "a", **SET, "seeds": 4}, {"name": "a_10_seed", "strategy": "first", "sizes": 4}]},
            "the sets a 10, seed 4 and a_10_seed 4 would both lie in a_10_seed_4.json",
        ),
        ({"quantizers": [{"equalize": "no"}]}, 'equalize = "no": expected true or false'),
        ({"quantizers": [{"symmetric": "false"}]}, 'symmetric = "false": expected true or false'),
        ({"quantizers": [{"method": "percentile", "percentile": "99.9"}]}, 'percentile = "99.9": expected a number'),
        ({"quantizers": [{"wide": 3}]}, "wide = 3: expected names of tensors"),
        ({"quantizers": [{"profile": 3}]}, "profile = 3: expected the name of a profile"),
        ({"networks": {}}, "the section [networks], which is unknown"),
    ],
)
def test_a_mistake_names_key_found_and_expected(sections, says):
    given = {name: value for name, value in (LEAST | sections).items() if value is not None}
    with pytest.raises(NcdbError) as caught:
        _checked(given)
    said = str(caught.value)
    assert said.startswith("mine.toml: ")
    assert says in said
    assert "\n" not in said


def _checked(given: dict[str, Any]) -> None:
    recipe = StudyRecipe.from_dict(given, "mine.toml")
    asked_sets(recipe)
    asked_quantizers(recipe)
