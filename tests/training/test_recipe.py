"""Recipes: what they may hold, what they say of mistakes, and from where their paths count."""

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.errors import NcdbError
from ncdb_dask.training.recipe import Recipe, read_recipe
from ncdb_dask.training.recipe_keys import KEYS

ROOT = {"root": "/data/ncdb"}
STRANGER = {"factory": "mine:net", "checkpoint": "net.pt", "model_spec": "net.toml"}


def read(**sections):
    return Recipe.from_dict({"data": ROOT} | sections, "mine.toml")


def refused(**sections) -> str:
    with pytest.raises(NcdbError) as caught:
        read(**sections)
    said = str(caught.value)
    assert said.startswith("mine.toml: ")
    assert "\n" not in said
    return said


# Defaults and values


def test_a_root_is_enough():
    recipe = read()
    assert (recipe.network.checkpoint, recipe.network.model_spec) == ("shipped", "shipped")
    assert (recipe.data.train, recipe.data.validation) == (("train_split.json",), ("val_split.json",))
    assert (recipe.penalty.kind, recipe.penalty.lambdas) == ("channel-mean", (1e-8,))


def test_every_key_has_a_field_and_every_field_a_key():
    recipe = read()
    for section in fields(recipe):
        held = {one.name for one in fields(getattr(recipe, section.name))}
        assert {"lambdas" if key == "lambda" else key for key in KEYS[section.name]} == held
    assert {*KEYS} == {section.name for section in fields(recipe)}


def test_values_arrive_and_survive_json():
    recipe = read(
        network=STRANGER | {"arguments": {"depth": 18}, "output": ["inv_depths.0"], "prefix": "net."},
        data=ROOT | {"train": ["a.json", "b.json"], "depth_scale": 1000, "flip": True},
        loss={"kind": "berhu", "smoothness": 0.1},
        penalty={"kind": "channel-range", "lambda": [0, 1e-3], "include": "decoder.*", "exclude": ["*.norm"]},
        training={"epochs": 7, "schedule": "cosine", "learning_rate": 1},
        export={"opset": 20, "dynamic": True},
        quantization={"size": 3, "options": {"method": "mse"}},
        evaluation={"split": "test.json", "resamples": 100},
    )
    held = json.loads(json.dumps(recipe.as_dict()))
    assert held["network"]["arguments"] == {"depth": 18}
    assert held["network"]["output"] == ["inv_depths.0"]
    assert held["data"]["train"] == ["a.json", "b.json"]
    assert held["data"]["depth_scale"] == 1000
    assert held["loss"] == {"kind": "berhu", "smoothness": 0.1}
    assert held["penalty"]["lambdas"] == [0, 1e-3]
    assert held["penalty"]["include"] == ["decoder.*"]
    assert held["penalty"]["exclude"] == ["*.norm"]
    assert (held["training"]["epochs"], held["training"]["schedule"]) == (7, "cosine")
    assert held["export"] == {"opset": 20, "dynamic": True}
    assert held["quantization"]["options"] == {"method": "mse"}
    assert held["evaluation"] == {"split": ["test.json"], "resamples": 100}


def test_one_lambda_needs_no_list():
    assert read(penalty={"lambda": 1e-7}).penalty.lambdas == (1e-7,)
    assert read(penalty={"kind": "none"}).penalty.lambdas == (0.0,)


# Mistakes


@pytest.mark.parametrize(
    ("section", "key", "near"),
    [
        ("training", "learning_rat", "learning_rate"),
        ("penalty", "lambdas", "lambda"),
        ("data", "batchsize", "batch_size"),
        ("network", "check_point", "checkpoint"),
    ],
)
def test_an_unknown_key_names_the_one_that_is_near(section, key, near):
    said = refused(**{section: (ROOT if section == "data" else {}) | {key: 1}})
    assert f"[{section}]" in said
    assert key in said
    assert f'"{near}"' in said


