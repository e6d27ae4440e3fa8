"""The backend ``quark``: AMD's quantizer, on the ONNX network and all given frames."""

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
    name="quark",
    package="amd-quark",
    least="0.13",
    modules=("onnx", "onnxruntime", "torch", "numpy"),
)
CONFIGS = ("A8W8", "XINT8")
ITERATIONS = 1000  # Quark's own


@dataclass(frozen=True)
class QuarkQuantizer:
    """Quantizes with AMD Quark, in a process of its own.

    Parameters
    ----------
    config : str
        ``A8W8``: activations and weights of 8 bits, symmetric, any scale; ``XINT8``: scales that are powers of two, for
        AMD's NPUs. Quark has no default; here it is ``A8W8``.
    cle : bool
        Balance the weights of neighbouring layers before (cross-layer equalization); Quark's own default is no.
    adaround : bool
        Learn, layer by layer, which way weights are rounded; takes minutes. Quark's own default is no.
    iterations : int, optional
        Of ``adaround``, a layer; left out: 1000, as Quark has it.
    python : path, optional
        Interpreter of the environment that has Quark; left out: this one.

    Raises
    ------
    QuantizationError
        For an option that Quark does not have, or where Quark is not installed.
    """

    config: str = "A8W8"
    cle: bool = False
    adaround: bool = False
    iterations: int | None = None
    python: str | os.PathLike[str] | None = None
    found: Found = field(init=False, compare=False)

    name = "quark"

    def __post_init__(self) -> None:
        if self.config not in CONFIGS:
            raise QuantizationError(f"config {quoted(self.config)}: expected {', '.join(CONFIGS)}")
        if self.iterations is not None and not self.adaround:
            raise QuantizationError(f"iterations {self.iterations} is for adaround; add it (--adaround)")
        if self.iterations is not None and self.iterations < 1:
            raise QuantizationError(f"iterations {self.iterations}: expected 1 or more, such as {ITERATIONS}")
        object.__setattr__(self, "found", TOOL.found(self.python))

    def options(self) -> dict[str, Any]:
        """Return what Quark is told, as JSON values."""
        iterations = (self.iterations or ITERATIONS) if self.adaround else None
        return {"config": self.config, "cle": self.cle, "adaround": self.adaround, "iterations": iterations}

    def describe(self) -> dict[str, Any]:
        """Return the options and what was found, for ``--dry-run``."""
        return {**self.options(), "python": self.found.python, "version": self.found.version}

    def quantize(self, material: Material, out: Path) -> Quantized:
        """Quantize a network; see `ncdb_dask.quantization.base.Quantizer`."""
        return quantize_in_process(TOOL, self.found, self.options(), material, out)
