"""The network that a recipe names: factories, checkpoints, and where outputs are; what is wrong is said."""

import collections
import sys

import pytest

torch = pytest.importorskip("torch")

from helpers.finetuning import CPU, Executed, Packed, Tiny  # noqa: E402
from torch import nn  # noqa: E402

from ncdb_dask.errors import TrainingError  # noqa: E402
from ncdb_dask.training.recipe_sections import NetworkRecipe  # noqa: E402
from ncdb_dask.training.source import Outputs, Source  # noqa: E402

FACTORY = "helpers.finetuning:tiny"
PICTURES = torch.rand(2, 3, 12, 16, generator=torch.Generator(CPU).manual_seed(0))


def weights(seed=1):
    torch.manual_seed(seed)
    return Tiny().state_dict()


def built(checkpoint="random", **changes):
    named = {"factory": FACTORY, "checkpoint": str(checkpoint), "model_spec": "tiny.toml"}
    return Source.of(NetworkRecipe(**named | changes)).build(0)


def refused(checkpoint="random", **changes) -> str:
    with pytest.raises(TrainingError) as caught:
        built(checkpoint, **changes)
    said = str(caught.value)
    assert said.startswith("[network] ")
    assert "\n" not in said
    return said


def assert_holds(outputs, expected):
    found = outputs.network.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


# Factories


def test_random_weights_come_from_the_seed_alone():
    source = Source.of(NetworkRecipe(factory=FACTORY, checkpoint="random", model_spec="tiny.toml"))
    first, again, other = (source.build(seed).network.first.weight for seed in (5, 5, 6))
    assert source.sha256 == ""
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_arguments_reach_the_factory():
    assert built(arguments={"dropout": 0.75}).network.drop.p == 0.75


def test_a_factory_in_the_current_folder_is_found(tmp_path, monkeypatch):
    text = "from torch import nn\n\ndef net():\n    return nn.Linear(1, 2)\n"
    (tmp_path / "stranger_of_this_test.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path])
    assert built(factory="stranger_of_this_test:net").network.out_features == 2


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("helpers.finetuning", "expected package.module:function"),
        ("helpers.finetuning:", "expected package.module:function"),
        (":tiny", "expected package.module:function"),
        ("no.such.module:net", "ModuleNotFoundError: No module named 'no'"),
        ("helpers.finetuning:tyni", "has no attribute 'tyni'"),
        ("helpers.finetuning:broken", "RuntimeError: no such backbone"),
        ("helpers.finetuning:no_module", "returns a dict; expected a torch.nn.Module"),
        ("helpers.finetuning:TRAIN", "'int' object is not callable"),
    ],
)
def test_a_factory_that_is_of_no_use(factory, says):
    said = refused(factory=factory)
    assert factory in said
    assert says in said


def test_arguments_that_the_factory_does_not_take():
    assert "unexpected keyword argument 'depth'" in refused(arguments={"depth": 18})


# Checkpoints


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "network", None])
def test_weights_are_found_under_what_wraps_them(wrapper, tmp_path):
    held = {"epoch": 7, "optimizer": {"state": {}}, wrapper: weights()} if wrapper else weights()
    torch.save(held, tmp_path / "net.pt")
    assert_holds(built(tmp_path / "net.pt"), weights())


def test_wrappers_within_wrappers(tmp_path):
    torch.save({"model": {"state_dict": weights(), "epoch": 1}}, tmp_path / "net.pt")
    assert_holds(built(tmp_path / "net.pt"), weights())


def test_weights_of_a_data_parallel_training(tmp_path):
    torch.save(nn.DataParallel(Tiny()).state_dict() | {"module." + k: v for k, v in weights().items()}, tmp_path / "a")
    assert_holds(built(tmp_path / "a", prefix="module."), weights())
    assert "lacks first.weight" in refused(tmp_path / "a")


def test_what_is_not_under_the_prefix_is_passed_over(tmp_path):
    held = {f"depth_net.{name}": value for name, value in weights().items()} | {"pose_net.weight": torch.ones(3)}
    torch.save({"state_dict": held}, tmp_path / "net.ckpt")
    assert_holds(built(tmp_path / "net.ckpt", prefix="depth_net."), weights())
    said = refused(tmp_path / "net.ckpt", prefix="net.")
    assert "no tensor under prefix = 'net.'; its names begin like depth_net.first.weight" in said


def test_a_checkpoint_that_is_not_there(tmp_path):
    said = refused(tmp_path / "net.pt")
    assert f"checkpoint {tmp_path}/net.pt: cannot be read (No such file or directory)" in said


@pytest.mark.parametrize("held", [b"", b"no checkpoint at all", b"PK\x03\x04 cut short"])
def test_a_checkpoint_that_torch_did_not_write(held, tmp_path):
    (tmp_path / "net.pt").write_bytes(held)
    assert f"checkpoint {tmp_path}/net.pt: " in refused(tmp_path / "net.pt")


