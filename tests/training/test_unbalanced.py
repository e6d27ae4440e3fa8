"""From a quantization's report to the torch layers that a training can balance: what was planted is found, no more."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from helpers.quantizing import depth_network  # noqa: E402
from helpers.torch_networks import PLANTED, InARow, Joined, export, int8, pictures, settle, spread_out  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from ncdb_dask.errors import NcdbError, QuantizationError, TrainingError  # noqa: E402
from ncdb_dask.model.channel_rules import find_channels  # noqa: E402
from ncdb_dask.model.topology import Topology  # noqa: E402
from ncdb_dask.training import unbalanced  # noqa: E402
from ncdb_dask.training.branches import BranchRanges  # noqa: E402
from ncdb_dask.training.unbalanced import read_unbalanced  # noqa: E402

CURVED = {
    "elu": functional.elu,
    "sigmoid": lambda values: torch.sigmoid(values * 0.1),
    "tanh": lambda values: torch.tanh(values * 0.03),
    "softplus": functional.softplus,
    "relu6": lambda values: functional.relu6(values * 0.1),
    "silu": functional.silu,
    "gelu": functional.gelu,
    "hardswish": functional.hardswish,
}
STRAIGHT = {"relu": torch.relu, "leaky relu": functional.leaky_relu}


def names(found):
    return [sorted(layer.name for layer in one.layers) for one in found]


def found_in(model, folder, **options):
    return read_unbalanced(int8(model, folder, **options).out, model, pictures(1))


@pytest.mark.parametrize("kind", CURVED)
def test_a_branch_that_is_held_is_found(kind, tmp_path):
    model = Joined(CURVED[kind]).eval()
    found = found_in(model, tmp_path)
    # What enters the activation function has one step, and so has what leaves the Concat.
    assert ["branch"] in names(found)
    assert all("branch" in one and set(one) <= {"branch", "skip"} for one in names(found))
    (alone,) = (one for one in found if [layer.name for layer in one.layers] == ["branch"])
    assert alone.layers[0].module is model.branch
    assert alone.spread_after >= 0.8 * alone.spread_before >= 2
    assert alone.held_by
    assert all(why for why in alone.held_by.values())


@pytest.mark.parametrize("kind", ["elu", "softplus", "silu"])
def test_all_that_meets_in_a_concat_belongs_to_it(kind, tmp_path):
    model = Joined(CURVED[kind]).eval()
    found = found_in(model, tmp_path)
    assert names(found) == [["branch"], ["branch", "skip"]]
    joined = found[1].layers
    assert {layer.name: layer.batch_norm for layer in joined} == {"branch": None, "skip": model.norm}
    assert found[1].spread_before > PLANTED / 3


@pytest.mark.parametrize("kind", ["elu", "softplus"])
def test_a_pair_around_an_activation_is_found(kind, tmp_path):
    model = InARow(CURVED[kind]).eval()
    (found,) = found_in(model, tmp_path)
    assert [layer.module for layer in found.layers] == [model.first]
    assert all(holder.lower().startswith(kind) for holder in found.held_by)
    assert set(found.held_by.values()) == {"f(s x) is not s f(x)"}


@pytest.mark.parametrize("network", [Joined, InARow])
@pytest.mark.parametrize("kind", STRAIGHT)
def test_what_equalization_balances_is_not_there(kind, network, tmp_path):
    assert found_in(network(STRAIGHT[kind]).eval(), tmp_path) == []


def test_a_penalty_on_what_was_found_is_a_way_out(tmp_path):
    model = Joined(functional.elu).eval()
    before = found_in(model, tmp_path / "before")
    parts = (model.branch, model.skip, model.norm)
    optimizer = torch.optim.Adam([one for part in parts for one in part.parameters()], lr=0.1)
    penalties = []
    with BranchRanges(one.layers for one in before) as ranges:
        for _ in range(60):
            optimizer.zero_grad()
            model(pictures())
            penalties.append(ranges.penalty())
            penalties[-1].backward()
            optimizer.step()
    assert penalties[-1] < penalties[0] / 10
    after = found_in(model, tmp_path / "after")
    assert all(one.spread_after < before[1].spread_after / 4 for one in after)


# Finding the layers


class Residual(nn.Module):
    """Two residual blocks in a row, whose sums have common scales, behind ELUs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.first, self.second = (nn.Conv2d(taken, 6, 3, padding=1) for taken in (3, 6, 6))
        self.head = nn.Conv2d(6, 1, 1)
        spread_out(self.stem)

    def forward(self, image):
        values = self.stem(image)
        values = values + self.first(functional.elu(values))
        return self.head(values + self.second(torch.relu(values)))


def test_what_comes_later_in_a_residual_chain_does_not_make_a_tensor(tmp_path):
    found = found_in(Residual().eval(), tmp_path)
    assert names(found) == [["stem"], ["first", "stem"], ["first", "second", "stem"]]


