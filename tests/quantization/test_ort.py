"""The backend ``onnxruntime`` on real pictures: what it makes, what it tells, and what it refuses."""

import errno
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers.exports import sha256
from helpers.quantizing import (
    HEIGHT,
    WIDTH,
    depth_network,
    files_of,
    node_making,
    put_constant,
    started,
    write_model,
)
from helpers.trees import write_split, write_tree
from onnx import ModelProto, numpy_helper

import ncdb_dask
from ncdb_dask.errors import CalibrationError, NcdbError, QuantizationError, SpecError
from ncdb_dask.model.spec import read_spec
from ncdb_dask.quantization import ort, steps
from ncdb_dask.quantization.equalize import Equalized, equalized
from ncdb_dask.quantization.ort import OnnxRuntimeQuantizer
from ncdb_dask.quantization.result import Quantization
from ncdb_dask.quantization.roundings import roundings, scales_of
from ncdb_dask.quantization.steps import SAME, SUBSET
from ncdb_dask.testing import check_quantizer

FRAMES = 6
PLANTED = 100.0
Quantize = Callable[..., Quantization]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_tree(folder, FRAMES)
    return folder


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return write_model(tmp_path / "net.onnx", depth_network(planted=PLANTED))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "int8.onnx"


@pytest.fixture
def quantize(net: Path, out: Path, root: Path) -> Quantize:
    def quantized(model: Path = net, into: Path = out, **options: Any) -> Quantization:
        return ncdb_dask.quantize(model, into, **{"root": root, "split": "train_split.json", **options})

    return quantized


