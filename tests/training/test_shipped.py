"""The network that comes with this package: it sees depth, and its files belong together."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.judging import figures, paired, truth_of

import ncdb_dask
from ncdb_dask.dataset.synthetic import write_tree
from ncdb_dask.errors import TrainingError
from ncdb_dask.model.decode import decode
from ncdb_dask.model.preprocess import preprocess
from ncdb_dask.model.spec import read_spec
from ncdb_dask.training import shipped
from ncdb_dask.training.shipped import shipped_file, shipped_network

pytestmark = pytest.mark.xdist_group("shipped network")  # one tree for all of them
SUFFIXES = (".onnx", ".toml", ".pt")
SPEC = read_spec(shipped_file(".toml"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """What `ncdb-dask synth` renders by default, and the network was not trained on the validation of."""
    root = tmp_path_factory.mktemp("synthetic") / "tree"
    write_tree(root, scenes=6, frames=40, seed=42)
    return root


@pytest.fixture(scope="module")
def keys(tree) -> list[tuple[str, str]]:
    return [(one["dataset_root"], one["new_filename"]) for one in json.loads((tree / "val_split.json").read_text())]


def picture_of(tree, key):
    path = tree / key[0] / "image_a6" / f"{key[1]}.png"
    return preprocess(path.read_bytes(), SPEC.input)


def dense(tree, keys):
    """Some frames whose depth is of the usual variant."""
    usual = [key for key in keys if (tree / key[0] / "newest_depth_maps" / f"{key[1]}.png").is_file()]
    assert len(usual) > 10
    return usual[::4]


def abs_rel(tree, keys, change=lambda picture: picture):
    """The mean over frames, by ONNX Runtime and the definitions alone."""
    session = onnxruntime.InferenceSession(shipped_network(), providers=["CPUExecutionProvider"])
    low, high = SPEC.evaluation.min_depth, SPEC.evaluation.max_depth
    found = []
    for key in keys:
        (output,) = session.run(None, {"image": change(picture_of(tree, key))[None]})
        true, predicted = paired(truth_of(tree, key), decode([output[0]], SPEC.output), low, high)
        found.append(figures(true, predicted)["abs_rel"])
    return float(np.mean(found))


def test_it_sees_depth(tree, keys, tmp_path):
    evaluation = ncdb_dask.evaluate(shipped_network(), tmp_path / "out", root=tree, split="val_split.json")
    assert evaluation.figures.frames == len(keys) > 20
    assert evaluation.figures.mean["abs_rel"] < 0.12
    some = dense(tree, keys)
    rows = ncdb_dask.read_evaluation(tmp_path / "out").set_index(["dataset_root", "filename"])
    assert abs_rel(tree, some) == pytest.approx(rows.loc[some, "abs_rel"].mean(), rel=1e-4)


def test_without_the_picture_it_sees_nothing(tree, keys):
    some = dense(tree, keys)
    order = np.random.default_rng(0).permutation(SPEC.input.height * SPEC.input.width)

    def shuffled(picture):
        return np.ascontiguousarray(picture.reshape(3, -1)[:, order].reshape(picture.shape))

    assert abs_rel(tree, some, shuffled) > 2 * abs_rel(tree, some)


def test_its_files_are_small():
    assert sum(shipped_file(suffix).stat().st_size for suffix in SUFFIXES) < 2_000_000


def test_the_graph_tells_nothing_of_the_machine_that_made_it():
    model = onnx.load(shipped_network())
    onnx.checker.check_model(model)
    assert not any(len(one.metadata_props) for one in (model, model.graph, *model.graph.node))
    for told in (b"/home", b"/work", b"/root", b"/tmp", b"site-packages"):
        assert told not in shipped_network().read_bytes()


def test_checkpoint_and_graph_are_one_network(tree, keys):
    torch = pytest.importorskip("torch")
    from ncdb_dask.training.recipe_sections import NetworkRecipe
    from ncdb_dask.training.source import Source

    torch.set_num_threads(1)
    network = Source.of(NetworkRecipe()).build(0).eval()
    session = onnxruntime.InferenceSession(shipped_network(), providers=["CPUExecutionProvider"])
    for key in keys[::10]:
        picture = picture_of(tree, key)[None]
        with torch.no_grad():
            (exact,) = network(torch.from_numpy(picture))
        (found,) = session.run(None, {"image": picture})
        assert np.abs(found - exact.numpy()).max() < 1e-4


def test_a_recipe_of_a_data_set_alone_takes_it(tree, keys, tmp_path):
    pytest.importorskip("torch")
    plan = ncdb_dask.plan_finetune({"data": {"root": str(tree)}}, tmp_path / "out")
    assert plan.spec == SPEC
    assert len(plan.validation) == len(keys)
    assert plan.source.build(0).network.state_dict().keys()


def test_it_is_found_without_torch():
    code = "import sys; from ncdb_dask.training.shipped import shipped_network as found; print(found().stat().st_size)"
    script = f"{code}; sys.exit('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(ran.stdout) == shipped_network().stat().st_size


def test_an_installation_without_it_says_so(monkeypatch):
    monkeypatch.setattr(shipped, "NAME", "gone")
    with pytest.raises(
        TrainingError, match=r"gone\.onnx: no such file; expected the network that comes with ncdb_dask"
    ):
        shipped_network()
