"""The contract suite of quantizers: who keeps every promise passes, and who breaks one is told which."""

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from ncdb_dask.calibration.frames import CalibrationFrame, FrameReader
from ncdb_dask.errors import NcdbError, QuantizationError
from ncdb_dask.quantization.base import Material, Quantized
from ncdb_dask.quantization.command import CommandQuantizer
from ncdb_dask.testing import check_quantizer
from ncdb_dask.testing.inputs import FRAMES, Inputs
from ncdb_dask.testing.material import make_material


def rounded(model: ModelProto) -> ModelProto:
    """Round the weights to 8 bits."""
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        step = np.abs(values).max() / 127
        tensor.CopyFrom(numpy_helper.from_array((np.rint(values / step) * step).astype(np.float32), tensor.name))
    return model


@dataclass(frozen=True)
class Largest:
    """A task: the largest value of a frame."""

    reader: FrameReader

    def __call__(self, frame: CalibrationFrame) -> float:
        return float(self.reader.tensor(frame).max())


class Good:
    """Uses all that the material offers, and keeps every promise; what is wrong with the others is one method each."""

    name = "good"

    def quantize(self, material: Material, out: Path) -> Quantized:
        self.look(material, out)
        model = self.made(material)
        self.write(model, material, out)
        return self.answer(material)

    def look(self, material: Material, out: Path) -> dict[str, Any]:
        material.progress("looking", 0, 3)
        fed = max(float(tensor.max()) for tensor in material.feed())
        streamed = max(material.stream(Largest(material.reader), material.frames))
        assert fed == streamed
        statistics = material.statistics(onnx.load(material.model))
        assert statistics.tensors["image"].histogram.high >= 0
        material.export("images", material.work / "images")
        return {"frames": len(statistics.frames), "largest": fed}

    def made(self, material: Material) -> ModelProto:
        return rounded(onnx.load(material.model))

    def write(self, model: ModelProto, material: Material, out: Path) -> None:
        onnx.save(model, out)

    def answer(self, material: Material) -> Quantized:
        return Quantized({"time": time.time()}, ("a note",))


def test_a_good_quantizer_passes(tmp_path: Path) -> None:
    check_quantizer(Good, tmp_path / "new")
    check_quantizer(Good, tmp_path / "new")


def test_the_onnxruntime_backend_passes(tmp_path: Path) -> None:
    pytest.importorskip("ncdb_dask.quantization.ort")
    from ncdb_dask.quantization.ort import OnnxRuntimeQuantizer

    check_quantizer(OnnxRuntimeQuantizer, tmp_path)


@pytest.mark.parametrize("onnx_file", [True, False])
def test_a_tool_passes(tmp_path: Path, onnx_file: bool) -> None:
    program = """
        import hashlib, shutil, sys
        output, model, images = sys.argv[1:]
        if ONNX:
            shutil.copy(model, output)
        else:
            files = [model, *open(images).read().split()]
            open(output, "wb").write(b"".join(hashlib.sha256(open(path, "rb").read()).digest() for path in files))
        print("done")
    """
    (tmp_path / "tool.py").write_text(textwrap.dedent(program).replace("ONNX", str(onnx_file)))
    command = [sys.executable, "{here}/tool.py", "{output}", "{model}", "{image_list}"]
    (tmp_path / "tool.toml").write_text(f"command = {json.dumps(command)}\n")
    check_quantizer(lambda: CommandQuantizer(tmp_path / "tool.toml", tmp_path / "log"), tmp_path / "check")


def test_the_material_is_what_it_says(tmp_path: Path) -> None:
    inputs = Inputs.write(tmp_path / "inputs", seed=1)
    material = make_material(inputs, tmp_path / "work")
    tensors = list(material.feed())
    assert len(material.frames) == len(tensors) == FRAMES
    for frame, tensor in zip(material.frames, tensors, strict=True):
        np.testing.assert_array_equal(material.reader.tensor(frame), tensor)
    statistics = material.statistics(onnx.load(material.model))
    assert statistics.tensors["image"].histogram.high == max(tensor.max() for tensor in tensors)
    some = material.statistics(onnx.load(material.model), material.frames[:2])
    assert some.frames == tuple(frame.key for frame in material.frames[:2])
    items = json.loads(Path(material.split).read_text())
    assert [(item["dataset_root"], item["new_filename"]) for item in items] == [frame.key for frame in material.frames]


def test_it_needs_neither_dask_nor_pytest(tmp_path: Path) -> None:
    program = "import sys; import ncdb_dask.testing; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert not {"dask", "distributed", "pytest", "ncdb_dask.api", "ncdb_dask.runtime"} & set(loaded.stdout.split())