def strict(path: Path) -> dict[str, Any]:
    """JSON as other languages read it: without NaN and Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    report: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return report


def report_of(out: Path) -> dict[str, Any]:
    return strict(out.with_name(f"{out.stem}.report.json"))


def failing(out: Path, message: str, call: Callable[[], object], kind: type[NcdbError] = QuantizationError) -> None:
    """It is refused in one line that says this, and no file appears."""
    before = files_of(out.parent) if out.parent.exists() else {}
    with pytest.raises(kind, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert (files_of(out.parent) if out.parent.exists() else {}) == before
    assert not list(out.parent.glob(".*"))


# What is made


def test_network_model_file_and_report_appear_and_nothing_else(quantize, out, net):
    made = quantize()
    assert made.out == str(out)
    assert {*files_of(out.parent)} == {"int8.onnx", "int8.toml", "int8.report.json", "int8.report.png"}
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert [port.name for port in model.graph.input] == ["image"]
    assert [port.name for port in model.graph.output] == [port.name for port in onnx.load(net).graph.output]
    spec, given = read_spec(out.with_suffix(".toml")), read_spec(net.with_suffix(".toml"))
    assert spec.input == replace(given.input, name="image")
    assert spec.evaluation == given.evaluation


def test_the_network_can_be_evaluated_as_it_lies_there(quantize, out, root, tmp_path):
    quantize()
    found = ncdb_dask.evaluate(out, tmp_path / "evaluation", root=root, split="train_split.json")
    assert found.frames == FRAMES


def test_the_report_tells_everything(quantize, out, net, root):
    made = quantize(method="mse", activations="int8")
    report = report_of(out)
    assert report == json.loads(json.dumps(made.report))
    assert report["format"] == 1
    assert report["backend"] == "onnxruntime"
    assert {"ncdb-dask", "numpy", "onnx", "onnxruntime"} <= {*report["versions"]}
    assert report["model"] == {"path": str(net), "sha256": sha256(net.read_bytes())}
    assert report["output"] == {"path": str(out), "sha256": sha256(out.read_bytes())}
    assert report["root"] == str(root)
    assert report["splits"] == {"train_split.json": sha256((root / "train_split.json").read_bytes())}
    items = json.loads((root / "train_split.json").read_text())
    assert report["frames"] == [[item["dataset_root"], item["new_filename"]] for item in items]
    assert (report["skipped"], report["notes"]) == ([], [])
    quantizer = report["quantizer"]
    assert quantizer["scheme"] == {
        "name": "int8 symmetric",
        "bits": 8,
        "signed": True,
        "symmetric": True,
        "power_of_two": False,
    }
    assert quantizer["options"]["method"] == "mse"
    assert Path(quantizer["statistics"]).parent == out.parent / "statistics"
    assert Path(quantizer["network"]).is_file()
    assert (quantizer["not_finite"], quantizer["constant"]) == ([], [])


def test_every_tensor_has_its_range_and_its_noise(quantize, out, net):
    quantizer = quantize(method="percentile", percentile=99.0).report["quantizer"]
    model, rows = onnx.load(out), {row["tensor"]: row for row in quantizer["tensors"]}
    assert scales_of(model) == {name: (row["scale"], row["zero_point"]) for name, row in rows.items()}
    assert [*rows] == [one.tensor for one in roundings(model)]
    for row in rows.values():
        assert row["method"] == "percentile"
        assert row["low"] <= 0 <= row["high"]
        assert 0 <= row["clipped"] < 0.05
        assert row["bits"] == 8
        assert 5 < row["signal_to_noise_db"] < 70
    assert any(row["clipped"] > 0 for row in rows.values())
    inside = {name for node in onnx.load(net).graph.node for name in node.output}
    left = {row["tensor"] for row in quantizer["not_rounded"]}
    assert {*rows, *left} == inside | {"image"}
    assert not {*rows} & left
    assert all(row["made_by"].split()[0] == "Conv" for row in quantizer["not_rounded"] if "conv3" in row["tensor"])


def test_equalization_undoes_a_planted_spread(quantize, tmp_path):
    on, off = quantize(), quantize(into=tmp_path / "off" / "int8.onnx", equalize=False)
    balanced = on.report["quantizer"]["equalization"]
    assert balanced["used"]
    assert balanced["difference"] < SAME
    assert balanced["expected_noise"]["after"] < balanced["expected_noise"]["before"] / 10
    assert "equalization" not in off.report["quantizer"]
    last = [made.report["quantizer"]["tensors"][-1]["signal_to_noise_db"] for made in (on, off)]
    assert last[0] > last[1] + 10
    plain = quantize(write_model(tmp_path / "plain.onnx", depth_network()), tmp_path / "plain" / "int8.onnx")
    assert last[0] > plain.report["quantizer"]["tensors"][-1]["signal_to_noise_db"] - 1
    assert on.report["quantizer"]["statistics"] != off.report["quantizer"]["statistics"]


def test_biases_are_corrected_with_as_many_frames_as_it_says(quantize, tmp_path):
    on = quantize()
    off = quantize(into=tmp_path / "off" / "int8.onnx", bias_correction=False)
    told = on.report["quantizer"]["bias_correction"]
    assert told["frames"] == FRAMES
    assert len(told["layers"]) == 5
    assert all(step["shift"] >= 0 for step in told["layers"])
    assert "bias_correction" not in off.report["quantizer"]
    assert biases(on) != biases(off)
    assert scales_of(onnx.load(on.out)) == scales_of(onnx.load(off.out))


def biases(made: Quantization) -> dict[str, list[int]]:
    tensors = onnx.load(made.out).graph.initializer
    return {
        tensor.name: numpy_helper.to_array(tensor).tolist()
        for tensor in tensors
        if tensor.data_type == onnx.TensorProto.INT32 and tensor.dims
    }


def test_the_order_of_the_frames_changes_no_byte(quantize, root, tmp_path):
    keys = write_tree(root, SUBSET + 5)
    write_split(root, keys[::-1], "reversed.json")
    write_split(root, [*keys[7:], *keys[:7], keys[3]], "turned.json")
    networks = [
        Path(quantize(into=tmp_path / name / "int8.onnx", split=name).out).read_bytes()
        for name in ("train_split.json", "reversed.json", "turned.json")
    ]
    assert networks[0] == networks[1] == networks[2]


def test_the_same_command_again_runs_no_frame_and_writes_the_same(quantize, out):
    quantize()
    first = out.read_bytes()
    shards = {path: path.stat().st_mtime_ns for path in (out.parent / "statistics").rglob("*.parquet")}
    quantize()
    assert out.read_bytes() == first
    assert {path: path.stat().st_mtime_ns for path in (out.parent / "statistics").rglob("*.parquet")} == shards
    assert len(shards) > 1


def test_it_keeps_the_contract_of_quantizers(tmp_path):
    check_quantizer(OnnxRuntimeQuantizer, tmp_path)


def test_single_tensors_of_sixteen_bits_or_none(quantize, out):
    relu = next(row["tensor"] for row in quantize().report["quantizer"]["tensors"] if "relu" in row["tensor"])
    rows = {row["tensor"]: row for row in quantize(wide=["image"], keep=[relu]).report["quantizer"]["tensors"]}
    assert rows["image"]["bits"] == 16
    assert rows["image"]["signal_to_noise_db"] > 80
    assert relu not in rows
    left = next(row for row in report_of(out)["quantizer"]["not_rounded"] if row["tensor"] == relu)
    assert left["made_by"].startswith("Relu ")
    failing(out, 'the network has no activation "relu"; the nearest are "relu', lambda: quantize(keep=["relu"]))


def test_what_enters_a_relu_gets_the_sixteen_bits_of_what_leaves_it(quantize, out, tmp_path):
    graph = started()
    both = graph.add("Concat", graph.conv("image", 2), graph.conv("image", 2), axis=1)
    active = graph.add("Relu", both)
    graph.output(graph.conv(active, 1))
    made = quantize(write_model(tmp_path / "joined.onnx", graph), wide=[active], equalize=False, method="mse")
    rows = {row["tensor"]: row for row in made.report["quantizer"]["tensors"]}
    assert rows[both]["bits"] == rows[active]["bits"] == 16
    assert rows[both]["range_of"] == active
    assert ncdb_dask.verify_quantization(out) == []


def test_a_profile_of_the_users_decides_what_is_rounded(quantize, tmp_path):
    profile = tmp_path / "npu.toml"
    profile.write_text('activations = ["int8"]\npower_of_two = true\noperators = ["Conv", "Relu"]\n')
    made = quantize(profile=str(profile))
    quantizer = made.report["quantizer"]
    assert quantizer["scheme"]["name"] == "int8 symmetric power of two"
    assert quantizer["options"]["profile"] == str(profile)
    assert all(np.frexp(row["scale"])[0] == 0.5 for row in quantizer["tensors"])
    grown = next(row for row in quantizer["not_rounded"] if row["tensor"].startswith("convtranspose"))
    assert grown["made_by"].startswith("ConvTranspose")


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("activations", ["uint8", "int8", "uint16", "int16"])
def test_all_types_of_activations(activations, per_channel, quantize, out):
    made = quantize(activations=activations, per_channel=per_channel)
    last = made.report["quantizer"]["tensors"][-1]
    assert last["bits"] == int(activations[-2:].strip("t"))
    assert last["signal_to_noise_db"] > 20
    assert ncdb_dask.verify_quantization(out) == []


def test_open_sizes_are_those_of_the_model_file(quantize, tmp_path):
    model = depth_network().model()
    for port in (*model.graph.input, *model.graph.output):
        for at in (0, 2, 3):
            port.type.tensor_type.shape.dim[at].dim_param = f"{port.name}_{at}"
    made = quantize(write_model(tmp_path / "open.onnx", model))
    sizes = [size.dim_value for size in onnx.load(made.out).graph.input[0].type.tensor_type.shape.dim]
    assert sizes == [1, 3, HEIGHT, WIDTH]


# What a person should know


def test_an_equalized_network_that_is_another_function_is_refused(quantize, out, tmp_path, monkeypatch):
    plain = Path(quantize(into=tmp_path / "plain" / "int8.onnx", equalize=False).out).read_bytes()

    def slightly_off(model: ModelProto, *arguments: Any) -> Equalized:
        result = equalized(model, *arguments)
        name = node_making(result.model, model.graph.output[0].name).input[1]
        weights = next(numpy_helper.to_array(one) for one in result.model.graph.initializer if one.name == name)
        put_constant(result.model, name, weights * 1.001)
        return result

    monkeypatch.setattr(steps, "equalized", slightly_off)
    made = quantize()
    balanced = made.report["quantizer"]["equalization"]
    assert not balanced["used"]
    assert 1e-4 < balanced["difference"] < 2e-3
    assert out.read_bytes() == plain
    (note,) = made.notes
    assert re.match(r"the equalized network differs from the given one by 0\.\d+ of its largest output", note)
    assert "Equalized" not in made.text()
    assert note in made.text()


def test_a_difference_without_a_number_is_refused_too(quantize, out, monkeypatch):
    def broken(model: ModelProto, *arguments: Any) -> Equalized:
        result = equalized(model, *arguments)
        name = node_making(result.model, model.graph.output[0].name).input[2]
        put_constant(result.model, name, np.array([np.nan]))
        return result

    monkeypatch.setattr(steps, "equalized", broken)
    made = quantize()
    assert report_of(out)["quantizer"]["equalization"]["difference"] is None
    assert not made.report["quantizer"]["equalization"]["used"]
    assert len(made.notes) == 1


def test_activations_that_are_no_numbers_are_named(quantize, out, tmp_path):
    graph = started()
    root = graph.add("Sqrt", graph.add("Sub", graph.conv("image", 2), graph.constant(0.5)))
    whole = graph.add("IsNaN", root)
    safe = graph.add("Where", whole, graph.constant(0.0), root)
    graph.output(graph.conv(safe, 1, kernel=1))
    made = quantize(write_model(tmp_path / "nan.onnx", graph))
    bad = report_of(out)["quantizer"]["not_finite"]
    assert len(bad) == FRAMES
    assert {one["tensor"] for one in bad} == {root}
    assert all(one["nan"] > 0 for one in bad)
    (note,) = made.notes
    assert note.startswith(f'tensors with NaN or infinite values: 1 (first "{root}" on ')
    assert "they count in no range" in note
    left = {row["tensor"] for row in made.report["quantizer"]["not_rounded"]}
    assert root in left or root in {row["tensor"] for row in made.report["quantizer"]["tensors"]}
    assert whole not in left  # true or false: nothing that could be rounded


def test_tensors_that_stay_the_same_are_named(quantize, out, tmp_path):
    graph = started()
    first = graph.conv("image", 4)
    dead = graph.add("Relu", graph.add("Clip", first, graph.constant(-2.0), graph.constant(-1.0)))
    graph.output(graph.conv(graph.add("Concat", dead, first, axis=1), 1))
    made = quantize(write_model(tmp_path / "dead.onnx", graph))
    assert report_of(out)["quantizer"]["constant"] == [dead]
    (note,) = made.notes
    assert note == f'tensors with one value everywhere on all frames: 1 ("{dead}"); is the preprocessing right?'


def test_frames_that_are_left_out_are_reported(quantize, out, root):
    gone = root / "synced_data/a/image_a6/0000000001.png"
    gone.unlink()
    failing(
        out,
        r"calibration frames that cannot be read: 1 \(0000000001 of synced_data/a, missing_image: .*\); mend them",
        quantize,
        CalibrationError,
    )
    made = quantize(skip_bad=True)
    report = report_of(out)
    assert len(report["frames"]) == FRAMES - 1
    (skipped,) = report["skipped"]
    assert (skipped["dataset_root"], skipped["stem"]) == ("synced_data/a", "0000000001")
    assert skipped["status"] == "missing_image"
    assert "5, 1 left out" in made.text()
    assert ncdb_dask.verify_quantization(out) == []


# What is refused


def test_no_frame_that_can_be_read(quantize, out, root):
    for picture in root.rglob("image_a6/*.png"):
        picture.unlink()
    failing(out, "none of 6 calibration frames can be read", lambda: quantize(skip_bad=True), CalibrationError)


def test_an_empty_split(quantize, out, root):
    write_split(root, [], "empty.json")
    failing(out, r"empty\.json", lambda: quantize(split="empty.json"), NcdbError)


def test_an_operator_that_nothing_here_runs(quantize, out, tmp_path):
    graph = started()
    graph.output(graph.conv("image", 1))
    model = graph.model()
    node = model.graph.node[0]
    node.op_type, node.domain = "Mystery", "com.nobody"
    model.opset_import.add(domain="com.nobody", version=1)
    failing(out, "Mystery", lambda: quantize(write_model(tmp_path / "odd.onnx", model)), NcdbError)


def test_open_sizes_and_a_model_file_without_any(quantize, out, tmp_path):
    path = write_model(tmp_path / "open.onnx", depth_network())
    path.with_suffix(".toml").write_text("[input]\nheight = 12\n")
    failing(out, "width", lambda: quantize(path), SpecError)


def test_a_network_of_which_nothing_can_be_rounded(quantize, out, tmp_path):
    graph = started()
    graph.output(graph.add("Sin", graph.add("ReduceMean", "image", axes=[1])))
    failing(out, "nothing of the network can be quantized", lambda: quantize(write_model(tmp_path / "sin.onnx", graph)))


def test_options_that_nobody_has(quantize, out):
    failing(out, "the backend onnxruntime has no option 'equalise'; it takes method", lambda: quantize(equalise=True))
    failing(out, 'the backend "vendor" is unknown', lambda: quantize(backend="vendor"))


def test_storage_that_fails_on_the_way_leaves_nothing(quantize, out, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "made.onnx")

    monkeypatch.setattr(ort, "save", full)
    failing(out, r"cannot write \(No space left on device", quantize, NcdbError)


def test_relative_paths_are_those_of_the_caller(quantize, net, out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = quantize(Path("net.onnx"), Path("out/int8.onnx"))
    assert made.report["model"]["path"] == str(net)
    assert out.exists()
    assert os.getcwd() == str(tmp_path)


def test_preparing_that_changes_the_function_is_refused(quantize, out, net, monkeypatch):
    """Folding and lifting are checked against the user's own file, also where nothing is balanced."""

    def other(*arguments: Any) -> ModelProto:
        model = prepared(*arguments)
        name = node_making(model, model.graph.output[0].name).input[1]
        (weights,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
        put_constant(model, name, numpy_helper.to_array(weights) * 1.01)
        return model

    prepared = ort.prepared
    monkeypatch.setattr(ort, "prepared", other)
    failing(out, f"^{re.escape(str(net))}: prepared for quantization, it differs by", quantize)
    failing(out, "prepared for quantization, it differs by", lambda: quantize(equalize=False))


def test_options_may_be_paths_and_sets(quantize, out, tmp_path):
    profile = tmp_path / "npu.toml"
    profile.write_text('activations = ["int8"]\n')
    made = quantize(profile=profile, keep={"image"}, bias_correction=False)
    options = report_of(out)["quantizer"]["options"]
    assert (options["profile"], options["keep"], options["wide"]) == (str(profile), ["image"], [])
    assert "int8 symmetric, minmax" in made.text()


def test_what_is_printed_are_the_lines_that_the_backend_tells(quantize):
    made = quantize()
    text = made.text()
    for name in ("Backend", "Frames", "Activations", "Equalized", "Biases", "Noisiest", "Network", "Report", "Picture"):
        assert sum(line.startswith(f"{name} ") for line in text.splitlines()) == 1, name
    told = replace(
        made, report={**made.report, "summary": {"Levels": "first\nsecond"}, "quantizer": {"scheme": "int4"}}
    )
    lines = told.text().splitlines()
    at = lines.index("Levels        first")
    assert lines[at + 1] == "              second"
