"""Layers of torch networks: a row of weights an output channel, with the BatchNorm that is folded into them."""

import math

import pytest

torch = pytest.importorskip("torch")

from helpers.torch_networks import Joined, pictures, settle  # noqa: E402
from torch import nn  # noqa: E402

from ncdb_dask.training.layers import WeightLayer, find_layers  # noqa: E402

LAYERS = {
    "linear": lambda: nn.Linear(4, 6),
    "conv1d": lambda: nn.Conv1d(4, 6, 3, padding=2),
    "conv2d": lambda: nn.Conv2d(4, 6, (3, 2), padding=(2, 1)),
    "conv3d": lambda: nn.Conv3d(4, 6, 2, padding=1),
    "conv2d in groups": lambda: nn.Conv2d(4, 6, 3, padding=2, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, padding=2, groups=4),
    "transposed 1d": lambda: nn.ConvTranspose1d(4, 6, 3),
    "transposed 2d": lambda: nn.ConvTranspose2d(4, 6, (3, 2)),
    "transposed 3d": lambda: nn.ConvTranspose3d(4, 6, 2),
    "transposed in groups": lambda: nn.ConvTranspose2d(4, 6, 3, groups=2),
    "transposed depthwise": lambda: nn.ConvTranspose2d(4, 8, 3, groups=4),
}


def responses(layer):
    """What each output channel answers to a one in each input channel, sorted: its weights, whatever their order."""
    spatial = [5] * (layer.weight.dim() - 2)
    found = None
    for channel in range(4):
        given = torch.zeros(1, 4, *spatial)
        given[(0, channel, *[2] * len(spatial))] = 1
        answer = (layer(given) - layer(torch.zeros_like(given)))[0].flatten(1) if spatial else None
        if answer is None:
            answer = (layer(given) - layer(torch.zeros_like(given)))[0][:, None]
        found = answer if found is None else torch.cat([found, answer], dim=1)
    return [sorted(value for value in row.tolist() if abs(value) > 1e-6) for row in found]


@pytest.mark.parametrize("kind", LAYERS)
def test_a_row_holds_the_weights_that_reach_an_output_channel(kind):
    torch.manual_seed(0)
    layer = LAYERS[kind]()
    (found,) = find_layers(nn.Sequential(nn.ReLU(), layer))
    rows = found.by_channel()
    assert found.name == "1"
    expected = responses(layer)
    assert rows.shape == (len(expected), layer.weight.numel() // len(expected))
    for row, weights in zip(rows.tolist(), expected, strict=True):
        assert sorted(row) == pytest.approx(weights, abs=1e-6)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", ["conv1d", "conv2d in groups", "conv3d", "transposed in groups", "linear"])
def test_folded_weights_make_what_layer_and_norm_make(kind, affine):
    torch.manual_seed(0)
    layer = LAYERS[kind]()
    dims = layer.weight.dim() - 2
    norm = [nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d][dims](6, affine=affine)
    norm.running_var.uniform_(0.1, 4.0)
    if affine:
        settle(norm)
    model = nn.Sequential(layer, norm).eval()
    image, shift = torch.randn(2, 4, *[5] * dims), torch.zeros(2, 4, *[5] * dims)
    (found,) = find_layers(model, image)
    assert found == WeightLayer("0", layer, norm)
    assert found.end is norm
    # The difference of two pictures leaves weights alone, without biases.
    expected = model(image) - model(shift)
    folded = (layer(image) - layer(shift)).transpose(0, 1)
    rows, raw = found.by_channel(), WeightLayer("0", layer).by_channel()
    factors = (rows / raw).mean(dim=1).reshape(-1, *[1] * (folded.dim() - 1))
    assert torch.allclose((folded * factors).transpose(0, 1), expected, atol=1e-4)
    assert torch.allclose(rows, raw * factors.reshape(-1, 1))


class Uses(nn.Module):
    """A convolution whose output is used in several ways."""

    def __init__(self, way):
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.norm, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.way = way

    def forward(self, image):
        return self.way(self, self.conv(image), image)


ALONE = {
    "alone": lambda net, made, _: torch.relu(net.norm(made)),
    "by name": lambda net, made, _: net.norm(input=made),
    "asked for its shape": lambda net, made, _: net.norm(made) * made.shape[1] * made.size(0) * made.dim(),
    "called twice, one norm": lambda net, made, image: net.norm(made) + net.norm(net.conv(image + 1)),
}
NOT_ALONE = {
    "also added": lambda net, made, _: net.norm(made) + made,
    "also read by a function after": lambda net, made, _: (net.norm(made), torch.nn.functional.relu(made)),
    "also returned": lambda net, made, _: {"norm": net.norm(made), "raw": [made]},
    "also into a module": lambda net, made, _: net.norm(made) + net.second(made),
    "changed in place": lambda net, made, _: net.norm(made.add_(1)),
    "before an activation": lambda net, made, _: net.norm(torch.relu(made)),
    "called twice, two norms": lambda net, made, image: net.norm(made) + net.second(net.conv(image + 1)),
    "called twice, once without": lambda net, made, image: net.norm(made) + net.conv(image + 1).sigmoid(),
    "no norm": lambda net, made, _: made * 2,
}


@pytest.mark.parametrize("way", ALONE)
def test_a_norm_that_alone_takes_the_output_is_folded(way):
    model = Uses(ALONE[way])
    assert next(iter(find_layers(model, pictures(2)))).batch_norm is model.norm


@pytest.mark.parametrize("way", NOT_ALONE)
def test_nothing_is_folded_where_the_output_is_needed(way):
    assert [layer.batch_norm for layer in find_layers(Uses(NOT_ALONE[way]), pictures(2))] == [None, None]


def test_two_layers_before_one_norm_are_both_folded():
    model = Uses(lambda net, made, image: net.norm(made) + net.norm(net.other(image)))
    assert [layer.batch_norm for layer in find_layers(model, pictures(2))] == [model.norm, model.norm]


def test_a_norm_without_statistics_is_not_folded():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
    assert [layer.batch_norm for layer in find_layers(model, pictures(2))] == [None]


def test_a_norm_over_another_axis_is_not_folded():
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5))
    assert [layer.batch_norm for layer in find_layers(model, torch.rand(2, 5, 4))] == [None]


def test_without_an_example_nothing_is_folded():
    assert all(layer.batch_norm is None for layer in find_layers(Joined(torch.relu)))


def hooks(model):
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules())


@pytest.mark.parametrize("broken", [False, True])
def test_the_network_is_left_as_it_was(broken):
    model = Joined(torch.relu).train()
    model.join.eval()
    flags = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    if broken:
        with pytest.raises(RuntimeError):
            find_layers(model, torch.rand(1, 7, 4, 4))
    else:
        assert [layer.name for layer in find_layers(model, pictures())] == ["branch", "skip", "join", "head"]
    assert [module.training for module in model.modules()] == flags
    assert hooks(model) == 0
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert torch.is_grad_enabled()


def test_gradients_reach_weights_and_norm():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).double()
    settle(model[1])
    (layer,) = find_layers(model, pictures(1).double())
    layer.by_channel().square().sum().backward()
    factor = model[1].weight / (model[1].running_var + model[1].eps).sqrt()
    expected = 2 * model[0].weight.detach() * factor.detach().reshape(-1, 1, 1, 1) ** 2
    assert torch.allclose(model[0].weight.grad, expected)
    assert model[1].weight.grad.abs().min() > 0
    assert math.isclose(factor[0].item(), (layer.by_channel()[0, 0] / model[0].weight[0, 0, 0, 0]).item())