# Promises that are broken, one each

numbers = count()


class ReturnsNothing(Good):
    def answer(self, material: Material) -> Any:
        return None


class ReportsArrays(Good):
    def answer(self, material: Material) -> Quantized:
        return Quantized({"scales": np.ones(3)})


class ReportsNan(Good):
    def answer(self, material: Material) -> Quantized:
        return Quantized({"noise": float("nan")})


class NotesInOneString(Good):
    def answer(self, material: Material) -> Quantized:
        return Quantized({}, "a note")  # type: ignore[arg-type]


class HasNoName(Good):
    name = ""


class WritesNothing(Good):
    def write(self, model: ModelProto, material: Material, out: Path) -> None:
        pass


class WritesAnEmptyFile(Good):
    def write(self, model: ModelProto, material: Material, out: Path) -> None:
        out.touch()


class WritesAFolder(Good):
    def write(self, model: ModelProto, material: Material, out: Path) -> None:
        out.mkdir()


class WritesOwnFormatAsOnnx(Good):
    def write(self, model: ModelProto, material: Material, out: Path) -> None:
        out.write_bytes(b"own" + model.SerializeToString())


class LeavesWeightsBeside(Good):
    def write(self, model: ModelProto, material: Material, out: Path) -> None:
        onnx.save(model, out, save_as_external_data=True, location="weights.bin", size_threshold=0)


class Renames(Good):
    def made(self, material: Material) -> ModelProto:
        model = super().made(material)
        model.graph.output[0].name = model.graph.node[-1].output[0] = "depth_quantized"
        return model


class OpensTheBatch(Good):
    def made(self, material: Material) -> ModelProto:
        model = super().made(material)
        for port in (*model.graph.input, *model.graph.output):
            port.type.tensor_type.shape.dim[0].dim_param = "batch"
        return model


class Scales(Good):
    factor = 1.0

    def made(self, material: Material) -> ModelProto:
        model = super().made(material)
        for tensor in model.graph.initializer[-2:]:
            values = numpy_helper.to_array(tensor) * np.float32(self.factor)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return model


class IsNotFinite(Scales):
    factor = float("nan")


class IsUpsideDown(Scales):
    factor = -1.0


class IsConstant(Scales):
    factor = 0.0


class IsFourTimesAsLarge(Scales):
    factor = 4.0


class KeepsTheTime(Good):
    def made(self, material: Material) -> ModelProto:
        model = super().made(material)
        model.doc_string = str(next(numbers))
        return model


class KeepsAPath(Good):
    def made(self, material: Material) -> ModelProto:
        model = super().made(material)
        model.doc_string = str(material.work)
        return model


class Remembers(Good):
    def __init__(self) -> None:
        self.seen: list[Path] = []

    def made(self, material: Material) -> ModelProto:
        model = super().made(material)
        if material.model not in self.seen:
            self.seen.append(material.model)
        model.doc_string = str(len(self.seen))
        return model


class AnswersFromAStore(Good):
    store: ClassVar[dict[str, bytes]] = {}

    def write(self, model: ModelProto, material: Material, out: Path) -> None:
        out.write_bytes(self.store.setdefault(material.model.name, model.SerializeToString()))

    def answer(self, material: Material) -> Quantized:
        return Quantized({}, onnx=False)


class ChangesTheModel(Good):
    def made(self, material: Material) -> ModelProto:
        model = super().made(material)
        onnx.save(model, material.model)
        return model


class WritesBesideTheModel(Good):
    def made(self, material: Material) -> ModelProto:
        (material.model.parent / "net-infer.onnx").touch()
        return super().made(material)


class RemovesAPicture(Good):
    def made(self, material: Material) -> ModelProto:
        next(Path(material.root).rglob("*.png")).unlink()
        return super().made(material)


class ChangesTheEnvironment(Good):
    def made(self, material: Material) -> ModelProto:
        os.environ["NCDB_TEST_LEFT"] = "1"
        return super().made(material)


class ChangesTheFolder(Good):
    def made(self, material: Material) -> ModelProto:
        os.chdir(material.work)
        return super().made(material)


class SendsAFunction(Good):
    def look(self, material: Material, out: Path) -> dict[str, Any]:
        list(material.stream(lambda frame: 0, material.frames))
        return {}


class GoesOnWithoutFrames(Good):
    def look(self, material: Material, out: Path) -> dict[str, Any]:
        try:
            return super().look(material, out)
        except (OSError, NcdbError):
            return {}


class HidesTheError(Good):
    def look(self, material: Material, out: Path) -> dict[str, Any]:
        try:
            return super().look(material, out)
        except (OSError, NcdbError):
            raise QuantizationError("something went wrong") from None


