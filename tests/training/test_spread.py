"""Spreads of layers, and the noise that is expected of them against noise that is measured."""

import math

import pytest

torch = pytest.importorskip("torch")

from helpers.torch_networks import Joined, pictures, settle, spread_out  # noqa: E402
from torch import nn  # noqa: E402

from ncdb_dask.errors import TrainingError  # noqa: E402
from ncdb_dask.training.layers import WeightLayer, find_layers  # noqa: E402
from ncdb_dask.training.spread import LayerSpread, layer_spreads, table  # noqa: E402


def linear(rows):
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows))
    return WeightLayer("layer", layer)


def test_figures_by_hand():
    # Ranges 1, 2 and 8, and a dead channel: 8 over the median, 2. A step is 8/127, two weights meet in a value:
    # 2 (8/127)^2 / 12 over 1, 4 and 64; the mean of 1, 1/4 and 1/64 is 27/64.
    (found,) = layer_spreads([linear([[1.0, 0.0], [0.0, -2.0], [8.0, 0.0], [0.0, 0.0]])])
    expected = 10 * math.log10(2 * (8 / 127) ** 2 / 12 * 27 / 64)
    assert (found.name, found.channels, found.spread) == ("layer", 4, 4.0)
    assert found.noise_db == pytest.approx(expected)


def test_a_dead_layer_has_no_noise():
    assert layer_spreads([linear([[0.0], [0.0]])]) == [LayerSpread("layer", 2, 1.0, None)]


def measured_db(layer, folded):
    """Noise over power of each output channel on white noise, whose weights are rounded with one step; the mean."""
    weights = layer.weight.detach().double() * folded.reshape(-1, *[1] * (layer.weight.dim() - 1))
    step = weights.abs().max() / 127
    rounded = torch.round(weights / step) * step
    noise = torch.randn(8, layer.in_channels, 40, 40, generator=torch.Generator().manual_seed(1)).double()
    run = nn.functional.conv_transpose2d if isinstance(layer, nn.ConvTranspose2d) else nn.functional.conv2d
    exact, other = (run(noise, one, groups=layer.groups) for one in (weights, rounded))
    exact, other = (one[:, :, 3:-3, 3:-3] for one in (exact, other))
    ratio = (exact - other).square().mean(dim=(0, 2, 3)) / exact.square().mean(dim=(0, 2, 3))
    return 10 * math.log10(ratio.mean().item())


@pytest.mark.parametrize("planted", [1.0, 5.0, 20.0])
@pytest.mark.parametrize(("kind", "groups"), [(nn.Conv2d, 1), (nn.Conv2d, 4), (nn.ConvTranspose2d, 1)])
def test_the_expected_noise_is_the_measured_one(kind, groups, planted):
    torch.manual_seed(0)
    layer = kind(16, 12, 3, groups=groups)
    if kind is nn.Conv2d:
        spread_out(layer, planted)
    else:
        with torch.no_grad():
            layer.weight[:, 0] *= planted
    (found,) = layer_spreads([WeightLayer("layer", layer)])
    assert found.spread == pytest.approx(planted, rel=0.1)
    assert found.noise_db == pytest.approx(measured_db(layer, torch.ones(1)), abs=1.0)


def test_the_expected_noise_of_folded_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6))
    settle(model[1])
    layers = find_layers(model, torch.rand(1, 8, 5, 5))
    (found,) = layer_spreads(layers)
    folded = model[1].weight.detach() / (model[1].running_var + model[1].eps).sqrt()
    assert found.noise_db == pytest.approx(measured_db(model[0], folded), abs=1.0)


def test_before_and_after_are_joined_by_name():
    model = Joined(torch.relu)
    layers = find_layers(model, pictures(1))
    before = layer_spreads(layers)
    spread_out(model.branch, 1.0)
    rows = table(before, layer_spreads(layers)[::-1])
    assert [row["layer"] for row in rows] == ["branch", "skip", "join", "head"]
    assert list(rows[0]) == [
        *("layer", "channels", "spread_before", "spread_after", "noise_before_db", "noise_after_db")
    ]
    assert (rows[0]["spread_before"], rows[0]["spread_after"]) == pytest.approx((30.0, 1.0))
    assert rows[0]["noise_after_db"] < rows[0]["noise_before_db"] - 20
    assert rows[1]["spread_before"] == rows[1]["spread_after"]
    assert rows[3]["channels"] == 1


def test_spreads_of_other_layers_are_refused():
    before = layer_spreads(find_layers(Joined(torch.relu)))
    with pytest.raises(TrainingError, match="head: before or after alone"):
        table(before, before[:-1])