class Deeper(nn.Module):
    """A branch that is resized and pooled behind its activation, of a layer whose weights have other axes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2)
        self.skip = nn.Conv2d(3, 5, 3, padding=1)
        self.head = nn.Conv2d(11, 1, 1)
        with torch.no_grad():
            self.up.weight[:2, 0] *= PLANTED * 3

    def forward(self, image):
        grown = functional.elu(self.up(torch.relu(self.down(image))))
        grown = functional.interpolate(functional.max_pool2d(grown, 2), scale_factor=2.0)
        return self.head(torch.cat([grown, torch.relu(self.skip(image))], dim=1))


def test_a_branch_is_followed_through_poolings_and_resizings(tmp_path):
    found = found_in(Deeper().eval(), tmp_path)
    assert ["up"] in names(found)
    assert names(found)[-1] == ["skip", "up"]


class Unrelated(nn.Module):
    """The same network under another name, as a wrapper for the export has it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return self.network(image)


def test_layers_are_found_by_their_values_where_names_differ(tmp_path):
    model = Joined(functional.elu).eval()
    out = int8(Unrelated(model), tmp_path).out
    assert names(read_unbalanced(out, model, pictures(1))) == [["branch"], ["branch", "skip"]]
    # Without an example the norm is not known, but the layer is.
    with pytest.raises(TrainingError, match=r"no layer of the torch network has its weights"):
        read_unbalanced(out, model, None)


@pytest.mark.parametrize("kind", ["elu", "relu6"])  # into the second one's weights ONNX Runtime folds the factor
def test_layers_that_were_trained_since_are_found_by_their_names(kind, tmp_path):
    model = Joined(CURVED[kind]).eval()
    out = int8(model, tmp_path).out
    before = names(read_unbalanced(out, model, pictures(1)))
    settle(model.norm)
    with torch.no_grad():
        model.branch.weight.add_(0.3)
    assert names(read_unbalanced(out, model, pictures(1))) == before
    assert before[0] == ["branch"]


def test_a_network_of_other_layers_is_refused(tmp_path):
    out = int8(Joined(functional.elu).eval(), tmp_path).out
    other = InARow(functional.elu, seed=1)
    with pytest.raises(TrainingError, match=r"branch\.weight of 6 channels by 27 .*first\.weight, second\.weight"):
        read_unbalanced(out, other, pictures(1))


class Normalised(nn.Module):
    """What a norm makes has no layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 1, 1)
        self.norm = nn.InstanceNorm2d(6, affine=True)
        with torch.no_grad():
            self.norm.weight[0] = PLANTED

    def forward(self, image):
        return self.head(functional.elu(self.norm(self.conv(image))))


def test_what_no_weights_make_has_no_layers(tmp_path):
    found = found_in(Normalised().eval(), tmp_path)
    assert [] in names(found)
    assert all("conv" not in one for one in names(found))


# Reports


def test_the_report_itself_may_be_named(tmp_path):
    model = InARow(functional.elu).eval()
    out = Path(int8(model, tmp_path).out)
    assert read_unbalanced(out.with_name("int8.report.json"), model, pictures(1)) == read_unbalanced(
        str(out), model, pictures(1)
    )


def test_a_report_without_equalization_is_refused(tmp_path):
    model = InARow(functional.elu).eval()
    out = int8(model, tmp_path, equalize=False).out
    with pytest.raises(TrainingError, match=r"nothing of equalization .*onnxruntime.*--no-equalize"):
        read_unbalanced(out, model, pictures(1))


def test_a_network_that_was_exported_anew_is_refused(tmp_path):
    model = InARow(functional.elu).eval()
    out = int8(model, tmp_path).out
    spread_out(model.first, 2.0)
    export(model, tmp_path / "net.onnx")
    with pytest.raises(TrainingError, match=r"net\.onnx: is not the network"):
        read_unbalanced(out, model, pictures(1))
    (tmp_path / "net.onnx").unlink()
    with pytest.raises(NcdbError, match=r"net\.onnx"):
        read_unbalanced(out, model, pictures(1))


def test_a_report_of_other_tensors_is_refused(tmp_path):
    model = InARow(functional.elu).eval()
    out = int8(model, tmp_path).out
    path = tmp_path / "out" / "int8.report.json"
    report = json.loads(path.read_text())
    report["quantizer"]["equalization"]["tensors"][0]["tensor"] = "gone"
    path.write_text(json.dumps(report))
    with pytest.raises(TrainingError, match="channels of gone"):
        read_unbalanced(out, model, pictures(1))


def test_no_report_is_an_error_of_its_own(tmp_path):
    with pytest.raises(QuantizationError, match="no such file"):
        read_unbalanced(tmp_path / "int8.onnx", InARow(torch.relu), None)


def test_makers_of_a_network_of_another_origin():
    """Where nothing is held, every tensor of channels comes from the layers upstream of it that share its numbers."""
    channels = find_channels(Topology.of(depth_network().model()))
    concat = next(node for node in channels.topology.nodes if node.op_type == "Concat")
    makers = unbalanced._makers(channels, concat.output[0], "report")
    assert [layer.node.op_type for layer in makers] == ["Conv", "ConvTranspose"]
    assert np.concatenate([layer.made for layer in makers]).size == 8
