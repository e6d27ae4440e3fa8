"""Verifying: whatever was changed since is found, and what cannot be verified is said."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers.exports import sha256
from helpers.networks import describe
from helpers.quantizing import depth_network, write_model
from helpers.trees import write_tree
from onnx import numpy_helper

import ncdb_dask
from ncdb_dask.errors import CalibrationError, NcdbError, QuantizationError
from ncdb_dask.quantization.roundings import roundings

Change = Callable[[dict[str, Any]], object]
verify = ncdb_dask.verify_quantization


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantization in a folder of its own."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "data").mkdir()
    write_tree(folder / "data", 5)
    graph = depth_network()
    graph.output(graph.add("Softmax", graph.conv("image", 3), axis=1))
    net = write_model(folder / "net.onnx", graph)
    describe(net.with_suffix(".toml"), {"name": graph.outputs[0]})
    profile = folder / "npu.toml"
    profile.write_text("fixed_softmax = true")
    options = {"root": folder / "data", "split": "train_split.json", "method": "entropy", "profile": str(profile)}
    ncdb_dask.quantize(net, folder / "out" / "int8.onnx", **options)
    return folder / "out" / "int8.onnx"


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """A copy of it, whose report names the copied statistics."""
    shutil.copytree(made.parent, tmp_path / "out")
    path = tmp_path / "out" / "int8.onnx"
    rewrite(path, lambda report: moved(report, path))
    return path


def moved(report: dict[str, Any], path: Path) -> None:
    name = Path(report["quantizer"]["statistics"]).name
    report["quantizer"]["statistics"] = str(path.parent / "statistics" / name)


def rewrite(out: Path, change: Change) -> None:
    path = out.with_name("int8.report.json")
    report = json.loads(path.read_text())
    change(report)
    path.write_text(json.dumps(report))


def statistics_of(out: Path) -> Path:
    return Path(json.loads(out.with_name("int8.report.json").read_text())["quantizer"]["statistics"])


def test_a_quantization_is_as_reported(out, made):
    assert verify(out) == verify(made) == []
    assert verify(str(out)) == []


def test_it_is_as_reported_wherever_the_caller_stands(out, monkeypatch):
    monkeypatch.chdir(out.parent)
    assert verify("int8.onnx") == []


# The network


def test_a_network_that_is_gone(out):
    out.unlink()
    assert verify(out) == [f"{out} is gone"]


def test_another_byte_in_the_network(out):
    data = out.read_bytes()
    model = onnx.load(out)
    model.doc_string = "touched"
    out.write_bytes(model.SerializeToString())
    (found,) = verify(out)
    new = sha256(out.read_bytes())
    assert found.startswith(f"{out} is not the file that was written (SHA-256 {new[:12]}..., the report has ")
    assert sha256(data)[:12] in found


def test_a_file_that_is_no_network_any_more(out):
    out.write_bytes(b"\x08" * 100)
    first, second = verify(out)
    assert "is not the file that was written" in first
    assert "cannot be read" in second or "is no ONNX file" in second


def test_a_scale_that_was_changed_in_the_network(out):
    model = onnx.load(out)
    one = next(one for one in roundings(model) if one.tensor.startswith("relu"))
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == one.quantize.input[1])
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(1.01), scale.name))
    out.write_bytes(model.SerializeToString())
    rewrite(out, lambda report: report["output"].update(sha256=sha256(out.read_bytes())))
    assert [line.split(":")[0] for line in verify(out)] == [one.tensor]
    assert "scale and zero point are" in verify(out)[0]


# The report


def row_of(report: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(row for row in report["quantizer"]["tensors"] if row["tensor"].startswith(kind))


@pytest.mark.parametrize("field", ["low", "high", "scale", "zero_point", "clipped", "method"])
def test_a_figure_that_was_changed_in_the_report(field, out):
    name = []

    def change(report: dict[str, Any]) -> None:
        row = row_of(report, "concat")
        name.append(row["tensor"])
        row[field] = "mse" if field == "method" else row[field] + 1

    rewrite(out, change)
    (found,) = verify(out)
    assert found.startswith(f"{name[0]}: the statistics give the {field.replace('_', ' ')} ")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda report: report["quantizer"]["tensors"].pop(0), "is rounded in the network, and not in the report"),
        (lambda report: row_of(report, "concat").update(tensor="no_such"), "no_such: is not rounded in the network"),
        (lambda report: row_of(report, "concat").update(bits=16), "scale and zero point are"),
        (lambda report: row_of(report, "concat").update(range_of="image"), "the statistics give the high"),
        (lambda report: report["quantizer"]["options"].update(method="mse"), "the statistics give the method mse"),
        (lambda report: report["quantizer"]["scheme"].update(symmetric=True), "the statistics give the"),
        (lambda report: report["frames"].pop(), "the statistics give the"),
        (lambda report: report["output"].update(sha256="0" * 64), "is not the file that was written"),
    ],
)
def test_other_changes_of_the_report(change, part, out):
    rewrite(out, change)
    found = verify(out)
    assert found
    assert any(part in line for line in found), found


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report.pop("quantizer"),
        lambda report: report.pop("output"),
        lambda report: report.pop("frames"),
        lambda report: report["quantizer"].pop("tensors"),
        lambda report: report["quantizer"].update(options=None),
        lambda report: row_of(report, "concat").pop("low"),
        lambda report: report.update(spec=[]),
    ],
)
def test_a_report_that_lacks_something_is_damaged(change, out):
    rewrite(out, change)
    with pytest.raises(NcdbError, match=r"int8\.report\.json: is damaged|report"):
        verify(out)


def test_no_report_and_no_report_of_ours(out):
    path = out.with_name("int8.report.json")
    for content in (b"", b"{", b"[]", b'{"format": 99}', b"\xff"):
        path.write_bytes(content)
        with pytest.raises(QuantizationError, match=r"int8\.report\.json: is no report of this version"):
            verify(out)
    path.unlink()
    with pytest.raises(QuantizationError, match=r"int8\.report\.json: no such file; expected the report"):
        verify(out)


# The statistics


def test_statistics_that_are_gone(out):
    shutil.rmtree(statistics_of(out))
    with pytest.raises(CalibrationError, match="holds no activation statistics; quantize again"):
        verify(out)


def test_statistics_that_were_changed(out):
    shard = sorted(statistics_of(out).glob("*.parquet"))[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 0xFF
    shard.write_bytes(bytes(data))
    with pytest.raises(NcdbError, match=shard.name):
        verify(out)


def test_statistics_of_a_frame_that_was_never_run(out):
    rewrite(out, lambda report: report["frames"].append(["synced_data/c", "0000000000"]))
    with pytest.raises(CalibrationError, match="statistics of 1 of 6 frames"):
        verify(out)


def test_of_a_backend_without_statistics_only_the_file_is_compared(out):
    rewrite(out, lambda report: report.update(backend="command", quantizer={"log": "done"}))
    assert verify(out) == []
    out.write_bytes(b"other")
    (found,) = verify(out)
    assert "is not the file that was written" in found
