"""Whether a quantized network stands in the place of another: the same ends, and values that are near."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.quantization.base import Material

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# Eight bits leave 0.99 and more of such a network; what is wrong from the ground up leaves none.
LEAST_CORRELATION = 0.9
FATAL = 4  # ONNX Runtime's severity


def require_alike(material: Material, out: Path) -> None:
    """Compare a network with the one that it was made of, on the calibration frames.

    Raises
    ------
    AssertionError
        Says what differs.
    """
    exact, rounded = _session(material.model), _session(out)
    for kind in ("inputs", "outputs"):
        before, after = _ends(exact, kind), _ends(rounded, kind)
        if before != after:
            raise AssertionError(
                f"the quantized network has the {kind} {after}; expected those of the FP32 network: {before}"
            )
    name = exact.get_inputs()[0].name
    tensors = [material.reader.tensor(frame) for frame in material.frames]
    for number, end in enumerate(_ends(exact, "outputs")):
        first, second = (
            np.concatenate([session.run(None, {name: tensor})[number].ravel() for tensor in tensors])
            for session in (exact, rounded)
        )
        _require_near(end[0], first, second)


def _require_near(name: str, exact: npt.NDArray[Any], rounded: npt.NDArray[Any]) -> None:
    if not np.isfinite(rounded).all():
        raise AssertionError(f"the quantized network's output {name} holds values that are no finite numbers")
    # A constant has no correlation at all.
    alike = float(np.corrcoef(exact, rounded)[0, 1]) if np.ptp(rounded) > 0 else 0.0
    if alike < LEAST_CORRELATION:
        raise AssertionError(
            f"the quantized network's output {name} has the correlation {alike:.3f} with that of the FP32 network on "
            f"the calibration frames; expected at least {LEAST_CORRELATION}"
        )
    ratio = float(np.std(rounded) / np.std(exact))
    if not 1 / 2 < ratio < 2:
        raise AssertionError(f"the quantized network's output {name} varies {ratio:.3g} times as much as in FP32")


def _session(path: Path) -> "InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's kinds have no base of their own
        raise AssertionError(
            f"the quantizer says that {path.name} is an ONNX network, and ONNX Runtime cannot open it ({error}); say "
            "onnx=False of what is none"
        ) from error


def _ends(session: "InferenceSession", kind: str) -> list[tuple[str, str, list[int]]]:
    ports = session.get_inputs() if kind == "inputs" else session.get_outputs()
    return [(port.name, port.type, port.shape) for port in ports]