class RaisesItsOwnKind(Good):
    def look(self, material: Material, out: Path) -> dict[str, Any]:
        try:
            return super().look(material, out)
        except (OSError, NcdbError) as error:
            raise RuntimeError("something went wrong") from error


class HoldsUpInterruptions(Good):
    def look(self, material: Material, out: Path) -> dict[str, Any]:
        try:
            return super().look(material, out)
        except BaseException as error:
            if isinstance(error, OSError | NcdbError):
                raise
            raise QuantizationError("something went wrong") from error


class ChangesTheModelAndFails(Good):
    def look(self, material: Material, out: Path) -> dict[str, Any]:
        before = material.model.read_bytes()
        material.model.write_bytes(b"while it is at work")
        material.feed()
        material.model.write_bytes(before)
        return {}


class LeavesAHalf(Good):
    def look(self, material: Material, out: Path) -> dict[str, Any]:
        out.write_bytes(b"half")
        return super().look(material, out)


class LeavesATemporaryFile(Good):
    def look(self, material: Material, out: Path) -> dict[str, Any]:
        temporary = out.with_suffix(".tmp")
        temporary.touch()
        found = super().look(material, out)
        temporary.unlink()
        return found


BAD: list[tuple[Callable[[], Any], str]] = [
    (ReturnsNothing, "returned None; expected a Quantized"),
    (ReportsArrays, "report cannot be written as JSON"),
    (ReportsNan, "report cannot be written as JSON"),
    (NotesInOneString, "expected a tuple of str"),
    (HasNoName, "has no name"),
    (WritesNothing, "wrote no file int8.onnx"),
    (WritesAnEmptyFile, "wrote an empty file"),
    (WritesAFolder, "wrote no file"),
    (WritesOwnFormatAsOnnx, "say onnx=False of what is none"),
    (LeavesWeightsBeside, "left weights.bin beside the file"),
    (Renames, "has the outputs .*depth_quantized.*expected those of the FP32 network"),
    (OpensTheBatch, "has the inputs .*'batch'.*expected those of the FP32 network"),
    (IsNotFinite, "no finite numbers"),
    (IsUpsideDown, "correlation -"),
    (IsConstant, "correlation 0.000"),
    (IsFourTimesAsLarge, "varies 4.* times as much"),
    (KeepsTheTime, "other bytes of the same material"),
    (KeepsAPath, "other bytes of the same material"),
    (Remembers, "because it had quantized another one before"),
    (AnswersFromAStore, "the same bytes of two different networks"),
    (ChangesTheModel, "changed the file net.onnx of its input"),
    (WritesBesideTheModel, "added the file net-infer.onnx"),
    (RemovesAPicture, "removed the file data/synced_data/"),
    (ChangesTheEnvironment, "changed the environment"),
    (ChangesTheFolder, "changed the current folder"),
    (SendsAFunction, "cannot travel to workers"),
    (GoesOnWithoutFrames, "when material's feed raised OSError, it went on as if nothing had happened"),
    (HidesTheError, "which hides the error"),
    (RaisesItsOwnKind, "expected an NcdbError or OSError"),
    (HoldsUpInterruptions, "held up an interruption: when material's feed raised KeyboardInterrupt"),
    (ChangesTheModelAndFails, "changed the file net.onnx of its input"),
    (LeavesAHalf, "when material's feed raised OSError, it left int8.onnx behind"),
    (LeavesATemporaryFile, "it left int8.tmp behind"),
]


@pytest.mark.parametrize(("make", "expected"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_a_broken_promise_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)  # who changes them has them changed back
    monkeypatch.setenv("NCDB_TEST_LEFT", "0")
    with pytest.raises(AssertionError, match=expected):
        check_quantizer(make, tmp_path)


@pytest.mark.parametrize("point", ["feed", "frame", "stream", "statistics", "export"])
def test_every_place_of_the_material_is_let_fail(tmp_path: Path, point: str) -> None:
    """Of a quantizer that catches the errors of one place only."""

    class Catches(Good):
        def look(self, material: Material, out: Path) -> dict[str, Any]:
            calls: dict[str, Callable[[], object]] = {
                "feed": material.feed,
                "frame": lambda: None if point == "feed" else list(material.feed()),
                "stream": lambda: list(material.stream(Largest(material.reader), material.frames)),
                "statistics": lambda: material.statistics(onnx.load(material.model)),
                "export": lambda: material.export("images", material.work / "images"),
            }
            for place, call in calls.items():
                try:
                    call()
                except (OSError, NcdbError):
                    if place != point:
                        raise
            return {}

    with pytest.raises(AssertionError, match=f"when material's {point} raised"):
        check_quantizer(Catches, tmp_path)
