"""The average with the mirrored picture: by its rules, and from a network's picture to its depth."""

from pathlib import Path

import numpy as np
import pytest
from helpers.pngs import RGB, encode
from hypothesis import given
from hypothesis import strategies as st

from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.split import Roots
from ncdb_dask.evaluation.frame import Frame
from ncdb_dask.evaluation.predictor import NetworkPredictor, flip_averaged
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.store.folder import LocalFolder

WIDTH, HEIGHT = 40, 6
WAYS = ("mean", "fuse")


def maps(width: int):
    rows = st.lists(st.floats(0.125, 100), min_size=width, max_size=width)
    return st.lists(rows, min_size=2, max_size=2).map(np.array)


both = st.integers(1, 60).flatmap(lambda width: st.tuples(maps(width), maps(width)))


def fused(one: list[float], other: list[float]) -> list[float]:
    """One row of inverse depths: all of the flipped pass in the left 5 %, none from 10 % on, and even in between."""
    found = []
    for column in range(len(one)):
        place = column / (len(one) - 1)
        left, right = (min(1.0, max(0.0, 2 - 20 * edge)) for edge in (place, 1 - place))
        found.append(
            left * other[column] + right * one[column] + (1 - left - right) * (one[column] + other[column]) / 2
        )
    return found


def test_fuse_by_hand():
    depth = flip_averaged(np.full((2, 21), 1.0), np.full((2, 21), 1 / 3), "fuse")
    for row in 1 / depth:
        assert row == pytest.approx([3, 3, *[2] * 17, 1, 1])


def test_mean_by_hand():
    found = flip_averaged(np.array([[1.0, 2.0, 8.0]]), np.array([[3.0, 2.0, 4.0]]), "mean")
    assert found.tolist() == [[2, 2, 6]]


def test_between_the_border_and_the_inner_part_the_weights_are_even():
    depth = flip_averaged(np.full((1, 81), 1.0), np.full((1, 81), 1 / 3), "fuse")
    # Columns 4 to 8 of 80 are 5 to 10 % of the width.
    assert (1 / depth[0, 3:10]).tolist() == pytest.approx([3, 3, 2.75, 2.5, 2.25, 2, 2])
    assert (1 / depth[0, 71:78]).tolist() == pytest.approx([2, 2, 1.75, 1.5, 1.25, 1, 1])


@given(both)
def test_fuse_as_defined(some):
    one, other = some
    if one.shape[1] > 1:
        wanted = [fused(list(1 / a), list(1 / b)) for a, b in zip(one, other, strict=True)]
        assert 1 / flip_averaged(one, other, "fuse") == pytest.approx(np.array(wanted), rel=1e-9)


@given(both, st.sampled_from(WAYS))
def test_the_mirrored_picture_has_the_mirrored_average(some, how):
    """Of the mirrored picture, what was the mirrored pass is the normal one."""
    one, other = some
    found = flip_averaged(one, other, how)
    assert flip_averaged(other[:, ::-1], one[:, ::-1], how)[:, ::-1] == pytest.approx(found, rel=1e-9)


@given(both, st.sampled_from(WAYS))
def test_the_average_of_a_map_with_itself_is_the_map(some, how):
    assert flip_averaged(some[0], some[0].copy(), how) == pytest.approx(some[0], rel=1e-9)


@given(both, st.sampled_from(WAYS))
def test_an_average_lies_between(some, how):
    found = flip_averaged(*some, how)
    assert (found >= np.minimum(*some) * (1 - 1e-9)).all()
    assert (found <= np.maximum(*some) * (1 + 1e-9)).all()


@given(both, st.sampled_from(WAYS))
def test_neither_map_is_changed(some, how):
    before = [one.copy() for one in some]
    flip_averaged(*some, how)
    assert all((one == kept).all() for one, kept in zip(some, before, strict=True))


def test_fuse_is_of_inverse_depths_and_mean_is_not():
    one, other = np.full((1, 9), 1.0), np.full((1, 9), 4.0)
    assert flip_averaged(one, other, "fuse")[0, 4] == pytest.approx(1.6)
    assert flip_averaged(one, other, "mean")[0, 4] == 2.5


def test_predictions_that_are_no_depth_give_no_warning():
    one = np.array([[np.inf, 0, np.nan, 5, np.inf, 0, 2, 2]])
    found = flip_averaged(one, np.full((1, 8), 2.0), "fuse")
    assert found[0, 4] == 4
    assert np.isnan(found[0, 2])
    assert flip_averaged(one, np.full((1, 8), 2.0), "mean")[0, 4] == np.inf
    assert np.isnan(flip_averaged(one, np.full((1, 8), 2.0), "mean")[0, 2])


