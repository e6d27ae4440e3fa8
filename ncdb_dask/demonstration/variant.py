"""One of the networks that a demonstration quantizes."""

from dataclasses import dataclass

# What ncdb_dask adds to ONNX Runtime's own tool: as it is called, in words, and as options.
PLAIN = ("plain", "as ONNX Runtime's tool does it", "--no-equalize", "--no-bias-correction")
FULL = ("all on", "channels balanced and biases corrected", "--equalize", "--bias-correction")


@dataclass(frozen=True)
class Variant:
    """One of the quantized networks.

    Attributes
    ----------
    strategy : str
        Of the calibration set.
    size : int
        Its frames.
    full : bool
        Whether channels are balanced and biases corrected.
    """

    strategy: str
    size: int
    full: bool

    @property
    def label(self) -> str:
        """What the comparison calls it."""
        return f"{self.size} {self.strategy} ({self._way[0]})"

    @property
    def title(self) -> str:
        """What it is, in words."""
        return f"INT8 with {self.size} {self.strategy} frames, {self._way[1]}"

    @property
    def name(self) -> str:
        """Of its file and of the folder of its evaluation."""
        return f"{self.strategy}_{self.size}_{self._way[0].replace(' ', '_')}"

    @property
    def options(self) -> tuple[str, ...]:
        """Of ``ncdb-dask quantize``."""
        return self._way[2:]

    @property
    def _way(self) -> tuple[str, ...]:
        return FULL if self.full else PLAIN
