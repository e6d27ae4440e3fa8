"""What a recipe names is read, checked and told before anything is trained."""

import datetime
import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from helpers.deaths import Killed, at_write  # noqa: E402
from helpers.exports import contents  # noqa: E402
from helpers.finetuning import TRAIN, VALIDATION, Tiny, planned, trainer, write_data  # noqa: E402
from helpers.trees import write_split  # noqa: E402

from ncdb_dask.errors import NcdbError, PlanError  # noqa: E402

TWO = {"penalty": {"kind": "channel-mean", "lambda": [1e-8, 0.5]}}


def refused(*given, **sections) -> str:
    with pytest.raises(NcdbError) as caught:
        planned(*given, **sections)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def keys_of(path):
    return [(item["dataset_root"], item["new_filename"]) for item in json.loads(path.read_text())]


# What is read


def test_a_plan_tells_what_would_be_done_and_writes_nothing(root, tmp_path):
    plan = planned(root, tmp_path / "out", **TWO)
    for part in (
        "helpers.finetuning:tiny, weights: random",
        f"{root}: {TRAIN} frames to train, {VALIDATION} to validate",
        "channel-mean, lambda 1e-08, 0.5",
        "2 epochs, AdamW at 0.01 (constant)",
        "100 drawn from the training split",
        f"{tmp_path}/out",
    ):
        assert part in plan.text()
    held = json.loads(json.dumps(plan.as_dict()))
    assert (held["train"], held["validation"]) == (TRAIN, VALIDATION)
    assert held["trainings"] == {"lambda_1e-08": 1e-8, "lambda_0.5": 0.5}
    assert {name.rpartition("/")[2] for name in held["inputs"]} == {"train_split.json", "val_split.json"}
    assert not (tmp_path / "out").exists()


def test_validation_on_frames_of_the_training_is_refused(tmp_path):
    root = write_data(tmp_path)
    train = keys_of(root / "train_split.json")
    write_split(root, [*keys_of(root / "val_split.json"), *train[2:4]], "val_split.json")
    said = refused(root, tmp_path / "out")
    assert said.startswith("2 frames are in the splits of both training and validation, such as ")
    assert train[2][1] in said


def test_an_empty_split_is_refused(tmp_path):
    root = write_data(tmp_path)
    write_split(root, [], "val_split.json")
    assert "val_split.json: is an empty list" in refused(root, tmp_path / "out")


def test_what_is_named_must_be_there(root, tmp_path):
    assert "nowhere" in refused(root, tmp_path / "out", data={"root": str(tmp_path / "nowhere")})
    assert "no.json" in refused(root, tmp_path / "out", data={"train": ["no.json"]})
    assert "no.toml" in refused(root, tmp_path / "out", network={"model_spec": str(tmp_path / "no.toml")})
    penalty = {"kind": "branch-range", "report": str(tmp_path / "no.report.json")}
    said = refused(root, tmp_path / "out", penalty=penalty)
    assert f"[penalty] report {tmp_path}/no.report.json: cannot be read (No such file" in said


def test_protocol_and_input_are_those_of_the_model_file(tmp_path):
    root = write_data(tmp_path, evaluation={"min_depth": 2.0, "max_depth": 9.0, "scaling": "median"}, layout="nhwc")
    plan = planned(root, tmp_path / "out", data={"depth_scale": 1000.0, "stretch": True})
    assert (plan.rules.min_depth, plan.rules.max_depth, plan.rules.scaling) == (2.0, 9.0, "median")
    assert plan.train.spec.layout == plan.validation.spec.layout == "nhwc"
    options = plan.train.options
    assert (options.depth_scale, options.allow_8bit, options.stretch) == (1000.0, True, True)


# The folder


