"""What the other process runs: one quantizer on exported frames.

Nothing of this package is imported, as it need not be installed where the quantizer is: ``python script.py JOB.json``,
or ``python script.py --found PACKAGE MODULE...`` to tell what is installed. Jobs are written, and answers are read, by
`ncdb_dask.quantization.python_tool` and `interpreter`.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Sample = dict[str, Any]
Job = Mapping[str, Any]


class Frames:
    """The exported tensors, read one after the other, from the beginning whenever they are iterated."""

    def __init__(self, job: Job) -> None:
        about = json.loads(Path(job["export"], "manifest.json").read_bytes())
        self._files = [Path(job["export"], job["folder"], frame["file"]) for frame in about["frames"]]
        self._input = job["input"]
        self.most = 0  # frames that were taken in one go

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Sample]:
        import numpy as np

        for number, file in enumerate(self._files, 1):
            self.most = max(self.most, number)
            # Mapped, as Quark keeps all that it was given: the system may drop what lies in files.
            yield {self._input: np.load(file, mmap_mode="r", allow_pickle=False)}


def quantize(job: Job) -> None:
    """Quantize the network of a job, and tell what was used."""
    frames = Frames(job)
    told = {
        "options": _QUANTIZERS[job["tool"]](job, frames),
        "frames": frames.most,
        "python": sys.version.split()[0],
        "packages": {name: installed(name) for name in job["packages"]},
    }
    Path(job["told"]).write_text(json.dumps(told))


def _nncf(job: Job, frames: Frames) -> dict[str, Any]:
    """Quantize with NNCF, and return the option that the network decides."""
    # NNCF would send usage data by it, and keep an id in the home folder; it does without where it is not installed.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import nncf
    import onnx

    options, model = job["options"], onnx.load(job["model"])
    transformer = options["transformer"]
    if transformer is None:
        transformer = has_attention(model)
    made = nncf.quantize(
        model,
        nncf.Dataset(frames),
        preset=nncf.QuantizationPreset(options["preset"]),
        target_device=nncf.TargetDevice(options["device"].upper()),
        subset_size=len(frames),
        fast_bias_correction=options["fast_bias_correction"],
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
    )
    onnx.save(made, job["output"])
    return {"transformer": transformer}


def has_attention(model: Any) -> bool:
    """Whether the result of a Softmax is multiplied with a matrix."""
    weights = {name for node in model.graph.node if node.op_type == "Softmax" for name in node.output}
    return any(weights.intersection(node.input) for node in model.graph.node if node.op_type == "MatMul")


def _quark(job: Job, frames: Frames) -> dict[str, Any]:
    """Quantize with Quark, from its configuration of that name."""
    try:
        from quark import onnx as quark
    except RuntimeError as error:
        raise RuntimeError(
            "Quark cannot be imported: it builds a library the first time, which needs a C++ compiler, such as g++"
        ) from error

    options = job["options"]
    config = {"A8W8": quark.A8W8_QCONFIG, "XINT8": quark.XINT8_QCONFIG}[options["config"]]
    if options["cle"]:
        config.algo_config.append(quark.CLEConfig())
    if options["adaround"]:
        config.algo_config.append(quark.AdaRoundConfig(num_iterations=options["iterations"]))
    quark.ModelQuantizer(config).quantize_model(job["model"], job["output"], _reader(frames))
    return {}


def _reader(frames: Frames) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        """Hands out a frame a call."""

        def __init__(self) -> None:
            self._left = iter(frames)

        def get_next(self) -> Sample | None:
            """Return the next frame, None at the end."""
            return next(self._left, None)

    return Reader()


def installed(package: str) -> str | None:
    """Return the version of a package; None where it is not installed under that name."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


_QUANTIZERS: Mapping[str, Callable[[Job, Frames], dict[str, Any]]] = {"nncf": _nncf, "quark": _quark}

if __name__ == "__main__":
    if sys.argv[1] == "--found":
        package, *modules = sys.argv[2:]
        absent = [name for name in modules if find_spec(name) is None]
        print(json.dumps({"version": installed(package), "missing": absent}))  # noqa: T201
    else:
        asked = json.loads(Path(sys.argv[1]).read_bytes())
        try:
            quantize(asked)
        except Exception as error:
            Path(asked["told"]).write_text(json.dumps({"error": f"{type(error).__name__}: {error}"}))
            raise  # for the log
