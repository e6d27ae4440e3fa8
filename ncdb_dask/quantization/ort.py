"""The backend ``onnxruntime``: equalization, ranges from exactly mergeable statistics, QDQ form, bias correction."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ncdb_dask.calibration.collection import FP32_FILE
from ncdb_dask.calibration.frames import CalibrationFrame
from ncdb_dask.calibration.ranges import METHODS, PERCENTILE
from ncdb_dask.calibration.statistics import ActivationStatistics
from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.values import quoted
from ncdb_dask.quantization.base import Material, Quantized, Result
from ncdb_dask.quantization.bias import correctable, corrected
from ncdb_dask.quantization.observe import ChannelMeans, Distortion, referred
from ncdb_dask.quantization.oddities import not_rounded, notes_on, oddities
from ncdb_dask.quantization.option_types import check_types
from ncdb_dask.quantization.picture import quantization_picture
from ncdb_dask.quantization.prepare import load, prepared, save
from ncdb_dask.quantization.profile import read_profile
from ncdb_dask.quantization.qdq import QdqNetwork, quantized
from ncdb_dask.quantization.roundings import roundings
from ncdb_dask.quantization.steps import SAME, Way, apart, balanced, spread_evenly
from ncdb_dask.quantization.summary import summary
from ncdb_dask.quantization.target import Target

if TYPE_CHECKING:
    from onnx import ModelProto

# What cuts off more is a slip, such as 0.99 for 99 %.
LEAST_PERCENTILE = 50
# Frames that a task of the bias correction runs: their sums are rounded in this order, whoever runs them.
TOGETHER = 2


@dataclass(frozen=True)
class OnnxRuntimeQuantizer:
    """Quantizes with ONNX Runtime's own tool, from ranges and a network that were made better before.

    Parameters
    ----------
    method : str
        How ranges are found: ``minmax``, ``percentile``, ``entropy`` or ``mse``.
    percentile : float, optional
        For ``percentile`` alone: how much of the values a range holds, in percent; 99.999 if left out.
    activations : str, optional
        ``uint8``, ``int8``, ``uint16`` or ``int16``; the profile's first, else uint8.
    symmetric : bool, optional
        Whether zero lies in the middle; left out: the profile's first, else for signed types.
    power_of_two : bool, optional
        Whether scales are powers of two; left out: where the profile says so.
    per_channel : bool
        A scale for each output channel of a layer's weights.
    equalize : bool
        Balance the channels of the network before.
    bias_correction : bool
        Correct the biases after.
    wide, keep : sequence of str
        Tensors of 16 bits, and tensors that are not rounded.
    profile : str, optional
        What the NPU can do: a shipped profile's name, or a TOML file.

    Raises
    ------
    QuantizationError
        For what is unknown, or what the NPU cannot do.
    """

    method: str = "minmax"
    percentile: float | None = None
    activations: str | None = None
    symmetric: bool | None = None
    power_of_two: bool | None = None
    per_channel: bool = False
    equalize: bool = True
    bias_correction: bool = True
    wide: Sequence[str] = ()
    keep: Sequence[str] = ()
    profile: str | None = None

    name = "onnxruntime"

    def __post_init__(self) -> None:
        check_types(self)
        if self.method not in METHODS:
            raise QuantizationError(f"method {quoted(self.method)}: expected {', '.join(METHODS)}")
        if self.percentile is not None and self.method != "percentile":
            raise QuantizationError(f"percentile {self.percentile:g} is for the method percentile, not {self.method}")
        if self.percentile is not None and not LEAST_PERCENTILE <= self.percentile <= 100:
            raise QuantizationError(
                f"percentile {self.percentile:g}: expected {LEAST_PERCENTILE} to 100, in percent, such as {PERCENTILE}"
            )
        self.target()

    def target(self) -> Target:
        """Return what a network is rounded to."""
        profile = read_profile(self.profile)
        scheme = profile.scheme(self.activations, self.symmetric, self.power_of_two)
        profile.require(replace(scheme, bits=16) if self.wide else scheme, per_channel=self.per_channel)
        wide, kept = ((names,) if isinstance(names, str) else names for names in (self.wide, self.keep))
        return Target(
            scheme, self.per_channel, frozenset(wide), frozenset(kept), profile.operators, profile.fixed_softmax
        )

    def way(self, target: Target) -> Way:
        """Return how ranges are found of a network that is rounded to `target`."""
        return Way(self.method, self.percentile or PERCENTILE, target)

    def as_dict(self) -> dict[str, Any]:
        """Return the options as JSON values."""
        target = self.target()
        profile = None if self.profile is None else os.fspath(self.profile)
        return {**asdict(self), "wide": sorted(target.wide), "keep": sorted(target.kept), "profile": profile}

    def describe(self) -> dict[str, Any]:
        """Return the options and what they come to, for ``--dry-run``."""
        return {"scheme": self.target().scheme.name, **self.as_dict()}

    def quantize(self, material: Material, out: Path) -> Quantized:
        """Quantize a network; see `ncdb_dask.quantization.base.Quantizer`."""
        return _Work(self, material, self.target()).carried_out(out)


@dataclass
class _Work:
    """One network on its way; what is told of it collects in `report` and `notes`."""

    options: OnnxRuntimeQuantizer
    material: Material
    target: Target

    def __post_init__(self) -> None:
        scheme = self.target.scheme
        self.report: dict[str, Any] = {
            "scheme": {"name": scheme.name, **asdict(scheme)},
            "options": self.options.as_dict(),
        }
        self.notes: list[str] = []
        self.subset = spread_evenly(self.material.frames)

    def carried_out(self, out: Path) -> Quantized:
        network = prepared(load(self.material.model), self.material.spec.input, self.material.work)
        statistics = self.material.statistics(network)
        self.target.check_names(tuple(statistics.tensors))
        self.target = self.target.completed(network)
        self.report |= oddities(statistics)
        self.notes += notes_on(self.report)
        if self.options.equalize:
            network, statistics = self._equalized(network, statistics)
        if not self.report.get("equalization", {}).get("used"):
            self._require_same(network)
        made = self._quantized(network, statistics)
        if self.options.bias_correction:
            self.report["bias_correction"] = self._corrected(network, made.model)
        self.report["statistics"] = statistics.folder
        self.report["network"] = os.path.join(statistics.folder, FP32_FILE)
        self.report["tensors"] = self._tensors(network, made)
        self.report["not_rounded"] = not_rounded(network, made.model)
        save(made.model, out)
        drawn = quantization_picture(self.material.model.name, self.report)
        return Quantized(self.report, tuple(self.notes), summary=summary(self.report), picture=drawn)

    def _quantized(self, network: "ModelProto", statistics: ActivationStatistics) -> QdqNetwork:
        ranges = self.options.way(self.target).ranges(statistics)
        return quantized(network, ranges, self.target, self.material.work)

    def _equalized(
        self, network: "ModelProto", statistics: ActivationStatistics
    ) -> "tuple[ModelProto, ActivationStatistics]":
        """Balance the channels, and refuse what is another function then."""
        rounded = self._quantized(network, statistics)
        result = balanced(network, statistics, self.target, rounded.owners)
        difference = self._difference(result.model, "equalized")
        used = difference < SAME
        self.report["equalization"] = {
            **result.report,
            "difference": difference if isfinite(difference) else None,
            "used": used,
        }
        if not used:
            self.notes.append(
                f"the equalized network differs from the given one by {difference:.2g} of its largest output (allowed: "
                f"{SAME:g}), so it was not used; values that float32 cannot hold or an operator near a jump do that"
            )
            return network, statistics
        return result.model, self.material.statistics(result.model)

    def _require_same(self, network: "ModelProto") -> None:
        """Refuse what preparing has made another function."""
        difference = self._difference(network, "prepared")
        if not difference < SAME:
            raise QuantizationError(
                f"{self.material.model}: prepared for quantization, it differs by {difference:.2g} of its largest "
                f"output (allowed: {SAME:g}); export it anew, with a later opset"
            )

    def _difference(self, other: "ModelProto", name: str) -> float:
        """Return how far a network is from the user's own file, over all frames."""
        task = apart(
            self.material.model, other, self.material.spec, self.material.reader, self.material.work / f"{name}.onnx"
        )
        return max(self._each(f"checking the {name} network", task, self.material.frames))

    def _corrected(self, network: "ModelProto", made: "ModelProto") -> dict[str, Any]:
        exact = self.material.statistics(network, self.subset)
        # A mean over values that are no numbers, or over the others, tells nothing of what rounding adds.
        sound = {
            name: tensor.channels
            for name, tensor in exact.tensors.items()
            if not tensor.histogram.nan and not tensor.histogram.infinite
        }
        layers = correctable(network, sound)
        parts = [self.subset[start : start + TOGETHER] for start in range(0, len(self.subset), TOGETHER)]
        path = self.material.work / "corrected.onnx"

        def means(model: "ModelProto", tensor: str, axis: int) -> Any:
            task = ChannelMeans(referred(model, [tensor], self.material.spec, path), axis, self.material.reader)
            return np.sum(list(self.material.stream(task, parts)), axis=0) / len(self.subset)

        steps = []
        for step in corrected(made, layers, means):
            steps.append(step)
            self.material.progress("correcting biases", len(steps), len(layers))
        return {"frames": len(self.subset), "layers": steps}

    def _tensors(self, network: "ModelProto", made: QdqNetwork) -> list[dict[str, Any]]:
        """Tell of every tensor that is rounded: its range, and how much of it is noise."""
        found = list(roundings(made.model))
        spec, work = self.material.spec, self.material.work
        task = Distortion(
            referred(network, [one.tensor for one in found], spec, work / "exact.onnx"),
            referred(made.model, [one.dequantize.output[0] for one in found], spec, work / "rounded.onnx"),
            self.material.reader,
        )
        powers = np.sum(list(self._each("measuring the noise", task, self.subset)), axis=0)
        return [
            {
                "tensor": one.tensor,
                "range_of": made.owners[one.tensor],
                "bits": self.target.scheme_of(made.owners[one.tensor]).bits,
                **asdict(made.ranges[one.tensor]),
                "signal_to_noise_db": decibels(power, noise),
            }
            for one, (power, noise) in zip(found, powers.tolist(), strict=True)
        ]

    def _each(
        self, what: str, task: Callable[[CalibrationFrame], Result], frames: Sequence[CalibrationFrame]
    ) -> list[Result]:
        results = []
        for result in self.material.stream(task, frames):
            results.append(result)
            self.material.progress(what, len(results), len(frames))
        return results


def decibels(power: float, noise: float) -> float | None:
    """Return a ratio of powers in dB; None where one of them is zero."""
    return 10 * log10(power / noise) if power > 0 and noise > 0 else None
