"""The topology of a graph: makers, takers, constants and shapes."""

import numpy as np
import pytest
from helpers.graphs import Graph
from onnx import TensorProto, helper

from ncdb_dask.model.topology import Topology, attribute, captured, extent, integers, named, size_before


def of(graph: Graph) -> Topology:
    return Topology.of(graph.model())


def branch(name: str, *nodes: object) -> object:
    port = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    return helper.make_graph(list(nodes), name, [], [port])


def test_makers_and_takers():
    graph = Graph()
    image = graph.input(1, 3, 4, 4)
    first = graph.add("Relu", image)
    second = graph.add("Add", first, first)
    third = graph.add("Abs", first)
    graph.output(second, third)
    topology = of(graph)
    assert topology.maker(image) is None
    assert topology.maker(first).op_type == "Relu"
    assert [node.op_type for node in topology.takers(first)] == ["Add", "Abs"]  # Add is there once
    assert topology.takers(third) == []
    assert topology.takers("nobody's") == []


def test_what_a_subgraph_captures_is_taken():
    inner = branch("deep", helper.make_node("Neg", ["outer"], ["deep"]))
    middle = branch("out", helper.make_node("If", ["yes"], ["out"], then_branch=inner, else_branch=branch("outer2")))
    node = helper.make_node("If", ["no"], ["result"], then_branch=middle, else_branch=middle)
    assert {"outer", "yes", "outer2"} <= captured(node)
    assert "no" not in captured(node)
    assert captured(helper.make_node("Relu", ["a"], ["b"])) == set()


def test_a_node_takes_what_its_subgraph_captures():
    graph = Graph()
    first = graph.add("Relu", graph.input(1, 3, 4, 4))
    inner = branch("inner", helper.make_node("Neg", [first], ["inner"]))
    graph.output(graph.add("If", graph.constant(True, np.bool_), then_branch=inner, else_branch=inner))
    assert [node.op_type for node in of(graph).takers(first)] == ["If"]


def test_initializers_and_constant_nodes_are_constant_and_do_not_compute():
    graph = Graph()
    one, other = graph.constant([1.0, 2.0]), graph.constant([[3.0]], node=True)
    summed = graph.add("Add", one, other)
    graph.output(summed)
    topology = of(graph)
    assert topology.constant(one).tolist() == [1.0, 2.0]
    assert topology.constant(other).tolist() == [[3.0]]
    assert topology.shape(other) == (1, 1)
    assert topology.is_constant(one)
    assert not topology.is_constant(summed)
    assert topology.constant(summed) is None
    assert [node.op_type for node in topology.nodes] == ["Add"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"value_float": 0.5}, np.float32(0.5)),
        ({"value_floats": [0.5, 1.5]}, np.array([0.5, 1.5], np.float32)),
        ({"value_int": 3}, np.int64(3)),
        ({"value_ints": [3, 0]}, np.array([3, 0])),
    ],
)
def test_every_way_to_write_a_constant(attributes, expected):
    graph = Graph()
    made = graph.add("Constant", **attributes)
    graph.output(made)
    found = of(graph).constant(made)
    np.testing.assert_array_equal(found, expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)


def test_a_text_is_no_constant_of_numbers():
    graph = Graph()
    made = graph.add("Constant", value_string="text")
    assert not of(graph).is_constant(made)


def test_shapes():
    graph = Graph()
    image = graph.input("batch", 3, 8, 8)
    pooled = graph.add("GlobalAveragePool", image)
    unknown = graph.name("unknown")
    graph.nodes.append(helper.make_node("Mystery", [image], [unknown], domain="custom"))
    graph.output(unknown)
    topology = of(graph)
    assert topology.shape(image) == (None, 3, 8, 8)
    assert topology.shape(pooled) == (None, 3, 1, 1)
    assert topology.shape(unknown) is None
    assert topology.shape("nobody's") is None
    assert topology.shape(graph.constant(1.0)) is None  # not in the graph that was indexed


def test_sizes_of_minus_one_are_open():
    graph = Graph()
    image = graph.input(-1, 3, 0, 8)
    assert of(graph).shape(image) == (None, 3, None, 8)


def test_which_tensors_are_float32():
    graph = Graph()
    image = graph.input(1, 3)
    double = graph.add("Cast", image, to=TensorProto.DOUBLE)
    weights, indices = graph.constant(1.0), graph.integers(1)
    topology = of(graph)
    assert [topology.is_float(name) for name in (image, weights, double, indices, "?")] == [True, True, *[False] * 3]


def test_attributes():
    node = helper.make_node("Pad", ["x"], ["y"], mode="reflect", pads=[1, 2])
    assert attribute(node, "mode") == "reflect"
    assert list(attribute(node, "pads")) == [1, 2]
    assert attribute(node, "value") is None
    assert attribute(node, "value", 3.0) == 3.0


def test_integers_of_an_input_or_an_attribute():
    graph = Graph()
    constant, computed = graph.integers(1, 2), graph.add("Shape", graph.input(1, 3))
    topology = of(graph)
    nodes = [
        helper.make_node("Pad", ["x", *more], ["y"], **has) for more, has in ([(constant,), {}], [(), {"pads": [3]}])
    ]
    assert [integers(topology, node, 1, "pads") for node in nodes] == [[1, 2], [3]]
    for given in (["x", computed], ["x", ""], ["x"]):
        assert integers(topology, helper.make_node("Pad", given, ["y"]), 1, "pads") is None


def test_sizes():
    assert extent((None, 3, 4), 1) == 3
    assert extent((None, 3, 4), -1) == 4
    assert extent((None, 3, 4), 0) is None
    assert extent((3,), 1) is None
    assert extent(None, 0) is None
    assert size_before((2, 3, 4), 2) == 6
    assert size_before((2, 3, 4), 0) == 1
    assert size_before((None, 3, 4), 1) is None


def test_nodes_are_named_by_name_or_output():
    assert named(helper.make_node("Relu", ["x"], ["y"], name="first")) == "Relu first"
    assert named(helper.make_node("Relu", ["x"], ["y"])) == "Relu y"