def test_a_folder_that_holds_something_else_is_refused(root, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.png").write_bytes(b"")
    said = refused(root, tmp_path / "photos")
    assert said == f"{tmp_path}/photos: holds holiday.png, which no fine-tuning left; name a new folder"
    # It may have been put there since.
    plan = planned(root, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "holiday.png").write_bytes(b"")
    with pytest.raises(PlanError, match=r"holds holiday\.png"):
        plan.begin()
    assert [*contents(tmp_path / "out")] == ["holiday.png"]


def test_the_record_of_a_driver_is_nothing_else(root, tmp_path):
    (tmp_path / "out" / "_driver").mkdir(parents=True)
    planned(root, tmp_path / "out").begin()
    assert {*contents(tmp_path / "out")} == {"recipe.json", "calibration.json"}


def test_it_begins_again_whenever_it_was_killed(root, tmp_path):
    planned(root, tmp_path / "whole").begin()
    expected = contents(tmp_path / "whole")
    for number in (1, 2):
        out = tmp_path / str(number)
        with pytest.raises(Killed), at_write(number):
            planned(root, out).begin()
        planned(root, out).begin()
        assert contents(out) == expected


def test_a_calibration_set_is_drawn_from_the_training_split(root, tmp_path):
    plan = planned(root, tmp_path / "out", quantization={"size": 5})
    plan.begin()
    (path,) = plan.calibration
    drawn = keys_of(tmp_path / "out" / "calibration.json")
    assert path == str(tmp_path / "out" / "calibration.json")
    assert len({*drawn}) == 5
    assert {*drawn} < {*keys_of(root / "train_split.json")}
    planned(root, tmp_path / "again", quantization={"size": 5}).begin()
    assert (tmp_path / "again" / "calibration.json").read_bytes() == (tmp_path / "out/calibration.json").read_bytes()
    planned(root, tmp_path / "other", quantization={"size": 5}, training={"seed": 1}).begin()
    assert keys_of(tmp_path / "other" / "calibration.json") != drawn


def test_a_calibration_set_of_ones_own_is_taken(root, tmp_path):
    (root / "mine.json").write_bytes((root / "val_split.json").read_bytes())
    plan = planned(root, tmp_path / "out", quantization={"split": ["mine.json"]})
    plan.begin()
    assert plan.calibration == ("mine.json",)
    assert {*contents(tmp_path / "out")} == {"recipe.json"}
    assert "mine.json" in plan.text()


def test_another_recipe_is_refused_and_nothing_is_written_over(root, tmp_path):
    out = tmp_path / "out"
    trainer(planned(root, out, **TWO)).run()
    before = contents(out)
    for other in ({"training": {"learning_rate": 0.02}}, {"loss": {"kind": "l1"}}, {"data": {"flip": True}}):
        plan = planned(root, out, **TWO | other)
        with pytest.raises(PlanError, match=r"holds a training of another recipe, network or data; .* --fresh"):
            plan.begin()
        assert contents(out) == before
    # Were the first lambda a new one, the second would still be found.
    changed = {"penalty": {"kind": "channel-mean", "lambda": [7.0, 1e-8]}, "training": {"learning_rate": 0.02}}
    with pytest.raises(PlanError, match="lambda_1e-08: holds a training of another recipe"):
        planned(root, out, **changed).begin()
    assert contents(out) == before


def test_fresh_forgets_an_earlier_training(root, tmp_path):
    out = tmp_path / "out"
    trainer(planned(root, out)).run()
    other = {"training": {"learning_rate": 0.02, "epochs": 1}}
    made = trainer(planned(root, out, fresh=True, **other))
    assert not list(out.rglob("*.pt"))
    made.run()
    anew = trainer(planned(root, tmp_path / "anew", **other))
    anew.run()
    for name, value in anew.network.state_dict().items():
        assert torch.equal(made.network.state_dict()[name], value)


# Identity


IDENTITY = {
    "lambda": {"penalty": {"kind": "channel-mean", "lambda": 1e-7}},
    "kind": {"penalty": {"kind": "channel-range", "lambda": 1e-8}},
    "seed": {"training": {"seed": 1}},
    "schedule": {"training": {"schedule": "cosine"}},
    "loss": {"loss": {"smoothness": 0.1}},
    "batch": {"data": {"batch_size": 2}},
    "flip": {"data": {"flip": True}},
    "variants": {"data": {"variants": ["newest_depth_maps"]}},
    "arguments": {"network": {"arguments": {"dropout": 0.1}}},
}
SAME = {
    "workers": {"data": {"workers": 7}},
    "device": {"training": {"device": "cuda", "amp": False}},
    "export": {"export": {"opset": 20}},
    "quantization": {"quantization": {"size": 7}},
    "evaluation": {"evaluation": {"resamples": 100}},
    "further lambdas": {"penalty": {"kind": "channel-mean", "lambda": [1e-8, 1e-7]}},
}
BASE = {"penalty": {"kind": "channel-mean", "lambda": 1e-8}}


def identity(root, out, sections):
    plan = planned(root, out, **BASE | sections)
    return plan.identity(plan.recipe.penalty.lambdas[0])


def test_what_shapes_the_result_makes_another_training_and_nothing_else(root, tmp_path):
    base = identity(root, tmp_path / "out", {})
    shaping = {name: identity(root, tmp_path / "out", sections) for name, sections in IDENTITY.items()}
    assert len({base, *shaping.values()}) == len(shaping) + 1
    assert {name: identity(root, tmp_path / "elsewhere", sections) for name, sections in SAME.items()} == dict.fromkeys(
        SAME, base
    )


def test_other_frames_weights_and_model_files_are_another_training(tmp_path):
    root = write_data(tmp_path)
    checkpoint = {"network": {"checkpoint": str(tmp_path / "net.pt")}}
    torch.save(Tiny().state_dict(), tmp_path / "net.pt")
    base, random = identity(root, tmp_path / "out", checkpoint), identity(root, tmp_path / "out", {})
    found = {base, random}
    (tmp_path / "net.pt").rename(tmp_path / "renamed.pt")
    renamed = {"network": {"checkpoint": str(tmp_path / "renamed.pt")}}
    assert identity(root, tmp_path / "out", renamed) == base
    torch.save(Tiny().state_dict(), tmp_path / "net.pt")
    found.add(identity(root, tmp_path / "out", checkpoint))
    write_split(root, keys_of(root / "train_split.json")[1:])
    found.add(identity(root, tmp_path / "out", {}))
    text = (tmp_path / "tiny.toml").read_text()
    (tmp_path / "tiny.toml").write_text(text.replace("factor = 20", "factor = 21"))
    found.add(identity(root, tmp_path / "out", {}))
    assert len(found) == 5


def test_another_report_of_the_penalty_is_another_training(root, tmp_path):
    report = tmp_path / "int8.report.json"
    sections = {"penalty": {"kind": "branch-range", "report": str(report)}}
    found = set()
    for held in ("{}", "[]"):
        report.write_text(held)
        plan = planned(root, tmp_path / "out", **sections)
        assert str(report) in plan.inputs
        found.add(plan.identity(1e-8))
    assert len(found) == 2


def test_arguments_of_any_kind_are_told_and_told_apart(root, tmp_path):
    """TOML has dates, which JSON has not."""
    days = [datetime.date(2026, 1, day) for day in (1, 2)]
    plans = [
        planned(root, tmp_path / "out", network={"factory": "helpers.finetuning:dated", "arguments": {"of": day}})
        for day in days
    ]
    assert len({plan.identity(0.0) for plan in plans}) == 2
    json.dumps(plans[0].as_dict())
    plans[0].begin()
    assert "2026-01-01" in (tmp_path / "out" / "recipe.json").read_text()


def test_a_frame_without_a_key_is_not_drawn(root, tmp_path):
    plan = planned(root, tmp_path / "out")
    nameless = replace(plan.train.frames[0], dataset_root=None, stem=None, status="bad_entry")
    plan = replace(plan, train=replace(plan.train, frames=[nameless, *plan.train.frames[1:]]))
    plan.begin()
    assert sorted(keys_of(tmp_path / "out" / "calibration.json")) == sorted(keys_of(root / "train_split.json")[1:])


def test_fresh_leaves_what_somebody_else_has_put_there(root, tmp_path):
    out = tmp_path / "out"
    planned(root, out).begin()
    (out / "lambda_9").mkdir()
    (out / "before").mkdir()
    (out / "mine").mkdir()
    (out / "mine" / "thesis.tex").write_text("\\end")
    (out / "notes.txt").write_text("keep")
    (out / "report.json").write_text("{}")
    replace(planned(root, out), fresh=True).begin()
    assert {*contents(out)} == {"recipe.json", "calibration.json", "mine/thesis.tex", "notes.txt"}
    assert not (out / "lambda_9").exists()
    assert not (out / "before").exists()
