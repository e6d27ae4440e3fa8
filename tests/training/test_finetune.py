"""From a plan to trained networks: penalties and devices, and what becomes of each lambda; exports have their tests."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from helpers import finetuning  # noqa: E402
from helpers.finetuning import (  # noqa: E402
    CPU,
    Tiny,
    assert_same_training,
    joined,
    planned,
    quiet,
    trainer,
    weights_in,
    write_data,
)
from helpers.torch_networks import int8  # noqa: E402

from ncdb_dask.errors import NcdbError, TrainingError  # noqa: E402
from ncdb_dask.training import finetune  # noqa: E402
from ncdb_dask.training.finetune import device_of, train  # noqa: E402
from ncdb_dask.training.layers import find_layers  # noqa: E402
from ncdb_dask.training.penalty import channel_mean_variance, channel_range_variance  # noqa: E402

ONE_STEP = {"data": {"batch_size": 8}, "training": {"epochs": 1}}


@pytest.fixture
def exported(monkeypatch):
    """Networks that would be exported, by the name of their folder."""
    held = {}

    def export(network, spec, recipe, folder, pictures):
        held[Path(folder.path).name] = {name: one.clone() for name, one in network.network.state_dict().items()}
        return 0.0

    monkeypatch.setattr(finetune, "export_onnx", export)
    return held


def trained(root, out, progress=quiet, **sections):
    plan = planned(root, out, **sections)
    plan.begin()
    return list(train(plan, progress))


# Penalties


@pytest.mark.parametrize(
    ("kind", "measured"),
    [
        ("channel-mean", lambda network, example: channel_mean_variance(network)),
        ("channel-range", lambda network, example: channel_range_variance(find_layers(network, example))),
        ("none", lambda network, example: torch.zeros(())),
    ],
)
def test_the_penalty_of_a_step_is_that_of_the_recipe(kind, measured, root, tmp_path, exported):
    penalty = {"kind": kind} if kind == "none" else {"kind": kind, "lambda": 0.5}
    _, one = trained(root, tmp_path / "out", **ONE_STEP, penalty=penalty)
    torch.manual_seed(42)
    network = Tiny().eval()
    expected = measured(network, torch.zeros(1, 3, 12, 16)).item()
    assert one.history[1]["penalty"] == pytest.approx(expected, rel=1e-5)
    assert (expected > 0) is (kind != "none")


@pytest.mark.parametrize(("kind", "name"), [("channel-mean", "first.weight"), ("channel-range", "first")])
def test_patterns_choose_what_is_penalized(kind, name, root, tmp_path, exported):
    found = []
    for number, patterns in enumerate([{}, {"include": name}, {"exclude": [name]}]):
        penalty = {"kind": kind, "lambda": 0.5} | patterns
        found.append(trained(root, tmp_path / str(number), **ONE_STEP, penalty=penalty)[1].history[1]["penalty"])
    whole, inside, outside = found
    # The last layer has one channel, which has no variance.
    assert inside == pytest.approx(whole)
    assert outside == 0 < inside
    with pytest.raises(NcdbError, match="nosuch"):
        trained(root, tmp_path / "none", penalty={"kind": kind, "lambda": 0.5, "include": "nosuch"})


def test_branches_that_equalization_could_not_balance_are_penalized(tmp_path, exported):
    root = write_data(tmp_path)
    report = int8(joined().eval(), tmp_path).out
    network = {"factory": "helpers.finetuning:joined"}
    model = {"model_spec": str(tmp_path / "tiny.toml")}
    penalties = []
    for factor in (0.0, 3.0):
        penalty = {"kind": "branch-range", "lambda": factor, "report": str(report)}
        _, one = trained(root, tmp_path / f"out{factor}", network=network | model, penalty=penalty)
        penalties.append([row["penalty"] for row in one.history[1:]])
    without, penalized = penalties
    assert without[0] > 1
    assert penalized[1] < penalized[0]
    assert penalized[1] < without[1]


def test_a_report_in_which_all_is_balanced_is_refused(root, tmp_path, exported, monkeypatch):
    report = tmp_path / "int8.report.json"
    report.write_text("{}")
    monkeypatch.setattr(finetune, "read_unbalanced", lambda *_: [])
    with pytest.raises(TrainingError, match=r"equalization has balanced everything there.*choose another penalty"):
        trained(root, tmp_path / "out", penalty={"kind": "branch-range", "report": str(report)})


# Networks


def test_each_lambda_begins_at_the_same_network_and_is_its_best_epoch(root, tmp_path, exported):
    out = tmp_path / "out"
    penalty = {"penalty": {"kind": "channel-range", "lambda": [0.0, 5.0]}}
    before, plain, penalized = trained(root, out, **penalty)
    torch.manual_seed(42)
    given = Tiny()
    assert (before.name, before.factor, before.epoch, before.history) == ("before", None, 0, [])
    assert [one.name for one in (plain, penalized)] == ["lambda_0", "lambda_5"]
    for one in (before, plain, penalized):
        assert one.network == f"{out}/{one.name}/network.onnx"
        assert [layer.name for layer in one.layers] == ["first", "last"]
    assert all(torch.equal(exported["before"][name], value) for name, value in given.state_dict().items())
    for one in (plain, penalized):
        held = weights_in(out / one.name / "best.pt")
        assert all(torch.equal(exported[one.name][name], value) for name, value in held.items())
        assert one.epoch == torch.load(out / one.name / "best.pt", weights_only=True)["epoch"]
        assert min(one.history[1:], key=lambda row: row["abs_rel"])["epoch"] == one.epoch
    # Lambda 0 is the network without a penalty; the other one has drawn its channels together.
    alone = trainer(planned(root, tmp_path / "alone"))
    alone.run()
    for name, value in weights_in(out / "lambda_0" / "last.pt").items():
        assert torch.equal(alone.network.network.state_dict()[name], value)
    assert plain.history[0]["abs_rel"] == penalized.history[0]["abs_rel"]
    assert penalized.history[-1]["penalty"] < plain.history[-1]["penalty"]
    # Alone or beside others, a lambda comes to the same.
    trained(root, tmp_path / "single", penalty={"kind": "channel-range", "lambda": 5.0})
    assert_same_training(out / "lambda_5", tmp_path / "single" / "lambda_5")


def test_a_network_without_anything_to_train_is_refused(root, tmp_path, exported):
    with pytest.raises(TrainingError, match="has no parameter that can be trained"):
        trained(root, tmp_path / "out", network={"factory": "helpers.finetuning:frozen"})


def test_no_frame_of_validation_that_can_be_read_is_an_error(tmp_path, exported):
    root = write_data(tmp_path)
    for bad in json.loads((root / "val_split.json").read_text()):
        (root / bad["dataset_root"] / "image_a6" / f"{bad['new_filename']}.png").unlink()
    with pytest.raises(TrainingError, match="no frame of the validation split can be read; the first: "):
        trained(root, tmp_path / "out")


# Devices


def test_devices():
    assert device_of("cpu") == CPU
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cud", "cuda:99", "fpga"])
def test_a_device_that_is_not_there(name, root, tmp_path):
    with pytest.raises(TrainingError) as caught:
        trained(root, tmp_path / "out", training={"device": name})
    said = str(caught.value)
    assert said.startswith(f"[training] device = {name!r}: ")
    assert said.endswith("expected auto, cpu, or a device that this machine and its torch have")
    assert "\n" not in said


def test_a_calibration_set_that_is_not_there_is_told_before_training(root, tmp_path):
    for section in ("quantization", "evaluation"):
        with pytest.raises(NcdbError, match=r"nowhere.json: no such split file"):
            planned(root, tmp_path / "out", **{section: {"split": ["nowhere.json"]}})


def test_a_factory_that_builds_another_network_is_another_training(root, tmp_path, monkeypatch):
    one = planned(root, tmp_path / "out").identity(0.0)
    assert planned(root, tmp_path / "out").identity(0.0) == one
    monkeypatch.setattr(finetuning, "tiny", lambda: torch.nn.Sequential(finetuning.Tiny(0.2)))
    assert planned(root, tmp_path / "out").identity(0.0) != one


def test_planning_draws_nothing_from_torchs_random_numbers(root, tmp_path):
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    planned(root, tmp_path / "out")
    assert torch.equal(torch.rand(3), wanted)
