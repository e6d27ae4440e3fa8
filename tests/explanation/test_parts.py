"""Parts of a quantized network against what NumPy makes of the same grid."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from helpers.graphs import Graph
from onnx import ModelProto

from ncdb_dask.calibration.histogram import Histogram
from ncdb_dask.calibration.ranges import Range, find_range
from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.explanation.parts import Parts
from ncdb_dask.quantization.qdq import quantized
from ncdb_dask.quantization.target import Target

SCHEME = Scheme()
SHAPE = (1, 3, 5, 7)


class Planted:
    """Two layers of 1 x 1, whose input, middle and output are rounded; of the middle a part is clipped."""

    def __init__(self, work: Path) -> None:
        graph = Graph(17, seed=2)
        graph.input(*SHAPE)
        self.weights = [graph.random.normal(size=shape).astype(np.float32) for shape in ((4, 3), (2, 4))]
        self.middle = graph.add("Conv", "image", *self._layer(graph, 0))
        self.output = graph.add("Conv", self.middle, *self._layer(graph, 1))
        graph.output(self.output)
        self.network = graph.model()
        self.image = graph.random.random(SHAPE).astype(np.float32)
        exact = self.computed(self.weights, {})
        self.ranges = {name: self._range(values, 0.6 if name == self.middle else 1) for name, values in exact.items()}
        self.parts = Parts(self.network, quantized(self.network, self.ranges, Target(SCHEME), work))

    def _layer(self, graph: Graph, number: int) -> tuple[str, str]:
        weights = self.weights[number]
        return graph.constant(weights[:, :, None, None]), graph.constant(np.zeros(len(weights)))

    def _range(self, values: np.ndarray, part: float) -> Range:
        return find_range(Histogram.of((values * np.float32(part)).astype(np.float32)), "minmax", SCHEME)

    def computed(self, weights: list[np.ndarray], forms: dict[str, str]) -> dict[str, np.ndarray]:
        """Every tensor, each rounded, clipped or only put on its grid (``steps``) as `forms` says."""
        found = {"image": self.formed("image", self.image if hasattr(self, "image") else np.zeros(SHAPE), forms)}
        for name, source, values in ((self.middle, "image", weights[0]), (self.output, self.middle, weights[1])):
            found[name] = self.formed(name, np.einsum("oi,bihw->bohw", values, found[source]), forms)
        return found

    def formed(self, name: str, values: np.ndarray, forms: dict[str, str]) -> np.ndarray:
        if name not in forms:
            return values
        found = self.ranges[name]
        low, high = ((limit - found.zero_point) * found.scale for limit in (SCHEME.quantized_min, SCHEME.quantized_max))
        if forms[name] == "clip":
            return np.clip(values, low, high)
        steps = np.rint(values / np.float32(found.scale)) * found.scale
        return steps if forms[name] == "steps" else np.clip(steps, low, high)

    def coarse(self) -> list[np.ndarray]:
        scales = [np.abs(values).max() / 127 for values in self.weights]
        return [np.rint(values / scale) * scale for values, scale in zip(self.weights, scales, strict=True)]

    def run(self, model: ModelProto) -> np.ndarray:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {"image": self.image})[0])

    def expected(self, weights: list[np.ndarray], form: str, names: tuple[str, ...] | None = None) -> np.ndarray:
        chosen = ("image", self.middle, self.output) if names is None else names
        return self.computed(weights, dict.fromkeys(chosen, form))[self.output]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted(tmp_path_factory.mktemp("parts"))


# A value may come to lie on the other side of a step, where sums of floats are taken in another order.
def assert_same(planted: Planted, found: np.ndarray, expected: np.ndarray) -> None:
    step = planted.ranges[planted.output].scale
    apart = np.abs(found - expected)
    assert (apart > 1e-4 * step).mean() < 0.05
    assert apart.max() < 1.5 * step


def differ(planted: Planted, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether `assert_same` would tell them apart."""
    return bool((np.abs(one - other) > 1e-4 * planted.ranges[planted.output].scale).mean() > 0.2)


def test_the_forms_can_be_told_apart(planted: Planted) -> None:
    found = [planted.expected(planted.weights, form) for form in ("clip", "steps", "round")]
    found += [planted.expected(planted.weights, "steps", ()), planted.expected(planted.coarse(), "steps", ())]
    assert all(differ(planted, one, other) for number, one in enumerate(found) for other in found[:number])


def test_nothing_rounded_is_the_given_network(planted: Planted) -> None:
    given = planted.run(planted.network)
    np.testing.assert_allclose(planted.run(planted.parts.only([])), given, rtol=1e-6)


def test_activations_only(planted: Planted) -> None:
    found = planted.run(planted.parts.only_activations())
    assert_same(planted, found, planted.expected(planted.weights, "round"))


def test_weights_only(planted: Planted) -> None:
    found = planted.run(planted.parts.only_weights())
    np.testing.assert_allclose(found, planted.expected(planted.coarse(), "round", ()), rtol=1e-4, atol=1e-5)


def test_everything(planted: Planted) -> None:
    assert_same(planted, planted.run(planted.parts.quantized.model), planted.expected(planted.coarse(), "round"))


def test_clipping_only(planted: Planted) -> None:
    found = planted.run(planted.parts.only_activations("clip"))
    np.testing.assert_allclose(found, planted.expected(planted.weights, "clip"), rtol=1e-4, atol=1e-5)


def test_rounding_only(planted: Planted) -> None:
    assert_same(
        planted, planted.run(planted.parts.only_activations("steps")), planted.expected(planted.weights, "steps")
    )


@pytest.mark.parametrize("name", ["image", "middle", "output"])
def test_one_tensor_only(planted: Planted, name: str) -> None:
    tensor = getattr(planted, name, name) if name != "image" else name
    found = planted.run(planted.parts.only([tensor]))
    assert_same(planted, found, planted.expected(planted.weights, "round", (tensor,)))


def test_all_but_one_tensor(planted: Planted) -> None:
    found = planted.run(planted.parts.without([planted.middle]))
    assert_same(planted, found, planted.expected(planted.coarse(), "round", ("image", planted.output)))


def test_all_but_the_weights_of_one_layer(planted: Planted) -> None:
    first, second = planted.coarse()
    weights = planted.network.graph.node[0].input[1]
    assert weights in planted.parts.constants
    found = planted.run(planted.parts.without_constants([weights]))
    assert_same(planted, found, planted.expected([planted.weights[0], second], "round"))
    assert np.abs(first - planted.weights[0]).max() > 0


def test_the_quantized_network_is_left_as_it_was(planted: Planted) -> None:
    before = planted.parts.quantized.model.SerializeToString(deterministic=True)
    planted.parts.only_activations()
    planted.parts.only_weights()
    planted.parts.without_constants(planted.parts.constants)
    assert planted.parts.quantized.model.SerializeToString(deterministic=True) == before


def test_names(planted: Planted) -> None:
    assert set(planted.parts.tensors) == {"image", planted.middle, planted.output}
    assert planted.parts.outputs == (planted.output,)
    assert len(planted.parts.constants) == 4
