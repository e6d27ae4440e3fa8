"""ONNX files of trained networks: what ONNX Runtime computes from them, and what they tell."""

import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

import onnxruntime  # noqa: E402
from helpers.finetuning import Last, Packed, Tiny  # noqa: E402
from torch import nn  # noqa: E402

from ncdb_dask.errors import TrainingError  # noqa: E402
from ncdb_dask.model.spec import InputSpec, ModelSpec, OutputSpec, read_spec  # noqa: E402
from ncdb_dask.store.folder import LocalFolder  # noqa: E402
from ncdb_dask.training import onnx_export  # noqa: E402
from ncdb_dask.training.onnx_export import export_onnx  # noqa: E402
from ncdb_dask.training.recipe_sections import ExportRecipe  # noqa: E402
from ncdb_dask.training.source import Outputs  # noqa: E402

HEIGHT, WIDTH = 12, 16
SPEC = ModelSpec(InputSpec(WIDTH, HEIGHT), OutputSpec(factor=20.0))
RANDOM = np.random.default_rng(0)
PICTURES = [RANDOM.random((3, HEIGHT, WIDTH)).astype(np.float32) for _ in range(2)]


def made(kind, where=()):
    torch.manual_seed(3)
    network = kind()
    nn.init.uniform_(network.norm.running_mean)
    return Outputs(network, where)


def export(network, folder, spec=SPEC, pictures=PICTURES, **options):
    difference = export_onnx(network, spec, ExportRecipe(**options), LocalFolder(str(folder)), pictures)
    return difference, onnx.load(folder / "network.onnx")