def test_an_unknown_section_names_the_one_that_is_near():
    assert '"training"' in refused(trainig={"epochs": 1})


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("training", "epochs", 0, "a whole number from 1 to"),
        ("training", "epochs", 2.0, "a whole number"),
        ("training", "epochs", True, "a whole number"),
        ("training", "learning_rate", "1e-6", "a number from 0 to"),
        ("training", "learning_rate", float("nan"), "a number from 0 to"),
        ("training", "schedule", "cosin", 'did you mean "cosine"'),
        ("training", "amp", 1, "true or false"),
        ("training", "patience", -1, "a whole number from 0"),
        ("loss", "kind", "mse", "one of"),
        ("loss", "smoothness", -0.1, "a number from 0"),
        ("penalty", "kind", "channel-means", 'did you mean "channel-mean"'),
        ("penalty", "lambda", [], "at least one number, each once"),
        ("penalty", "lambda", [1e-8, 1e-8], "at least one number, each once"),
        ("penalty", "lambda", [1e-8, "1e-9"], "or a list of them"),
        ("penalty", "lambda", -1e-8, "or a list of them"),
        ("penalty", "include", [], "a string, or a list of them"),
        ("penalty", "include", ["a", 1], "a string, or a list of them"),
        ("network", "arguments", ["a"], "a table such as"),
        ("network", "factory", "", "a string"),
        ("network", "trust_checkpoint", "yes", "true or false"),
        ("export", "opset", 17, "a whole number from 18 to 24"),
        ("quantization", "size", 0, "a whole number from 1"),
        ("evaluation", "resamples", 10, "a whole number from 100"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(section, key, value, expected):
    said = refused(**{section: {key: value}})
    assert f"[{section}] {key} = " in said
    assert expected in said


def test_factors_whose_folders_would_have_one_name_are_refused():
    assert "each once" in refused(penalty={"lambda": [1e-8, 1.0000001e-8]})
    assert "each once" in refused(penalty={"lambda": [0.0, -0.0]})


def test_a_data_set_is_needed():
    with pytest.raises(NcdbError, match=r"mine.toml: \[data\] has no root; expected the folder of the data set"):
        Recipe.from_dict({"training": {"epochs": 1}}, "mine.toml")


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"network": {"factory": "mine:net"}}, "[network] mine:net needs checkpoint"),
        ({"network": STRANGER | {"model_spec": "shipped"}}, "[network] mine:net needs model_spec"),
        ({"network": {"arguments": {"depth": 18}}}, "that of this package has none"),
        ({"penalty": {"kind": "branch-range"}}, "'branch-range' needs report"),
        ({"penalty": {"report": "int8.report.json"}}, "'channel-mean' has report, which it does not use"),
        ({"penalty": {"kind": "none", "lambda": 1e-8}}, "'none' has lambda, which it does not use"),
        ({"penalty": {"kind": "none", "include": "a"}}, "takes neither include nor exclude"),
        ({"penalty": {"kind": "branch-range", "report": "r", "exclude": "a"}}, "takes neither include nor exclude"),
    ],
)
def test_what_would_be_without_effect_is_refused(sections, says):
    assert says in refused(**sections)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYED = st.sampled_from([(section, key) for section, keys in KEYS.items() for key in keys])


@given(KEYED, VALUES)
def test_whatever_a_key_holds_is_taken_or_refused_in_one_sentence(place, value):
    section, key = place
    values = {"data": ROOT, section: (ROOT if section == "data" else {}) | {key: value}}
    said = "mine.toml: "
    try:
        Recipe.from_dict(values, "mine.toml")
    except NcdbError as error:
        said = str(error)
    assert said.startswith("mine.toml: ")
    assert "\n" not in said


# Paths


def test_paths_count_from_the_folder_of_the_recipe(tmp_path, monkeypatch):
    there, here = tmp_path / "there", tmp_path / "here"
    (there / "splits").mkdir(parents=True)
    here.mkdir()
    (there / "splits" / "own.json").write_text("[]")
    (there / "mine.toml").write_text(
        '[network]\nfactory = "mine:net"\ncheckpoint = "net.pt"\nmodel_spec = "../net.toml"\n'
        '[data]\nroot = "data"\nallow_root = ["/mnt/a", "b"]\ntrain = ["splits/own.json", "other.json"]\n'
        '[penalty]\nkind = "branch-range"\nreport = "int8.report.json"\n'
        '[quantization]\nsplit = "splits/own.json"\n[evaluation]\nsplit = "splits/own.json"\n'
    )
    monkeypatch.chdir(here)
    recipe = read_recipe("../there/mine.toml")
    own = str(there / "splits" / "own.json")
    assert recipe.network.checkpoint == str(there / "net.pt")
    assert recipe.network.model_spec == str(tmp_path / "net.toml")
    assert recipe.data.root == str(there / "data")
    assert recipe.data.allow_root == ("/mnt/a", str(there / "b"))
    # What does not lie beside the recipe is looked for under the root.
    assert recipe.data.train == (own, "other.json")
    assert recipe.penalty.report == str(there / "int8.report.json")
    assert recipe.quantization.split == recipe.evaluation.split == (own,)


def test_words_that_stand_for_a_file_and_urls_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = read(data={"root": "s3://bucket/ncdb"}, network=STRANGER | {"checkpoint": "random"})
    assert recipe.data.root == "s3://bucket/ncdb"
    assert recipe.network.checkpoint == "random"
    assert recipe.network.model_spec == str(tmp_path / "net.toml")
    assert read_recipe({"data": {"root": "data"}}).data.root == str(tmp_path / "data")


def test_a_byte_order_mark_is_passed_over(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b'\xef\xbb\xbf[data]\nroot = "/data"\n')
    assert read_recipe(tmp_path / "mine.toml").data.root == "/data"


@pytest.mark.parametrize(
    ("held", "says"),
    [
        (None, "cannot be read (No such file or directory); expected a recipe"),
        (b"[data\n", "is no TOML"),
        (b"\xff\xfe", "is no TOML"),
        (b"data = " + b"[" * 5000 + b"]" * 5000, "is no TOML (nested too deeply)"),
    ],
)
def test_a_file_that_is_no_recipe(held, says, tmp_path):
    path = tmp_path / "mine.toml"
    if held is not None:
        path.write_bytes(held)
    with pytest.raises(NcdbError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}: {says}")
