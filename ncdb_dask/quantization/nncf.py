"""The backend ``nncf``: OpenVINO's quantizer, on the ONNX network and all given frames."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.values import quoted
from ncdb_dask.quantization.base import Material, Quantized
from ncdb_dask.quantization.interpreter import Found, PythonTool
from ncdb_dask.quantization.python_tool import quantize_in_process

TOOL = PythonTool(
    name="nncf",
    package="nncf",
    least="3.4",
    modules=("onnx", "onnxruntime", "numpy"),
)
PRESETS = ("performance", "mixed")
DEVICES = ("npu", "any")


@dataclass(frozen=True)
class NncfQuantizer:
    """Quantizes with NNCF's post-training quantization, in a process of its own.

    NNCF takes the first 300 frames unless told otherwise; here it takes all, in the order of the material.

    Parameters
    ----------
    preset : str
        ``performance``: weights and activations symmetric; ``mixed``: activations with a zero point. NNCF's own default
        depends on the kind of network; here it is ``performance``.
    device : str
        ``npu``, what an NPU can do, or ``any``, what all of NNCF's devices can do, which is NNCF's own default.
    transformer : bool, optional
        Whether NNCF treats the network as one with attention, whose activations it smooths and some of whose tensors it
        leaves in float; left out: where a Softmax is multiplied with a matrix. NNCF's own default is no.
    fast_bias_correction : bool
        Correct biases from means of single layers, as NNCF does by default; if not, layer after layer, which takes
        longer.
    python : path, optional
        Interpreter of the environment that has NNCF; left out: this one.

    Raises
    ------
    QuantizationError
        For an option that NNCF does not have, or where NNCF is not installed.
    """

    preset: str = "performance"
    device: str = "npu"
    transformer: bool | None = None
    fast_bias_correction: bool = True
    python: str | os.PathLike[str] | None = None
    found: Found = field(init=False, compare=False)

    name = "nncf"

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise QuantizationError(f"preset {quoted(self.preset)}: expected {', '.join(PRESETS)}")
        if self.device not in DEVICES:
            raise QuantizationError(f"device {quoted(self.device)}: expected {', '.join(DEVICES)}")
        object.__setattr__(self, "found", TOOL.found(self.python))

    def options(self) -> dict[str, Any]:
        """Return what NNCF is told, as JSON values."""
        names = ("preset", "device", "transformer", "fast_bias_correction")
        return {name: getattr(self, name) for name in names}

    def describe(self) -> dict[str, Any]:
        """Return the options and what was found, for ``--dry-run``."""
        return {**self.options(), "python": self.found.python, "version": self.found.version}

    def quantize(self, material: Material, out: Path) -> Quantized:
        """Quantize a network; see `ncdb_dask.quantization.base.Quantizer`."""
        return quantize_in_process(TOOL, self.found, self.options(), material, out)
