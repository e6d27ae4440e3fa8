"""Networks grown at random from nearly all operators that meet channels, in any order and of several opsets."""

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, TensorProto, helper

from helpers.graphs import Graph

OPSETS = (9, 10, 11, 13, 17, 18, 21)
LARGEST = 6000  # values of a tensor
Operation = Callable[["Growing"], None]
OPERATIONS: dict[str, Operation] = {}


# What holds scales comes rarely, or hardly any would be free.
HOLDING = (
    *("Sigmoid", "Tanh", "Elu", "Selu", "Softplus", "HardSigmoid", "ThresholdedRelu", "hard_swish", "softmax", "lrn"),
    *("ReduceSumSquare", "matmul_with_itself", "matmul_from_left", "gemm_transposed_input", "gemm_with_computed_bias"),
    *("computed_conv_bias", "instance_norm", "prelu_with_computed_slope", "clip_by_computed", "slice_at_computed"),
    *("channel_shuffle", "expand", "tile", "one_over", "square", "where", "if_", "loop"),
)


class Growing(Graph):
    """A graph with a pool of tensors to go on from."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        super().__init__(opset=int(random.choice(OPSETS)), seed=seed)
        self.pool: list[str] = []
        self.log: list[str] = []

    def chance(self, part: float) -> bool:
        return bool(self.random.random() < part)

    def choose(self, *options: object) -> object:
        return options[int(self.random.integers(len(options)))]

    def pick(self, *ranks: int, least: int = 1) -> str:
        """Choose a tensor of one of the ranks, of late rather than of old; its spatial sizes are `least` or more."""
        found = [
            name
            for name in self.pool
            if (not ranks or len(self.shapes[name]) in ranks) and min(self.shapes[name][2:], default=least) >= least
        ]
        if not found:
            raise Unfit
        return found[-1 - min(int(self.random.exponential(3)), len(found) - 1)]

    def keep(self, *names: str) -> None:
        """Put tensors into the pool, those that are neither too large nor without values."""
        for name in names:
            size = int(np.prod(self.shapes.get(name, (0,))))
            if 0 < size <= LARGEST:
                self.pool.append(name)


class Unfit(Exception):
    """There is no tensor that the operation could take."""


def operation(function: Operation) -> Operation:
    OPERATIONS[function.__name__] = function
    return function


def grown(seed: int, size: int = 16) -> tuple[ModelProto, list[str]]:
    """Return a random network, and which operations it was made of."""
    graph = Growing(seed)
    image = graph.input(int(graph.choose(1, 2)), 3, 8, int(graph.choose(8, 6)))
    graph.keep(graph.conv(image, 8))
    if graph.chance(0.3):
        graph.keep(image)
    names = list(OPERATIONS)
    weights = np.array([0.15 if name in HOLDING else 1.0 for name in names])
    while len(graph.log) < size:
        name = str(graph.random.choice(names, p=weights / weights.sum()))
        try:
            OPERATIONS[name](graph)
        except Unfit:
            continue
        graph.log.append(name)
    _close(graph)
    return graph.model(), graph.log


def _close(graph: Growing) -> None:
    """Lead what nothing takes through a layer to an output, so that it stays free; some are outputs themselves."""
    taken = {name for node in graph.nodes for name in node.input}
    for name in [name for name in graph.pool if name not in taken]:
        rank = len(graph.shapes[name])
        if graph.chance(0.1) or rank not in (2, 3, 4):
            graph.output(name)
        elif rank == 4:
            graph.output(graph.conv(name, 2, kernel=1))
        elif rank == 2:
            graph.output(graph.gemm(name, 2))
        else:
            graph.output(graph.add("MatMul", name, graph.normal(graph.shapes[name][-1], 2)))
    inner = [name for name in graph.pool if name in taken and graph.chance(0.05)]
    graph.output(*inner)


def _integers(graph: Growing, since: int, name: str, values: list[int]) -> tuple[list[str], dict[str, list[int]]]:
    """Give integers as an input, or as an attribute before an opset."""
    return ([graph.integers(*values)], {}) if graph.opset >= since else ([], {name: values})


# Layers


@operation
def conv(graph: Growing) -> None:
    source = graph.pick(4)
    out = int(graph.choose(4, 6, 8))
    graph.keep(graph.conv(source, out, kernel=int(graph.choose(1, 3)), bias=graph.chance(0.7)))


@operation
def strided_conv(graph: Growing) -> None:
    graph.keep(graph.conv(graph.pick(4, least=4), 8, strides=[2, 2]))


@operation
def depthwise(graph: Growing) -> None:
    source = graph.pick(4)
    channels = graph.shapes[source][1]
    graph.keep(graph.conv(source, channels * int(graph.choose(1, 2)), groups=channels))


@operation
def grouped_conv(graph: Growing) -> None:
    source = graph.pick(4)
    if graph.shapes[source][1] % 2:
        raise Unfit
    graph.keep(graph.conv(source, 6, groups=2))


@operation
def conv_transpose(graph: Growing) -> None:
    graph.keep(graph.conv_transpose(graph.pick(4), 6, stride=int(graph.choose(1, 2))))


@operation
def grouped_conv_transpose(graph: Growing) -> None:
    source = graph.pick(4)
    if graph.shapes[source][1] % 2:
        raise Unfit
    graph.keep(graph.conv_transpose(source, 4, groups=2))


@operation
def gemm(graph: Growing) -> None:
    options = {"alpha": 0.7, "beta": 1.3} if graph.chance(0.5) else {}
    graph.keep(graph.gemm(graph.pick(2), 6, transposed=graph.chance(0.5), **options))


@operation
def gemm_with_odd_bias(graph: Growing) -> None:
    source = graph.pick(2)
    rows, into = graph.shapes[source]
    shape = [(), (1,), (1, 5), (rows, 1), (rows, 5)][int(graph.random.integers(5))]
    graph.keep(graph.add("Gemm", source, graph.normal(into, 5, scale=into**-0.5), graph.normal(*shape)))


@operation
def gemm_transposed_input(graph: Growing) -> None:
    source = graph.pick(2)
    rows = graph.shapes[source][0]
    graph.keep(graph.add("Gemm", source, graph.normal(rows, 4), graph.normal(4), transA=1))


@operation
def gemm_with_computed_bias(graph: Growing) -> None:
    source, bias = graph.pick(2), graph.pick(2)
    rows, into = graph.shapes[source]
    if graph.shapes[bias][0] not in (1, rows):
        raise Unfit
    weights = graph.normal(into, graph.shapes[bias][1], scale=into**-0.5)
    graph.keep(graph.add("Gemm", source, weights, bias))


@operation
def matmul(graph: Growing) -> None:
    source = graph.pick(2, 3, 4)
    into = graph.shapes[source][-1]
    graph.keep(graph.add("MatMul", source, graph.normal(into, 6, scale=into**-0.5, node=graph.chance(0.3))))


@operation
def matmul_from_left(graph: Growing) -> None:
    source = graph.pick(2, 3)
    graph.keep(graph.add("MatMul", graph.normal(4, graph.shapes[source][-2], scale=0.3), source))


@operation
def matmul_with_itself(graph: Growing) -> None:
    source = graph.pick(3)
    turned = graph.add("Transpose", source, perm=[0, 2, 1])
    product = graph.add("MatMul", source, turned)
    graph.keep(graph.add("Softmax", product, axis=2))


@operation
def shared_weights(graph: Growing) -> None:
    first = graph.pick(4)
    others = [name for name in graph.pool if graph.shapes[name] == graph.shapes[first]]
    into = graph.shapes[first][1]
    given = [graph.normal(4, into, 1, 1, scale=into**-0.5), graph.normal(4)]
    graph.keep(*(graph.add("Conv", name, *given) for name in (first, others[0])))


@operation
def computed_conv_bias(graph: Growing) -> None:
    source = graph.pick(4)
    size, into = graph.shapes[source][0], graph.shapes[source][1]
    if size != 1:
        raise Unfit
    pooled = graph.add("GlobalAveragePool", source)
    bias = graph.add("Reshape", pooled, graph.integers(-1))
    graph.keep(graph.add("Conv", source, graph.normal(into, into, 1, 1, scale=into**-0.5), bias))


# Norms


@operation
def batch_norm(graph: Growing) -> None:
    source = graph.pick(2, 3, 4)
    size = graph.shapes[source][1]
    variance = graph.constant(graph.random.uniform(0.5, 2, size))
    same = graph.normal(size)
    parameters = [same] * 3 if graph.chance(0.3) else [graph.normal(size) for _ in range(3)]
    graph.keep(graph.add("BatchNormalization", source, *parameters, variance))


@operation
def layer_norm(graph: Growing) -> None:
    if graph.opset < 17:
        raise Unfit
    source = graph.pick(2, 3, 4)
    axis = int(graph.choose(-1, -1, 1))
    shape = graph.shapes[source][axis:]
    if int(np.prod(shape)) < 3:  # what varies by rounding alone would be blown up
        raise Unfit
    if graph.chance(0.2):
        shape = (1,)
    given = [graph.normal(*shape) for _ in range(int(graph.choose(1, 2)))]
    graph.keep(graph.add("LayerNormalization", source, *given, axis=axis, epsilon=1.0))


@operation
def instance_norm(graph: Growing) -> None:
    source = graph.pick(4, least=2)
    size = graph.shapes[source][1]
    graph.keep(graph.add("InstanceNormalization", source, graph.normal(size), graph.normal(size), epsilon=1.0))


@operation
def lrn(graph: Growing) -> None:
    graph.keep(graph.add("LRN", graph.pick(4), size=3))


# Activations


def _pointwise(kind: str, **attributes: float) -> None:
    def apply(graph: Growing) -> None:
        graph.keep(graph.add(kind, graph.pick(), **attributes))

    OPERATIONS[kind] = apply


for _kind in ("Relu", "Abs", "Neg", "Identity", "Sigmoid", "Tanh", "Elu", "Selu", "Softplus", "HardSigmoid", "Dropout"):
    _pointwise(_kind)
_pointwise("LeakyRelu", alpha=0.1)
_pointwise("ThresholdedRelu", alpha=0.5)


@operation
def hard_swish(graph: Growing) -> None:
    if graph.opset < 14:
        raise Unfit
    graph.keep(graph.add("HardSwish", graph.pick()))


@operation
def softmax(graph: Growing) -> None:
    graph.keep(graph.add("Softmax", graph.pick(2, 3, 4), axis=1))


@operation
def prelu(graph: Growing) -> None:
    source = graph.pick(4)
    channels, height, width = graph.shapes[source][1:]
    shapes = [(channels, 1, 1), (1,), (channels, height, width), (width,), (1, channels, 1, 1)]
    shape = shapes[int(graph.random.integers(len(shapes)))]
    graph.keep(graph.add("PRelu", source, graph.normal(*shape, scale=0.3)))


@operation
def prelu_with_computed_slope(graph: Growing) -> None:
    source = graph.pick(4)
    slope = graph.add("GlobalAveragePool", graph.pick(4))
    if graph.shapes[slope][:2] != graph.shapes[source][:2]:
        raise Unfit
    graph.keep(graph.add("PRelu", source, slope))


@operation
def clip(graph: Growing) -> None:
    low, high = graph.choose(
        (0.0, 6.0), (0.0, None), (None, 0.0), (-1.0, None), (-1.0, 1.0), (0.0, 3.4028234663852886e38)
    )  # type: ignore[misc]
    source = graph.pick()
    if graph.opset < 11:
        bounds = {name: value for name, value in (("min", low), ("max", high)) if value is not None}
        graph.keep(graph.add("Clip", source, **bounds))
    else:
        given = ["" if value is None else graph.constant(value) for value in (low, high)]
        graph.keep(graph.add("Clip", source, *given))


@operation
def clip_by_computed(graph: Growing) -> None:
    if graph.opset < 13:
        raise Unfit
    low = graph.add("ReduceMin", graph.pick(), keepdims=0)
    graph.keep(graph.add("Clip", graph.pick(), low))


# Pools, paddings, sizes


@operation
def max_pool(graph: Growing) -> None:
    options = {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [int(graph.choose(1, 2))] * 2}
    values = graph.add("MaxPool", graph.pick(4, least=2), outputs=1, **options)
    graph.keep(values)


@operation
def average_pool(graph: Growing) -> None:
    options = {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [int(graph.choose(1, 2))] * 2}
    counting = int(graph.choose(0, 1))
    graph.keep(graph.add("AveragePool", graph.pick(4, least=2), count_include_pad=counting, **options))


@operation
def lp_pool(graph: Growing) -> None:
    graph.keep(graph.add("LpPool", graph.pick(4, least=2), kernel_shape=[2, 2], p=int(graph.choose(1, 2))))


@operation
def global_pool(graph: Growing) -> None:
    kind = str(graph.choose("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"))
    graph.keep(graph.add(kind, graph.pick(4)))


@operation
def pad(graph: Growing) -> None:
    source = graph.pick(4, least=2)
    mode, value = graph.choose(
        ("constant", 0.0), ("constant", None), ("constant", 0.5), ("reflect", None), ("edge", None)
    )  # type: ignore[misc]
    pads = [
        [0, 0, 1, 0, 0, 0, 1, 1],
        [0, -1, 0, 0, 0, 1, 0, 0],
        [0, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, -1, 0, 0, 0, 1],
    ][
        int(graph.random.integers(2 if mode == "constant" else 1))
        if mode != "constant"
        else int(graph.random.integers(4))
    ]
    if graph.opset < 11:
        given, options = [], {"pads": pads, **({} if value is None else {"value": value})}
    else:
        given, options = [graph.integers(*pads), *([] if value is None else [graph.constant(value)])], {}
    if graph.opset >= 18 and graph.chance(0.5):
        axes = [1, 3]
        pads = [pads[axis] for axis in (1, 3, 5, 7)]
        given = [graph.integers(*pads), "" if value is None else graph.constant(value), graph.integers(*axes)]
    graph.keep(graph.add("Pad", source, *given, mode=mode, **options))


@operation
def resize(graph: Growing) -> None:
    source, mode = graph.pick(4), str(graph.choose("nearest", "linear", "cubic"))
    batch, channels, height, width = graph.shapes[source]
    if graph.opset < 10:
        scales = [1.0, float(graph.choose(1.0, 2.0)) if mode == "nearest" else 1.0, 2.0, 2.0]
        graph.keep(graph.add("Upsample", source, graph.constant(scales), mode="linear" if mode == "cubic" else mode))
    elif graph.opset == 10:
        graph.keep(
            graph.add("Resize", source, graph.constant([1, 1, 2, 2]), mode="linear" if mode == "cubic" else mode)
        )
    else:
        empty = graph.constant([]) if graph.opset < 13 else ""
        options = {
            "mode": mode,
            "coordinate_transformation_mode": graph.choose("half_pixel", "asymmetric", "align_corners"),
        }
        if graph.chance(0.5):
            sizes = graph.integers(batch, channels, height * 2, width + 1)
            graph.keep(graph.add("Resize", source, empty, graph.constant([]) if empty else "", sizes, **options))
        else:
            across = float(graph.choose(1.0, 1.0, 1.1)) if mode == "nearest" else 1.0
            graph.keep(graph.add("Resize", source, empty, graph.constant([1, across, 2, 1.5]), **options))


@operation
def resize_named_axes(graph: Growing) -> None:
    if graph.opset < 18:
        raise Unfit
    scales = graph.constant([2, 1.5])
    graph.keep(graph.add("Resize", graph.pick(4), "", scales, axes=[2, 3], mode="linear"))


def _reduce(kind: str) -> None:
    def apply(graph: Growing) -> None:
        source = graph.pick(3, 4)
        rank = len(graph.shapes[source])
        options = ([-1], [rank - 2, rank - 1], [1], [2], [0], [-2])
        axes = options[int(graph.random.integers(len(options)))]
        given, attributes = _integers(graph, 13 if kind == "ReduceSum" else 18, "axes", axes)
        graph.keep(graph.add(kind, source, *given, keepdims=int(graph.choose(0, 1)), **attributes))

    OPERATIONS[kind] = apply


for _kind in ("ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"):
    _reduce(_kind)


# Moving values


@operation
def transpose(graph: Growing) -> None:
    source = graph.pick(2, 3, 4)
    order = graph.random.permutation(len(graph.shapes[source])).tolist()
    graph.keep(graph.add("Transpose", source, **({} if graph.chance(0.2) else {"perm": order})))


@operation
def tokens(graph: Growing) -> None:
    """Make a row of each place, as transformers do."""
    source = graph.pick(4)
    batch, channels = graph.shapes[source][:2]
    flat = graph.add("Reshape", source, graph.integers(batch, channels, -1))
    graph.keep(graph.add("Transpose", flat, perm=[0, 2, 1]))


@operation
def maps(graph: Growing) -> None:
    source = graph.pick(3)
    batch, places, channels = graph.shapes[source]
    turned = graph.add("Transpose", source, perm=[0, 2, 1])
    graph.keep(graph.add("Reshape", turned, graph.integers(batch, channels, places, 1)))


@operation
def reshape(graph: Growing) -> None:
    source = graph.pick(2, 3, 4)
    batch, channels = graph.shapes[source][:2]
    halves = [batch, 2, channels // 2, -1] if channels % 2 == 0 else [batch, channels, -1, 1]
    wanted = [[batch, -1], [batch * channels, -1], halves, [-1, channels], [batch, channels, 1, -1]]
    graph.keep(graph.add("Reshape", source, graph.integers(*wanted[int(graph.random.integers(5))])))


@operation
def flatten(graph: Growing) -> None:
    graph.keep(graph.add("Flatten", graph.pick(2, 3, 4), axis=int(graph.choose(0, 1, 1, 2))))


@operation
def squeeze_and_unsqueeze(graph: Growing) -> None:
    source = graph.pick(2, 3)
    given, attributes = _integers(graph, 13, "axes", [int(graph.choose(0, 2))])
    graph.keep(graph.add("Unsqueeze", source, *given, **attributes))
    ones = [axis for axis, size in enumerate(graph.shapes[source]) if size == 1]
    if ones:
        given, attributes = _integers(graph, 13, "axes", ones[:1])
        graph.keep(graph.add("Squeeze", source, *given, **attributes))


@operation
def split(graph: Growing) -> None:
    source = graph.pick(2, 3, 4)
    axis = int(graph.choose(1, 1, -1))
    size = graph.shapes[source][axis]
    if size < 3:
        raise Unfit
    given, attributes = _integers(graph, 13, "split", [1, size - 1])
    graph.keep(*graph.add("Split", source, *given, outputs=2, axis=axis, **attributes))


@operation
def slice_(graph: Growing) -> None:
    source = graph.pick(2, 3, 4)
    axis = int(graph.choose(1, 1, -1))
    parts = [(1, 2**62, 1), (-3, 2**62, 1), (0, -1, 2), (2**62, -(2**62), -1), (-1, 0, -1)]
    start, end, step = parts[int(graph.random.integers(len(parts)))]
    if graph.opset < 10:
        graph.keep(graph.add("Slice", source, starts=[1], ends=[2**62], axes=[axis % len(graph.shapes[source])]))
    else:
        graph.keep(graph.add("Slice", source, *(graph.integers(value) for value in (start, end, axis, step))))


@operation
def slice_at_computed(graph: Growing) -> None:
    if graph.opset < 10:
        raise Unfit
    source = graph.pick(4)
    if graph.shapes[source][1] < 4:
        raise Unfit
    # Cuts at a place that only running tells: whether the sum is above zero.
    total = graph.add("ReduceMax", graph.pick(), keepdims=0)
    start = graph.add(
        "Reshape", graph.add("Cast", graph.add("Sigmoid", total), to=TensorProto.INT64), graph.integers(1)
    )
    end = graph.add("Add", start, graph.integers(3))
    graph.shapes[name] = (
        (graph.shapes[source][0], 3, *graph.shapes[source][2:])
        if (name := graph.add("Slice", source, start, end, graph.integers(1)))
        else ()
    )
    graph.keep(name)


@operation
def gather(graph: Growing) -> None:
    source = graph.pick(2, 3, 4)
    axis = int(graph.choose(1, 1, -1, 0))
    size = graph.shapes[source][axis]
    indices = [0, [0], [-1, 0, size // 2], [[0, -1]]][int(graph.random.integers(4))]
    graph.keep(graph.add("Gather", source, graph.constant(indices, np.int64), axis=axis))


@operation
def depth_to_space(graph: Growing) -> None:
    source = graph.pick(4)
    if graph.shapes[source][1] % 4:
        raise Unfit
    mode = {"mode": graph.choose("DCR", "CRD")} if graph.opset >= 11 else {}
    graph.keep(graph.add("DepthToSpace", source, blocksize=2, **mode))


@operation
def space_to_depth(graph: Growing) -> None:
    source = graph.pick(4, least=2)
    if any(size % 2 for size in graph.shapes[source][2:]):
        raise Unfit
    graph.keep(graph.add("SpaceToDepth", source, blocksize=2))


@operation
def channel_shuffle(graph: Growing) -> None:
    source = graph.pick(4)
    batch, channels, height, width = graph.shapes[source]
    if channels % 2:
        raise Unfit
    parted = graph.add("Reshape", source, graph.integers(batch, 2, channels // 2, height, width))
    turned = graph.add("Transpose", parted, perm=[0, 2, 1, 3, 4])
    graph.keep(graph.add("Reshape", turned, graph.integers(batch, channels, height, width)))


@operation
def expand(graph: Growing) -> None:
    source = graph.pick(2, 3, 4)
    graph.keep(graph.add("Expand", source, graph.integers(2, *graph.shapes[source])))


@operation
def tile(graph: Growing) -> None:
    source = graph.pick(2, 3, 4)
    graph.keep(graph.add("Tile", source, graph.integers(1, 2, *[1] * (len(graph.shapes[source]) - 2))))


@operation
def concat(graph: Growing) -> None:
    first = graph.pick(3, 4)
    shape = graph.shapes[first]
    axis = int(graph.choose(1, 1, 1, -1)) % len(shape)
    alike = [
        name
        for name in graph.pool
        if len(graph.shapes[name]) == len(shape)
        and all(
            one == other for at, (one, other) in enumerate(zip(graph.shapes[name], shape, strict=True)) if at != axis
        )
    ]
    others = [str(graph.choose(*alike)) for _ in range(int(graph.choose(1, 2, 3)))]
    if graph.chance(0.2):
        others.append(graph.normal(*shape))
    graph.keep(
        graph.add("Concat", first, *others, axis=axis - len(shape) if graph.opset > 10 and graph.chance(0.3) else axis)
    )


# Sums and products


@operation
def add(graph: Growing) -> None:
    first = graph.pick()
    alike = [name for name in graph.pool if graph.shapes[name] == graph.shapes[first]]
    kind = str(graph.choose("Add", "Add", "Sub", "Max", "Min"))
    graph.keep(graph.add(kind, first, str(graph.choose(*alike))))


@operation
def add_broadcast(graph: Growing) -> None:
    first, second = graph.pick(2, 3, 4), graph.pick(2, 3, 4)
    try:
        np.broadcast_shapes(graph.shapes[first], graph.shapes[second])
    except ValueError:
        raise Unfit from None
    graph.keep(graph.add(str(graph.choose("Add", "Mul")), first, second))


def _constant_for(graph: Growing, source: str) -> str:
    """Return a constant that can be broadcast with a tensor."""
    shape = graph.shapes[source]
    ones = [size if graph.chance(0.5) else 1 for size in shape]
    rank = int(graph.random.integers(len(shape) + 1))
    parts = [ones, ones[len(ones) - rank :], [1, *ones], [4 if size == 1 else size for size in shape]]
    chosen = parts[int(graph.random.integers(len(parts)))]
    return graph.constant(graph.random.normal(size=chosen) + 0.1, node=graph.chance(0.3))


@operation
def add_constant(graph: Growing) -> None:
    source = graph.pick()
    given = [source, _constant_for(graph, source)]
    kind = str(graph.choose("Add", "Add", "Sub", "Max", "Min"))
    graph.keep(graph.add(kind, *(given if graph.chance(0.6) else given[::-1])))


@operation
def sum_of_many(graph: Growing) -> None:
    first = graph.pick()
    scalar = graph.constant(0.5)
    kind = str(graph.choose("Sum", "Mean"))
    graph.keep(graph.add(kind, first, scalar, scalar, *([first] if graph.chance(0.3) else [])))


@operation
def multiply_by_constant(graph: Growing) -> None:
    source = graph.pick()
    given = [source, _constant_for(graph, source)]
    if graph.chance(0.3):
        graph.keep(graph.add("Div", source, graph.constant(graph.random.uniform(0.5, 2, graph.shapes[source][-1:]))))
    else:
        graph.keep(graph.add("Mul", *(given if graph.chance(0.6) else given[::-1])))


@operation
def one_constant_in_two_places(graph: Growing) -> None:
    source = graph.pick(4)
    shared = graph.normal(graph.shapes[source][1], 1, 1)
    shifted = graph.add("Add", source, shared)
    graph.keep(graph.add("Mul", shifted, shared))
    if graph.chance(0.3):
        graph.output(shared)


@operation
def weight_that_is_an_input(graph: Growing) -> None:
    source = graph.pick(4)
    name = graph.normal(graph.shapes[source][1], 1, 1) if graph.chance(0.5) else graph.constant(0.3)
    graph.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, graph.shapes[name]))
    graph.keep(graph.add("Add", source, name))


@operation
def gate(graph: Growing) -> None:
    """Weigh channels by what a small network makes of their means, as squeeze-and-excitation does."""
    source = graph.pick(4)
    mean = graph.add("GlobalAveragePool", source)
    weight = graph.add("Sigmoid", graph.conv(mean, graph.shapes[source][1], kernel=1))
    graph.keep(graph.add(str(graph.choose("Mul", "Div")), source, graph.add("Exp", weight)))


@operation
def one_over(graph: Growing) -> None:
    source = graph.pick(4)
    positive = graph.add("Add", graph.add("Abs", source), graph.constant(1.0))
    graph.keep(graph.add("Div", graph.constant(1.0), positive))


@operation
def square(graph: Growing) -> None:
    source = graph.pick()
    graph.keep(graph.add("Tanh", graph.add("Mul", source, source)))


@operation
def where(graph: Growing) -> None:
    first = graph.pick()
    alike = [name for name in graph.pool if graph.shapes[name] == graph.shapes[first]]
    chosen = graph.constant(graph.random.random(graph.shapes[first]) > 0.5, np.bool_)
    graph.keep(graph.add("Where", chosen, first, str(graph.choose(*alike))))


# Shapes and subgraphs


@operation
def size_from_shape(graph: Growing) -> None:
    source = graph.pick(4)
    shape = graph.add("Shape", source)
    name = graph.add("Reshape", graph.add("Relu", source), shape)
    graph.shapes[name] = graph.shapes[source]
    graph.keep(name)


@operation
def if_(graph: Growing) -> None:
    source, other = graph.pick(), graph.name("branch")
    graphs = {}
    for branch, kind in (("then_branch", "Sigmoid"), ("else_branch", "Tanh")):
        name = f"{other}_{branch}"
        port = helper.make_tensor_value_info(name, TensorProto.FLOAT, graph.shapes[source])
        graphs[branch] = helper.make_graph([helper.make_node(kind, [source], [name])], name, [], [port])
    name = graph.add("If", graph.constant(graph.chance(0.5), np.bool_), **graphs)
    graph.shapes[name] = graph.shapes[source]
    graph.keep(name)


@operation
def loop(graph: Growing) -> None:
    """Add a tensor of the outer graph to what is carried, twice."""
    source, name = graph.pick(), graph.name("body")
    captured = str(graph.choose(*[one for one in graph.pool if graph.shapes[one] == graph.shapes[source]]))
    shape = graph.shapes[source]
    body = helper.make_graph(
        [
            helper.make_node("Add", [f"{name}_in", captured], [f"{name}_out"]),
            helper.make_node("Identity", [f"{name}_go"], [f"{name}_on"]),
        ],
        name,
        [
            helper.make_tensor_value_info(f"{name}_at", TensorProto.INT64, []),
            helper.make_tensor_value_info(f"{name}_go", TensorProto.BOOL, []),
            helper.make_tensor_value_info(f"{name}_in", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info(f"{name}_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, shape),
        ],
    )
    count, go = graph.constant(2, np.int64), graph.constant(True, np.bool_)
    made = graph.add("Loop", count, go, source, body=body)
    graph.shapes[made] = shape
    graph.keep(made)
