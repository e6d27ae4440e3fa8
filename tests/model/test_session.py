"""References to networks, and the one session of a process, with small networks that ONNX Runtime really runs."""

import errno
import hashlib
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ncdb_dask.errors import SpecError
from ncdb_dask.model import session
from ncdb_dask.model.providers import KNOWN, full_name
from ncdb_dask.model.session import Network, NetworkReference, check, network
from ncdb_dask.model.spec import ModelSpec, find_spec, read_spec

FLOAT = TensorProto.FLOAT
HEIGHT, WIDTH = 6, 8
SHARED = Path(__file__).parents[2].parent / "shared"
REAL = SHARED / "models" / "meter_xxs_kitti_192x640.onnx"
PICTURE = np.random.default_rng(3).random((3, HEIGHT, WIDTH), dtype=np.float32)
Node = onnx.NodeProto


@pytest.fixture(autouse=True)
def _nothing_is_open():
    session._open.cache_clear()


def described(layout: str = "nchw", **output: object) -> ModelSpec:
    return ModelSpec.from_dict({"input": {"width": WIDTH, "height": HEIGHT, "layout": layout}, "output": output})


def write(path: Path, nodes: list[Node], shape: object = (1, 3, HEIGHT, WIDTH), **outputs: tuple[int, object]) -> Path:
    """Write a network; each output is its type and shape."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", FLOAT, shape)],
        [helper.make_tensor_value_info(name, *about) for name, about in (outputs or {"depth": (FLOAT, None)}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def constant(name: str, values: object, kind: type = np.float32) -> Node:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(values, kind), name))


def mean_of(axis: int, target: str = "depth") -> Node:
    return helper.make_node("ReduceMean", ["image"], [target], axes=[axis])


def convolution(path: Path, factor: float = 1.0, shape: object = (1, 3, HEIGHT, WIDTH)) -> Path:
    """Write a network that adds up the channels, times a factor, and doubles the size."""
    nodes = [
        constant("weight", np.full((1, 3, 1, 1), factor)),
        helper.make_node("Conv", ["image", "weight"], ["sum"]),
        constant("scales", [1, 1, 2, 2]),
        helper.make_node("Resize", ["sum", "", "scales"], ["depth"], mode="nearest"),
    ]
    return write(path, nodes, shape)


@pytest.fixture
def model(tmp_path) -> Path:
    return convolution(tmp_path / "net.onnx")


@pytest.fixture
def with_weights(tmp_path) -> Path:
    """Write a network that keeps a weight in a file of its own."""
    path = tmp_path / "net.onnx"
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight"], ["depth"])],
        "network",
        [helper.make_tensor_value_info("image", FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("depth", FLOAT, [1, 1, HEIGHT, WIDTH])],
        [numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "weight")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(built, path, save_as_external_data=True, location="net.bin", size_threshold=0)
    return path


def refusal(call, *arguments: object) -> str:
    with pytest.raises(SpecError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# References


def test_a_reference_says_what_the_network_is(model, monkeypatch):
    monkeypatch.chdir(model.parent)
    reference = NetworkReference.of("net.onnx", described(factor=2))
    assert reference.path == str(model)
    assert reference.sha256 == hashlib.sha256(model.read_bytes()).hexdigest()
    assert (reference.spec.input.name, reference.spec.output.name) == ("image", ("depth",))
    assert (reference.provider, reference.threads, reference.weights) == ("CPUExecutionProvider", 1, ())


def test_a_reference_travels(model):
    reference = NetworkReference.of(model, described(), threads=2)
    sent = pickle.dumps(reference)
    arrived = pickle.loads(sent)
    assert len(sent) < 1000
    assert arrived == reference
    assert hash(arrived) == hash(reference)
    assert arrived.open() is reference.open()


def test_making_a_reference_does_not_need_onnx_runtime(model):
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from ncdb_dask.model.session import NetworkReference\n"
        "from ncdb_dask.model.spec import ModelSpec\n"
        f"spec = ModelSpec.from_dict({described().as_dict()!r})\n"
        f"print(NetworkReference.of({str(model)!r}, spec, 'cuda').provider)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "CUDAExecutionProvider\n"


def test_weights_in_other_files_are_part_of_the_digest(with_weights):
    before = NetworkReference.of(with_weights, described())
    weights = with_weights.with_name("net.bin")
    assert before.weights == ("net.bin",)
    assert before.sha256 == hashlib.sha256(with_weights.read_bytes() + weights.read_bytes()).hexdigest()
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x40")
    assert NetworkReference.of(with_weights, described()).sha256 != before.sha256


def test_weights_in_other_files_are_found_wherever_a_graph_holds_them(tmp_path):
    def outside(name: str) -> TensorProto:
        tensor = helper.make_tensor(name, FLOAT, [1], [0.0])
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=f"{name}.bin")
        tensor.external_data.add(key="offset", value="0")
        (tmp_path / f"{name}.bin").write_bytes(bytes(4))
        return tensor

    branch = helper.make_graph([], "branch", [], [], [outside("inner")])
    nodes = [
        helper.make_node("If", ["image"], ["a"], then_branch=branch, else_branch=branch),
        helper.make_node("Constant", [], ["b"], value=outside("node")),
        mean_of(1),
    ]
    assert NetworkReference.of(write(tmp_path / "net.onnx", nodes), described()).weights == ("inner.bin", "node.bin")


def test_a_missing_file_of_weights_is_named(with_weights):
    with_weights.with_name("net.bin").unlink()
    message = refusal(NetworkReference.of, with_weights, described())
    assert f"net.onnx: needs {with_weights.with_name('net.bin')}, which cannot be read (No such file" in message


@pytest.mark.parametrize("location", ["../net.bin", "/dev/zero", ".."])
def test_weights_outside_the_folder_are_refused(with_weights, location):
    built = onnx.load(with_weights, load_external_data=False)
    built.graph.initializer[0].external_data[0].value = location
    with_weights.write_bytes(built.SerializeToString())
    assert "expected a file in its own folder" in refusal(NetworkReference.of, with_weights, described())


@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_threads_than_one_are_refused(model, threads):
    assert f"threads = {threads}; expected 1 to 1024" in refusal(
        NetworkReference.of, model, described(), "cpu", threads
    )


def test_a_network_that_does_not_fit_is_refused(tmp_path):
    two = write(tmp_path / "net.onnx", [helper.make_node("Identity", ["image"], ["depth"])], depth=(FLOAT, None))
    assert NetworkReference.of(two, described())  # the file does not tell the shape
    three = write(two, [helper.make_node("Identity", ["image"], ["depth"])], depth=(FLOAT, [1, 3, HEIGHT, WIDTH]))
    assert 'the output "depth" has the shape 1 x 3 x 6 x 8' in refusal(NetworkReference.of, three, described())
    assert "layout" in refusal(NetworkReference.of, three, described("nhwc"))
    assert "No such file" in refusal(NetworkReference.of, tmp_path / "none.onnx", described())


# Providers


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("cpu", "CPU"),
        ("CUDA", "CUDA"),
        ("TensorRT", "Tensorrt"),
        ("openvino", "OpenVINO"),
        ("coreml", "CoreML"),
        ("dml", "Dml"),
        ("rocm", "ROCM"),
        ("cudaexecutionprovider", "CUDA"),
        ("TENSORRTEXECUTIONPROVIDER", "Tensorrt"),
        ("SomebodysExecutionProvider", "Somebodys"),
    ],
)
def test_a_provider_has_a_short_name_and_a_full_one(given, name):
    assert full_name(given) == f"{name}ExecutionProvider"


@pytest.mark.parametrize("given", ["gpu", "", "ExecutionProvider", "cuda:0"])
def test_an_unknown_provider_is_refused_with_those_that_are_known(model, given):
    assert "expected one of cpu, cuda, tensorrt" in refusal(NetworkReference.of, model, described(), given)


def test_providers_are_written_as_onnx_runtime_does():
    every = {name.lower(): name for name in onnxruntime.get_all_providers()}
    for name in KNOWN:
        full = f"{name}ExecutionProvider"
        assert every.get(full.lower(), full) == full


@pytest.mark.parametrize(
    ("provider", "package"), [("cuda", "install onnxruntime-gpu"), ("QQExecutionProvider", "install a build of")]
)
def test_a_provider_that_this_machine_lacks_is_told_where_the_network_is_opened(model, provider, package, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    reference = NetworkReference.of(model, described(), provider)
    message = refusal(reference.open)
    assert f"has no {reference.provider} (it has CPUExecutionProvider)" in message
    assert package in message


def test_a_silent_fall_back_is_refused(model, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: Session())
    message = refusal(NetworkReference.of(model, described(), "cuda").open)
    assert "runs it with CPUExecutionProvider instead of CUDAExecutionProvider" in message


def test_a_provider_that_onnx_runtime_does_not_know_after_all_is_refused(model, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["QQExecutionProvider"])
    monkeypatch.setattr("onnxruntime.capi.onnxruntime_inference_collection.check_and_normalize_provider_args", names)
    assert "QQExecutionProvider" in refusal(NetworkReference.of(model, described(), "QQExecutionProvider").open)


def names(providers: list[str], *_: object) -> tuple[list[str], list[dict[str, str]]]:
    return providers, [{} for _ in providers]


class Session:
    """Stands for a session of ONNX Runtime."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def run(self, *_: object) -> list[np.ndarray]:
        assert self.error is not None
        raise self.error