def ran(folder, pictures, name="image"):
    session = onnxruntime.InferenceSession(folder / "network.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {name: pictures})


def close(found, network, pictures):
    with torch.no_grad():
        exact = network(torch.from_numpy(pictures))
    for one, wanted in zip(found, exact, strict=True):
        assert one.shape == wanted.shape
        assert np.abs(one - wanted.numpy()).max() < 1e-4 * wanted.abs().max()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    network = made(Tiny).train()
    return network, *export(network, folder), folder


def test_onnx_runtime_computes_what_torch_does(plain):
    network, difference, _, folder = plain
    close(ran(folder, PICTURES[1][None]), network, PICTURES[1][None])
    assert 0 <= difference < 1e-4
    assert not network.training


def test_the_file_tells_nothing_of_this_machine(plain):
    _, _, model, folder = plain
    data = (folder / "network.onnx").read_bytes()
    places = [str(Path(torch.__file__).parent), str(Path(__file__).parents[2]), str(Path.cwd()), str(Path.home())]
    for told in (*places, "site-packages", "helpers", "finetuning", ".py", socket.gethostname(), "Traceback"):
        assert told.encode() not in data, told
    onnx.checker.check_model(model)
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    assert not any(len(one.metadata_props) for one in (model, graph, *graph.node, *graph.initializer, *values))


def test_weights_have_the_names_that_they_have_in_torch(plain):
    network, _, model, _ = plain
    own = {name: value for name, value in network.network.state_dict().items() if value.dim() == 4}
    held = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    assert own.keys() <= held.keys()
    assert not any(name.startswith("network.") for name in held)
    # BatchNorm may be folded into what is before it.
    np.testing.assert_array_equal(held["last.weight"], own["last.weight"].numpy())


def test_the_model_file_names_input_and_output(plain):
    _, _, model, folder = plain
    spec = read_spec(folder / "network.toml")
    assert spec == replace(SPEC, input=replace(SPEC.input, name="image"), output=replace(SPEC.output, name=("depth",)))
    assert [one.name for one in model.graph.input] == ["image"]
    assert [one.name for one in model.graph.output] == ["depth"]
    assert [one.dim_value for one in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, HEIGHT, WIDTH]
    assert [(one.domain, one.version) for one in model.opset_import if not one.domain] == [("", 18)]
    assert {path.name for path in folder.iterdir()} == {"network.onnx", "network.toml"}


def test_an_export_repeats_itself(plain, tmp_path):
    network, _, _, folder = plain
    export(network, tmp_path)
    assert (tmp_path / "network.onnx").read_bytes() == (folder / "network.onnx").read_bytes()


def test_several_outputs_open_sizes_and_another_opset(tmp_path):
    network = made(Packed, ("part", "inv_depths.0"))
    spec = replace(SPEC, output=OutputSpec(("integer", "fraction"), "integer-fraction", max=10.0))
    _, model = export(network, tmp_path, spec, dynamic=True, opset=20)
    assert [one.name for one in model.graph.output] == ["integer", "fraction"]
    assert [one.version for one in model.opset_import if not one.domain] == [20]
    for shape in ((1, 3, HEIGHT, WIDTH), (3, 3, 20, 28)):
        pictures = RANDOM.random(shape).astype(np.float32)
        close(ran(tmp_path, pictures), network, pictures)


def test_channels_last_and_names_of_ones_own(tmp_path):
    network = made(Last)
    spec = ModelSpec(InputSpec(WIDTH, HEIGHT, name="rgb", layout="nhwc"), OutputSpec(("disparity",)))
    pictures = [picture.transpose(1, 2, 0).copy() for picture in PICTURES]
    _, model = export(network, tmp_path, spec, pictures, dynamic=True)
    assert [one.name for one in (*model.graph.input, *model.graph.output)] == ["rgb", "disparity"]
    other = RANDOM.random((2, 8, 24, 3)).astype(np.float32)
    close(ran(tmp_path, other, "rgb"), network, other)


# What is refused


class Other:
    """Stands for ONNX Runtime that computes something else."""

    def __init__(self, change):
        self.change = change

    def of(self, path, spec):
        self.names = [Path(path).name]
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return self

    def open(self):
        return self

    def run(self, picture):
        return [self.change(one) for one in self.session.run(None, {"image": picture[None]})]


@pytest.mark.parametrize(
    "change",
    [lambda one: one * 1.001, lambda one: one + np.nan, lambda one: np.where(one == one.max(), np.inf, one)],
    ids=["other", "nan", "inf"],
)
def test_an_export_that_differs_is_refused_and_leaves_nothing(change, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "_exported", lambda *_: (plain[3] / "network.onnx").read_bytes())
    monkeypatch.setattr(onnx_export, "NetworkReference", Other(change))
    with pytest.raises(TrainingError, match=r"differs from torch by .* of its largest output \(allowed: 0.0001\)"):
        export(plain[0], tmp_path)
    assert not list(tmp_path.iterdir())
    # It is the change that is refused.
    monkeypatch.setattr(onnx_export, "NetworkReference", Other(lambda one: one * 1.00001))
    assert export(plain[0], tmp_path)[0] == pytest.approx(1e-5, rel=0.1)


def test_an_older_export_stays_where_a_new_one_is_refused(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "_exported", lambda *_: (plain[3] / "network.onnx").read_bytes())
    export(plain[0], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(onnx_export, "NetworkReference", Other(lambda one: -one))
    with pytest.raises(TrainingError, match="differs from torch"):
        export(plain[0], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


class Branching(Tiny):
    def forward(self, image):
        return super().forward(image) if float(image.sum()) > 0 else image


def test_a_network_that_torch_cannot_export_is_told_in_one_line(tmp_path):
    with pytest.raises(TrainingError, match=r"torch cannot export the network \(") as caught:
        export(made(Branching), tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("names", "where"), [(("a", "b"), ()), ((), ("inv_depths.0", "part"))])
def test_outputs_and_names_must_be_as_many(names, where, tmp_path):
    with pytest.raises(TrainingError, match=r"the model file names \d outputs \(.*\), the recipe's \[network\] output"):
        export(made(Packed, where), tmp_path, replace(SPEC, output=OutputSpec(names)))
    assert not list(tmp_path.iterdir())


class OneSize(torch.nn.Module):
    """Takes pictures of its own size only."""

    def __init__(self, height, width):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(1, 1, height, width))

    def forward(self, pictures):
        return pictures.mean(dim=1, keepdim=True) + self.shift


def test_a_network_of_one_size_is_not_exported_as_if_it_took_others(tmp_path):
    network = Outputs(OneSize(SPEC.input.height, SPEC.input.width))
    picture = np.zeros((3, SPEC.input.height, SPEC.input.width), dtype=np.float32)
    folder = LocalFolder(str(tmp_path))
    with pytest.raises(TrainingError, match=r"cannot take a picture of shape .* dynamic = true"):
        export_onnx(network, SPEC, ExportRecipe(dynamic=True), folder, [picture])
    assert not list(tmp_path.iterdir())
    export_onnx(network, SPEC, ExportRecipe(), folder, [picture])
