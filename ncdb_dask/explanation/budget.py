"""The error budget: what each part of the rounding costs alone, and what all of it costs together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.explanation.bench import Bench
from ncdb_dask.explanation.parts import CLIP, STEPS, Parts

if TYPE_CHECKING:
    from onnx import ModelProto

ALL, ORACLE = "all", "oracle"
WEIGHTS, ACTIVATIONS, CLIPPING, ROUNDING, OUTPUT = "weights", "activations", "clipping", "rounding", "output"
# Of abs_rel to that of FP32: what costs no more is not worth anybody's work, and what comes so near is cured.
CURED = 1.02
TITLES = {
    ALL: "everything in INT8",
    ORACLE: "everything, with ranges of the evaluation frames: a perfect set",
    WEIGHTS: "weights and biases only",
    ACTIVATIONS: "activations only",
    CLIPPING: "clipping of activations only",
    ROUNDING: "rounding of activations only",
    OUTPUT: "the network's output only: the floor that its grid sets",
}


@dataclass(frozen=True)
class Part:
    """What a part of the rounding costs.

    Attributes
    ----------
    name : str
        One of `TITLES`.
    cost : Figure
        abs_rel of FP32 (baseline) and with this part (other).
    rmse : float
        With this part, metres: the mean over frames.
    """

    name: str
    cost: Figure
    rmse: float

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"name": self.name, "title": TITLES[self.name], "rmse": self.rmse, "abs_rel": self.cost.as_dict()}


@dataclass(frozen=True)
class Budget:
    """Where the loss comes from, part by part.

    Attributes
    ----------
    fp32, rmse : float
        Of the network as it was given: abs_rel, and RMSE in metres.
    parts : mapping of str to Part
        By name, in the order of `TITLES`; an output that is not rounded has none.
    oracle_gain : Figure
        From everything (baseline) to everything with oracle ranges (other): no calibration set can give more than that.
    """

    fp32: float
    rmse: float
    parts: Mapping[str, Part]
    oracle_gain: Figure

    @property
    def loss(self) -> float:
        """What INT8 costs, in abs_rel."""
        return self.parts[ALL].cost.difference

    @property
    def negligible(self) -> bool:
        """Whether INT8 costs so little that it is not worth anybody's work."""
        whole = self.parts[ALL].cost
        return whole.other <= CURED * whole.baseline

    def share(self, name: str) -> float | None:
        """Return what a part costs alone, as a share of the loss; None where INT8 costs nothing."""
        return self.parts[name].cost.difference / self.loss if name in self.parts and self.loss > 0 else None

    def sums(self) -> list[tuple[tuple[str, str], str, float, float]]:
        """Return pairs of parts, what they make up, the sum of both and the whole.

        Errors do not simply add: they may cancel, or be noise that adds in squares. How far the sum is from the whole
        says how much of that there is.
        """
        rows = (((WEIGHTS, ACTIVATIONS), ALL), ((CLIPPING, ROUNDING), ACTIVATIONS))
        cost = {name: part.cost.difference for name, part in self.parts.items()}
        return [(pair, whole, cost[pair[0]] + cost[pair[1]], cost[whole]) for pair, whole in rows]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "fp32": {"abs_rel": self.fp32, "rmse": self.rmse},
            "parts": [part.as_dict() for part in self.parts.values()],
            "oracle_gain": self.oracle_gain.as_dict(),
            "sums": [
                {"parts": list(pair), "whole": whole, "sum": total, "measured": measured}
                for pair, whole, total, measured in self.sums()
            ],
        }


def measured_budget(bench: Bench, parts: Parts, oracle: Parts, fp32: Evaluated) -> tuple[Budget, Evaluated]:
    """Measure the budget of a network.

    Parameters
    ----------
    bench : Bench
        Measures.
    parts, oracle : Parts
        Of the network, by ranges of the calibration frames, and by those of the frames that are judged.
    fp32 : Evaluated
        The network as it was given.

    Returns
    -------
    Budget, Evaluated
        And the evaluation of everything in INT8.
    """
    networks: dict[str, Callable[[], ModelProto]] = {
        ALL: lambda: parts.quantized.model,
        ORACLE: lambda: oracle.quantized.model,
        WEIGHTS: parts.only_weights,
        ACTIVATIONS: parts.only_activations,
        CLIPPING: lambda: parts.only_activations(CLIP),
        ROUNDING: lambda: parts.only_activations(STEPS),
        **({OUTPUT: lambda: parts.only(parts.outputs)} if parts.outputs else {}),
    }
    found = {}
    for number, (name, network) in enumerate(networks.items()):
        bench.progress("measuring the parts", number, len(networks))
        found[name] = bench.judged(network(), TITLES[name])
    bench.progress("measuring the parts", len(networks), len(networks))
    costs = {name: Part(name, bench.beside(fp32, each), rmse_of(each)) for name, each in found.items()}
    gain = bench.beside(found[ALL], found[ORACLE])
    return Budget(costs[ALL].cost.baseline, rmse_of(fp32), costs, gain), found[ALL]


def rmse_of(evaluated: Evaluated) -> float:
    """Return the mean RMSE of the frames, metres."""
    return float(evaluated.measured["rmse"].mean())