def test_a_checkpoint_that_is_cut_short(tmp_path):
    torch.save(weights(), tmp_path / "net.pt")
    whole = (tmp_path / "net.pt").read_bytes()
    (tmp_path / "net.pt").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in refused(tmp_path / "net.pt")


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    torch.save({"state_dict": weights(), "extra": Executed(str(tmp_path / "trace"))}, tmp_path / "net.pt")
    said = refused(tmp_path / "net.pt")
    assert "holds more than tensors" in said
    assert "trust_checkpoint = true" in said
    assert not (tmp_path / "trace").exists()


def test_a_whole_network_is_taken_where_its_source_is_trusted(tmp_path):
    network = Tiny()
    network.load_state_dict(weights())
    torch.save({"model": network, "names": collections.Counter("ab")}, tmp_path / "net.pt")
    assert "trust_checkpoint = true" in refused(tmp_path / "net.pt")
    assert_holds(built(tmp_path / "net.pt", trust_checkpoint=True), weights())
    torch.save(network, tmp_path / "whole.pt")
    assert_holds(built(tmp_path / "whole.pt", trust_checkpoint=True), weights())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda held: held.pop("last.bias"), "it lacks last.bias;"),
        (lambda held: held.update(other=torch.ones(1)), "it has also other;"),
        (lambda held: held.update({"last.bias": torch.ones(2)}), "it has another shape of last.bias;"),
        (
            lambda held: [held.pop(name) for name in list(held)[:5]],
            "it lacks first.weight, norm.weight, norm.bias and 2 more;",
        ),
    ],
)
def test_a_checkpoint_of_another_network(change, says, tmp_path):
    held = dict(weights())
    change(held)
    torch.save(held, tmp_path / "net.pt")
    assert says in refused(tmp_path / "net.pt")


@pytest.mark.parametrize("held", [{}, {"state_dict": {}}, {"epoch": 3}, [1, 2], torch.ones(3)])
def test_a_checkpoint_without_weights(held, tmp_path):
    torch.save(held, tmp_path / "net.pt")
    assert "no tensor under prefix = ''" in refused(tmp_path / "net.pt")


def test_the_digest_is_that_of_the_checkpoint(tmp_path):
    torch.save(weights(1), tmp_path / "one.pt")
    torch.save(weights(2), tmp_path / "two.pt")
    paths = [str(tmp_path / name) for name in ("one.pt", "two.pt")]
    one, two = (Source.of(NetworkRecipe(FACTORY, checkpoint=path, model_spec="x")) for path in paths)
    assert len(one.sha256) == 64
    assert one.sha256 != two.sha256


# Outputs


class Returning(nn.Module):
    def __init__(self, returned):
        super().__init__()
        self.returned = returned

    def forward(self, image):
        return self.returned


A, B = torch.ones(1), torch.zeros(1)
NESTED = {"inv_depths": [A, B], "pose": {"left": (B, A)}}


@pytest.mark.parametrize(
    ("returned", "where", "expected"),
    [
        (A, (), [A]),
        ([A, B], (), [A]),
        ((A, B), (), [A]),
        (NESTED, ("inv_depths.0",), [A]),
        (NESTED, ("inv_depths.1", "inv_depths.0"), [B, A]),
        (NESTED, ("inv_depths",), [A]),
        (NESTED, ("pose.left.1",), [A]),
    ],
)
def test_outputs_are_found_by_their_path(returned, where, expected):
    found = Outputs(Returning(returned), where)(PICTURES)
    assert [one is other for one, other in zip(found, expected, strict=True)] == [True] * len(expected)


@pytest.mark.parametrize(
    ("returned", "where", "says"),
    [
        (NESTED, ("disps.0",), "output = 'disps.0': is not in what it returns, a dict of inv_depths, pose"),
        (NESTED, ("inv_depths.2",), "output = 'inv_depths.2': is not in what it returns"),
        (NESTED, ("inv_depths.first",), "output = 'inv_depths.first': is not in what it returns"),
        ([A, B], ("3",), "is not in what it returns, a list of 2"),
        (NESTED, (), "returns a dict of inv_depths, pose; expected a tensor: name its place in output"),
        ([], (), "returns a list of 0; expected a tensor"),
        (None, (), "returns a NoneType; expected a tensor"),
        (None, ("a",), "is not in what it returns, a NoneType"),
        (A, ("depth",), "is not in what it returns, a Tensor"),
    ],
)
def test_a_path_that_leads_nowhere(returned, where, says):
    with pytest.raises(TrainingError) as caught:
        Outputs(Returning(returned), where)(PICTURES)
    assert says in str(caught.value)


def test_outputs_of_a_real_network():
    torch.manual_seed(0)
    network = Packed().eval()
    first, part = Outputs(network, ("inv_depths.0", "part"))(PICTURES)
    assert torch.equal(first, network(PICTURES)["inv_depths"][0])
    assert torch.equal(part, 1 - first)
