"""The ends of a quantization: what a backend has written is checked, and all files take their places, or none."""

import errno
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import onnx
import pytest
from helpers.deaths import Killed, at_write, full_disk, killed
from helpers.networks import KNOWN, describe
from helpers.quantizing import files_of
from helpers.trees import write_tree

import ncdb_dask
from ncdb_dask.api.quantizations import plan_quantization, run_quantization
from ncdb_dask.errors import NcdbError, QuantizationError, SpecError, StorageError
from ncdb_dask.model.spec import read_spec
from ncdb_dask.quantization.base import Material, Quantized
from ncdb_dask.quantization.finish import work_folder
from ncdb_dask.quantization.plan import QuantizationPlan, report_path
from ncdb_dask.quantization.result import Quantization, read_quantization
from ncdb_dask.store import folder as store

NAMES = {"int8.onnx", "int8.toml", "int8.report.json"}
ANSWER = Quantized({"said": "hello"}, ("a note",))
Begin = Callable[..., QuantizationPlan]


@dataclass
class Backend:
    """Writes what it is told to."""

    content: bytes | None
    answer: Quantized = ANSWER
    error: BaseException | None = None
    name: str = "fake"
    work: Path | None = None
    logged: bytes | None = None

    def quantize(self, material: Material, out: Path) -> Quantized:
        self.work = material.work
        assert out.parent == material.work
        assert not out.exists()
        if self.logged is not None:
            assert material.log is not None
            material.log.write_bytes(self.logged)
        if self.content is not None:
            out.write_bytes(self.content)
        if self.error is not None:
            raise self.error
        return self.answer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_tree(folder, 3)
    return folder


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return KNOWN["quarter"].write(tmp_path / "net.onnx")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "a" / "b" / "int8.onnx"


@pytest.fixture
def plan(net: Path, out: Path, root: Path) -> Begin:
    def planned(into: Path = out, model: Path = net, **options: Any) -> QuantizationPlan:
        return plan_quantization(model, into, **{"root": root, "split": "train_split.json", **options})

    return planned


@pytest.fixture
def run(plan: Begin, net: Path) -> Callable[..., Quantization]:
    def ran(backend: Backend | None = None, into: Path | None = None) -> Quantization:
        begun = plan() if into is None else plan(into)
        return run_quantization(replace(begun, quantizer=backend or Backend(net.read_bytes())))

    return ran


def other_bytes(net: Path) -> bytes:
    return KNOWN["red"].write(net.parent / "red" / "net.onnx").read_bytes()


# All files


def test_network_model_file_and_report_take_their_places(run, out, net):
    made = run()
    assert {*files_of(out.parent)} == NAMES
    assert out.read_bytes() == net.read_bytes()
    assert read_spec(out.with_suffix(".toml")).output.factor == 20
    assert made.report["quantizer"] == {"said": "hello"}
    assert made.notes == ("a note",)
    assert read_quantization(out) == made
    assert made.as_dict() == {"out": str(out), "report": made.report}
    assert "Note          a note" in made.text()


def test_what_is_no_network_for_onnx_runtime_gets_no_model_file(run, out):
    path = out.with_suffix(".bin")
    made = run(Backend(b"blob", Quantized({}, onnx=False)), path)
    assert files_of(out.parent).keys() == {"int8.bin", "int8.report.json"}
    assert path.read_bytes() == b"blob"
    assert "onnxruntime" in made.report["versions"]


def test_names_of_any_script_are_written_as_toml_has_them(net, root, tmp_path):
    model = onnx.load(net)
    name = "입력 \U0001f600"
    model.graph.input[0].name = name
    model.graph.node[0].input[0] = name
    net.write_bytes(model.SerializeToString())
    begun = plan_quantization(net, tmp_path / "int8.onnx", root=root, split="train_split.json")
    run_quantization(replace(begun, quantizer=Backend(net.read_bytes())))
    assert read_spec(tmp_path / "int8.toml").input.name == name


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (Backend(None), "the backend onnxruntime has written no network; expected a file"),
        (Backend(b""), "has written no network"),
        (Backend(b"no ONNX"), "int8.onnx"),
        (Backend(b"x", Quantized({"figure": float("nan")}, onnx=False)), "reports what JSON cannot hold"),
        (Backend(b"x", Quantized({"figure": object()}, onnx=False)), "reports what JSON cannot hold"),
        (Backend(b"x", error=QuantizationError("it broke")), "it broke"),
        (Backend(b"x", error=OSError(errno.EIO, "Input/output error")), r"cannot write \(Input/output error"),
    ],
)
def test_what_cannot_be_used_leaves_nothing_behind(backend, message, run, out):
    with pytest.raises(NcdbError, match=message):
        run(backend)
    assert files_of(out.parent) == {}
    assert backend.work is not None
    assert not backend.work.exists()


def test_a_network_with_other_ends_than_the_model_file_says(run, out, net):
    model = onnx.load(net)
    model.graph.output[0].name = model.graph.node[-1].output[0] = "elsewhere"
    with pytest.raises(SpecError, match="depth"):
        run(Backend(model.SerializeToString()))
    assert files_of(out.parent) == {}