def test_no_depth_on_one_side_is_fused_to_none_and_counts_only_where_it_has_a_weight():
    """An inverse depth without end: its mean with any other has none either, and is depth 0, not NaN."""
    zeros, sound = np.zeros((1, 41)), np.full((1, 41), 2.0)
    inner = slice(5, 36)
    assert flip_averaged(zeros, sound, "fuse")[0, inner].tolist() == [0] * 31
    assert flip_averaged(sound, zeros, "fuse")[0, inner].tolist() == [0] * 31
    # The left border is the mirrored pass's alone, the right one the normal pass's.
    assert flip_averaged(zeros, sound, "fuse")[0, 0] == 2
    assert flip_averaged(sound, zeros, "fuse")[0, 40] == 2


# Through a network

LAYOUTS = ("nchw", "nhwc")


def network(folder: Path, layout: str, ramp: np.ndarray) -> NetworkReference:
    """A network whose depth is 1 + the mean of the colours + a ramp over columns, whatever the picture."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    channel = 1 if layout == "nchw" else 3
    shape = [1, 3, HEIGHT, WIDTH] if layout == "nchw" else [1, HEIGHT, WIDTH, 3]
    plane = [1, 1, HEIGHT, WIDTH] if layout == "nchw" else [1, HEIGHT, WIDTH, 1]
    added = np.broadcast_to(1 + ramp, (HEIGHT, WIDTH)).astype(np.float32).reshape(plane)
    axes = numpy_helper.from_array(np.array([channel], dtype=np.int64), "axes")
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image", "axes"], ["grey"], keepdims=1),
            helper.make_node("Add", ["grey", "ramp"], ["depth"]),
        ],
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, plane)],
        [axes, numpy_helper.from_array(added, "ramp")],
    )
    path = folder / "net.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    spec = ModelSpec.from_dict({"input": {"width": WIDTH, "height": HEIGHT, "layout": layout}})
    return NetworkReference.of(path, spec)


def predicted(folder: Path, reference: NetworkReference, flip: str, pixels: np.ndarray) -> np.ndarray:
    (folder / "image.png").write_bytes(encode(pixels, 8, RGB))
    root = LocalFolder(str(folder))
    frame = Frame("split", 0, "scene", "0001", image="image.png")
    predictor = NetworkPredictor(reference, flip)
    return predictor.predict(frame, Tree(root, Roots.of(root), ()), (HEIGHT, WIDTH), stretch=False).depth


PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
GREY = PIXELS.mean(axis=2) / 255
RAMP = np.arange(WIDTH) / 8


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_network_that_does_not_know_left_from_right_gains_nothing(layout, tmp_path):
    reference = network(tmp_path, layout, np.zeros(WIDTH))
    plain = predicted(tmp_path, reference, "none", PIXELS)
    assert plain == pytest.approx(1 + GREY, rel=1e-6)
    for how in WAYS:
        assert predicted(tmp_path, reference, how, PIXELS) == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_network_that_does_is_averaged_with_its_mirror_image(layout, tmp_path):
    reference = network(tmp_path, layout, RAMP)
    normal, mirrored = 1 + GREY + RAMP, 1 + GREY + RAMP[::-1]
    assert predicted(tmp_path, reference, "none", PIXELS) == pytest.approx(normal, rel=1e-6)
    assert predicted(tmp_path, reference, "mean", PIXELS) == pytest.approx((normal + mirrored) / 2, rel=1e-6)
    wanted = [fused(list(1 / a), list(1 / b)) for a, b in zip(normal, mirrored, strict=True)]
    assert 1 / predicted(tmp_path, reference, "fuse", PIXELS) == pytest.approx(np.array(wanted), rel=1e-5)


@pytest.mark.parametrize("how", WAYS)
def test_a_mirrored_picture_has_the_mirrored_depth(how, tmp_path):
    reference = network(tmp_path, "nchw", RAMP)
    found = predicted(tmp_path, reference, how, PIXELS)
    mirrored = predicted(tmp_path, reference, how, PIXELS[:, ::-1])
    assert mirrored[:, ::-1] == pytest.approx(found, rel=1e-6)
    plain = predicted(tmp_path, reference, "none", PIXELS[:, ::-1])[:, ::-1]
    assert plain != pytest.approx(predicted(tmp_path, reference, "none", PIXELS), rel=1e-2)