# One session a process


def test_equal_references_share_a_session_and_another_gets_its_own(model):
    first = NetworkReference.of(model, described())
    opened = first.open()
    assert network(NetworkReference.of(model, described())) is opened
    other = network(replace(first, threads=2))
    assert other is not opened
    assert network(replace(first, threads=2)) is other
    assert first.open() is opened  # two networks can be compared frame by frame
    network(replace(first, threads=3))
    assert network(replace(first, threads=2)) is not other  # more are not kept


def test_threads_that_come_together_open_one(model, monkeypatch):
    made = []
    real = onnxruntime.InferenceSession

    def slow(*arguments: object, **options: object) -> object:
        made.append(threading.get_ident())
        threading.Event().wait(0.05)
        return real(*arguments, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", slow)
    reference = NetworkReference.of(model, described())
    with ThreadPoolExecutor(4) as threads:
        opened = set(threads.map(network, [reference] * 8))
    assert len(opened) == len(made) == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_the_session_is_opened_as_the_reference_says(model, monkeypatch, threads):
    seen = {}
    real = onnxruntime.InferenceSession

    def spy(path: str, options: onnxruntime.SessionOptions, **others: object) -> object:
        seen.update(path=path, options=options, **others)
        return real(path, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    reference = NetworkReference.of(model, described(), threads=threads)
    reference.open()
    options = seen["options"]
    assert (seen["path"], seen["providers"]) == (str(model), ["CPUExecutionProvider"])
    assert seen["enable_fallback"] == 0  # it would print to stdout
    assert not reference.open()._session._enable_fallback  # nor in a run
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


# What cannot be opened


@pytest.mark.parametrize("changed", ["net.onnx", "net.bin"])
def test_another_file_under_the_same_path_is_refused(with_weights, changed):
    reference = NetworkReference.of(with_weights, described())
    with with_weights.with_name(changed).open("ab") as file:
        file.write(b"\0")
    assert "net.onnx: is not the file that the run was planned with" in refusal(reference.open)


@pytest.mark.parametrize("gone", ["net.onnx", "net.bin"])
def test_a_file_that_is_gone_is_a_fault_of_the_storage_and_may_come_back(with_weights, gone):
    reference = NetworkReference.of(with_weights, described())
    path = with_weights.with_name(gone)
    path.rename(path.with_suffix(".away"))
    with pytest.raises(FileNotFoundError):
        reference.open()
    path.with_suffix(".away").rename(path)
    assert check(reference) == (HEIGHT, WIDTH)


def test_a_file_that_goes_while_it_is_opened_is_a_fault_of_the_storage(model, monkeypatch):
    reference = NetworkReference.of(model, described())
    monkeypatch.setattr(session, "check_available", lambda _: None)
    real = NetworkReference.check_digest

    def and_gone(self: NetworkReference) -> None:
        real(self)
        model.unlink()

    monkeypatch.setattr(NetworkReference, "check_digest", and_gone)
    with pytest.raises(FileNotFoundError):
        reference.open()


@pytest.mark.parametrize(
    ("data", "said"), [(b"\xff" * 50, "Protobuf parsing failed"), (b"", "graph"), (b"PK\3\4", "Protobuf")]
)
def test_bytes_that_are_no_network_are_refused_in_one_line(model, data, said):
    reference = NetworkReference.of(model, described())
    model.write_bytes(data)
    message = refusal(replace(reference, sha256=hashlib.sha256(data).hexdigest()).open)
    assert message.startswith(f"{model}: cannot be opened by ONNX Runtime (Load model from")
    assert said in message


def test_an_operator_that_onnx_runtime_lacks_is_named(tmp_path, capfd):
    path = write(tmp_path / "net.onnx", [helper.make_node("Foo", ["image"], ["depth"])])
    message = refusal(NetworkReference.of(path, described()).open)
    assert "No Op registered for Foo" in message
    assert "ONNXRuntimeError" not in message
    assert capfd.readouterr() == ("", "")


def test_weights_that_are_cut_off_are_told(with_weights):
    with_weights.with_name("net.bin").write_bytes(b"ab")
    assert "cannot be opened by ONNX Runtime (" in refusal(NetworkReference.of(with_weights, described()).open)


# Runs


@pytest.mark.parametrize("shape", [(1, 3, HEIGHT, WIDTH), ("batch", 3, "height", "width"), (None,) * 4, None])
def test_depth_is_what_the_network_returns_in_metres(tmp_path, shape, capfd):
    reference = NetworkReference.of(convolution(tmp_path / "net.onnx", 0.5, shape), described(factor=3, offset=1))
    (output,) = reference.open().run(PICTURE)
    assert (output.shape, output.dtype) == ((1, 1, 2 * HEIGHT, 2 * WIDTH), np.float32)
    depth = reference.open().depth(PICTURE)
    expected = (PICTURE.astype(np.float64).sum(axis=0) * 1.5 + 1).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_allclose(depth, expected, rtol=1e-6)
    assert depth.dtype == np.float64
    assert check(reference) == (2 * HEIGHT, 2 * WIDTH)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shape", [(1, HEIGHT, WIDTH, 3), ("n", "h", "w", 3)])
def test_channels_last(tmp_path, shape):
    reference = NetworkReference.of(write(tmp_path / "net.onnx", [mean_of(3)], shape), described("nhwc"))
    np.testing.assert_allclose(reference.open().depth(PICTURE.transpose(1, 2, 0)), PICTURE.mean(axis=0), rtol=1e-6)
    assert check(reference) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", ["DOUBLE", "FLOAT16", "UINT8", "INT32", "INT64"])
def test_outputs_of_every_type_become_float64(tmp_path, kind):
    number = TensorProto.DataType.Value(kind)
    nodes = [mean_of(1, "mean"), helper.make_node("Cast", ["mean"], ["depth"], to=number)]
    path = write(tmp_path / "net.onnx", nodes, depth=(number, [1, 1, HEIGHT, WIDTH]))
    depth = NetworkReference.of(path, described(factor=0.25)).open().depth(np.full_like(PICTURE, 9))
    np.testing.assert_array_equal(depth, np.full((HEIGHT, WIDTH), 2.25))


def test_of_several_outputs_those_that_are_named_are_read_in_that_order(tmp_path):
    nodes = [
        helper.make_node("Split", ["image"], ["a", "b", "c"], axis=1),
    ]
    path = write(tmp_path / "net.onnx", nodes, **dict.fromkeys("abc", (FLOAT, [1, 1, HEIGHT, WIDTH])))
    reference = NetworkReference.of(path, described(name=["c", "a"], decode="integer-fraction", max=15))
    whole, rest = reference.open().run(PICTURE)
    np.testing.assert_array_equal(whole[0, 0], PICTURE[2])
    np.testing.assert_array_equal(rest[0, 0], PICTURE[0])
    expected = PICTURE[2].astype(np.float64) * 15 + PICTURE[0]
    np.testing.assert_array_equal(reference.open().depth(PICTURE), expected)


def test_an_output_that_turns_out_to_be_no_map_is_named_with_its_shape(tmp_path, capfd):
    path = write(tmp_path / "net.onnx", [helper.make_node("Identity", ["image"], ["depth"])])
    message = refusal(check, NetworkReference.of(path, described()))
    assert message.startswith(f'{path}: the output "depth" has the shape 1 x 3 x 6 x 8; expected one map')
    assert capfd.readouterr() == ("", "")


def test_a_network_that_fails_when_it_is_run_is_refused_in_one_line(tmp_path, capfd):
    nodes = [constant("size", [7, 7], np.int64), helper.make_node("Reshape", ["image", "size"], ["depth"])]
    reference = NetworkReference.of(write(tmp_path / "net.onnx", nodes, ("n", 3, "h", "w")), described())
    message = refusal(check, reference)
    assert "net.onnx: fails when it is run (Non-zero status code returned while running Reshape node" in message
    assert "requested shape:{7,7}" in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("BFCArena\nFailed to allocate memory for requested buffer of size 96000000000\n")],
)
def test_too_little_memory_is_a_fault_of_the_environment(model, error, monkeypatch):
    reference = NetworkReference.of(model, described())
    with pytest.raises(OSError, match="out of memory") as caught:
        Network(reference, Session(error)).run(PICTURE)
    assert caught.value.errno == errno.ENOMEM

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(OSError, match="out of memory"):
        reference.open()


def test_a_very_long_reason_is_cut(model):
    broken = Network(NetworkReference.of(model, described()), Session(RuntimeError("word\n" * 1000)))
    assert len(refusal(broken.run, PICTURE)) < 1000


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_file(), reason=f"no real network in {SHARED}")
def test_the_real_network_returns_the_same_depth_each_time():
    reference = NetworkReference.of(REAL, read_spec(find_spec(REAL)))
    assert check(reference) == (48, 160)
    picture = np.random.default_rng(5).random(reference.spec.input.shape, dtype=np.float32)
    first = reference.open().depth(picture)
    session._open.cache_clear()
    np.testing.assert_array_equal(reference.open().depth(picture), first)
    np.testing.assert_allclose(replace(reference, threads=2).open().depth(picture), first, rtol=1e-3)
    assert np.isfinite(first).all()