def test_an_interruption_removes_the_work_too(run, out):
    backend = Backend(b"x", error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(backend)
    assert not list(out.parent.iterdir())


def test_work_is_done_beside_the_result_and_out_of_sight(run, out, net):
    backend = Backend(net.read_bytes())
    run(backend)
    assert backend.work is not None
    assert backend.work.parent == out.parent
    assert backend.work.name.startswith(".")
    assert not backend.work.exists()


def test_work_that_a_killed_run_left_is_removed_by_the_next(out):
    with mock.patch("ncdb_dask.quantization.finish.shutil.rmtree"), work_folder(out) as abandoned:
        (abandoned / "large").write_bytes(b"x")
    ended = abandoned.with_name(abandoned.name.replace(f"-{os.getpid()}-", f"-{ended_process()}-"))
    abandoned.rename(ended)
    other = ended.with_name(ended.name.replace(".int8.onnx.", ".other.onnx."))
    other.mkdir()
    with work_folder(out) as first, work_folder(out) as second:
        assert first.exists()
        assert second.exists()
        assert first != second
        assert not ended.exists()
        assert other.exists()  # of another network


def ended_process() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


# An earlier result


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_disk_that_is_full_leaves_the_earlier_result_as_it_is(number, run, out, net):
    run()
    before = files_of(out.parent)
    fsync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == number:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with mock.patch.object(store.os, "fsync", full), pytest.raises(NcdbError, match="No space left on device"):
        run(Backend(other_bytes(net)))
    assert files_of(out.parent) == before
    run(Backend(other_bytes(net)))
    assert files_of(out.parent) != before


@pytest.mark.parametrize("death", [killed, full_disk])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_who_dies_while_files_take_their_names_goes_on_when_called_again(number, death, run, out, net):
    content = other_bytes(net)
    with at_write(number, death) as done, pytest.raises((Killed, NcdbError)):
        run(Backend(content))
    assert not out.exists()  # last of all, so that nobody takes half for the whole
    assert len(done) == number - 1
    run(Backend(content))
    assert {name for name in files_of(out.parent) if not name.startswith(".")} == NAMES
    assert out.read_bytes() == content


def test_the_next_quantization_takes_the_place_of_the_last(run, out, net):
    run()
    run(Backend(other_bytes(net), Quantized({"second": True})))
    assert out.read_bytes() == other_bytes(net)
    assert read_quantization(out).report["quantizer"] == {"second": True}


def test_what_an_earlier_quantization_left_and_this_one_does_not_write_is_removed(run, out, net):
    path = out.with_suffix(".bin")
    run(Backend(net.read_bytes(), Quantized({}, picture=b"a picture"), logged=b"$ tool\n"), path)
    foreign = out.with_suffix(".txt")
    foreign.write_text("precious")
    assert files_of(out.parent).keys() == {
        *("int8.bin", "int8.toml", "int8.report.json", "int8.report.png", "int8.bin.log", "int8.txt")
    }
    made = run(Backend(b"blob", Quantized({}, onnx=False)), path)
    assert files_of(out.parent).keys() == {"int8.bin", "int8.report.json", "int8.txt"}
    assert "Picture" not in made.text()
    run(Backend(b"blob", Quantized({}, onnx=False), logged=b"$ tool\n"), path)
    run(Backend(b"blob", Quantized({}, onnx=False), logged=b"$ tool again\n"), path)
    assert path.with_name("int8.bin.log").read_bytes() == b"$ tool again\n"


def test_where_nothing_is_made_the_earlier_result_keeps_all_of_its_files(run, out, net):
    run(Backend(net.read_bytes(), Quantized({}, picture=b"a picture"), logged=b"$ tool\n"))
    before = files_of(out.parent)
    with pytest.raises(QuantizationError, match="has written no network"):
        run(Backend(None))
    assert files_of(out.parent) == before


# What must not be written over


def refused(plan: Begin, message: str, into: Path, **options: Any) -> None:
    with pytest.raises(QuantizationError, match=re.escape(message)):
        plan(into, **options)


def test_the_network_itself_is_not_written_over(plan, net, tmp_path):
    refused(plan, "is the network itself", net)
    link = tmp_path / "link.onnx"
    link.symlink_to(net)
    refused(plan, "is the network itself", link)


def test_files_of_others_are_not_written_over(plan, out, tmp_path):
    out.parent.mkdir(parents=True)
    for name in NAMES:
        (out.parent / name).write_text("precious")
        refused(plan, f"{out.parent / name} is there, and is not of an earlier quantization", out)
        assert (out.parent / name).read_text() == "precious"
        (out.parent / name).unlink()
    refused(plan, f"{out.parent} is a folder; expected the file to write, such as {out.parent}/int8.onnx", out.parent)


def test_a_log_of_others_is_not_written_over(plan, run, out):
    out.parent.mkdir(parents=True)
    log = out.parent / "int8.onnx.log"
    log.write_text("precious")
    refused(plan, f"{log} is there, and is not of an earlier quantization", out)
    assert log.read_text() == "precious"
    for left in ("$ tool --of a run that failed\n", ""):
        log.write_text(left)
        plan(out)
    run()
    log.write_text("what a tool prints")
    plan(out)


def test_two_networks_do_not_share_a_report(run, plan, out):
    run()
    refused(plan, "int8.toml is there, and is not of an earlier quantization", out.with_suffix(".bin"))
    out.with_suffix(".toml").unlink()
    refused(plan, f"{report_path(out)} is there, and is not of an earlier", out.with_suffix(".bin"))
    plan(out)


@pytest.mark.parametrize("name", ["int8.toml", "x.report.json"])
def test_names_that_the_other_files_need(name, plan, tmp_path):
    if name.endswith(".json"):
        plan(tmp_path / name)
    else:
        refused(plan, "is where model file or report would lie; expected a name such as int8.onnx", tmp_path / name)


def test_a_plan_writes_nothing(plan, out, net):
    begun = plan()
    assert not out.parent.parent.exists()
    assert begun.as_dict() == {
        "model": str(net),
        "out": str(out),
        "backend": "onnxruntime",
        "options": begun.as_dict()["options"],
        "frames": 3,
        "duplicates": 0,
        "splits": {"train_split.json": begun.as_dict()["splits"]["train_split.json"]},
        "root": str(net.parent / "data"),
        "statistics": str(out.parent / "statistics"),
    }
    for part in (str(net), str(out), "3 from train_split.json", "onnxruntime"):
        assert part in begun.text()


class Told:
    """No dataclass."""

    name = "told"

    def quantize(self, material: Material, out: Path) -> Quantized:
        raise NotImplementedError


class Describing(Told):
    def describe(self) -> dict[str, Any]:
        return {"scheme": "int8 symmetric", "place": Path("/a"), "nothing": None}


def test_a_plan_tells_the_options_of_the_backend(plan):
    begun = plan(method="mse", keep=["relu"])
    assert begun.as_dict()["options"]["method"] == "mse"
    assert begun.as_dict()["options"]["equalize"] is True
    assert 'method = "mse"' in begun.text()
    assert 'keep = ["relu"]' in begun.text()
    assert "wide" not in begun.text()
    assert replace(begun, quantizer=Told()).as_dict()["options"] == {"method": "mse", "keep": ["relu"]}
    assert "Options" not in replace(begun, quantizer=Told(), options={}).text()
    described = replace(begun, quantizer=Describing())
    assert described.as_dict()["options"] == {"scheme": "int8 symmetric", "place": "/a", "nothing": None}
    assert 'Options       scheme = "int8 symmetric", place = "/a"\n' in described.text()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"into": "s3://bucket/int8.onnx"}, "quantized networks"),
        ({"model": "memory://bucket/net.onnx"}, "networks"),
        ({"model_spec": "memory://bucket/net.toml"}, "model files"),
        ({"statistics": "memory://bucket/x"}, "statistics"),
    ],
)
def test_urls_are_refused_where_files_must_be_local(options, what, plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (url,) = options.values()
    with pytest.raises(StorageError, match=rf"^{url}: {what} lie on a mounted file system; expected a local f"):
        plan(**options)
    assert {path.name for path in tmp_path.iterdir()} == {"data", "net.onnx", "net.toml"}


def test_the_home_folder_and_file_urls_are_understood(plan, net, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    begun = plan("~/a/int8.onnx", "~/net.onnx", model_spec="~/net.toml", statistics="~/kept")
    assert (begun.out, begun.reference.path) == (tmp_path / "a" / "int8.onnx", str(net))
    assert (begun.model_spec, begun.statistics.url) == (str(net.with_suffix(".toml")), str(tmp_path / "kept"))
    begun = plan(f"file://{tmp_path}/b/int8.onnx", f"file://{net}", statistics=f"file://{tmp_path}/kept")
    assert (begun.out, begun.reference.path) == (tmp_path / "b" / "int8.onnx", str(net))
    assert begun.statistics.url == str(tmp_path / "kept")


def test_a_folder_that_cannot_be_made(plan, net, tmp_path):
    (tmp_path / "file").write_text("")
    begun = plan(tmp_path / "file" / "int8.onnx")
    with pytest.raises(NcdbError, match=r"cannot write \(.*(Not a directory|File exists)"):
        run_quantization(replace(begun, quantizer=Backend(net.read_bytes())))


def test_the_model_file_may_lie_elsewhere(plan, net, tmp_path, out):
    net.with_suffix(".toml").unlink()
    (tmp_path / "specs").mkdir()
    begun = plan(model_spec=describe(tmp_path / "specs" / "one.toml"))
    run_quantization(replace(begun, quantizer=Backend(net.read_bytes()), backend="fake"))
    assert ncdb_dask.verify_quantization(out) == []
