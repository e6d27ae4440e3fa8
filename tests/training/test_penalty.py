"""Penalties on weights and activations, against values that were computed by hand."""

import math

import pytest

torch = pytest.importorskip("torch")

from helpers.torch_networks import Joined, pictures, settle  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from ncdb_dask.errors import TrainingError  # noqa: E402
from ncdb_dask.training.branches import BranchRanges  # noqa: E402
from ncdb_dask.training.layers import WeightLayer, find_layers  # noqa: E402
from ncdb_dask.training.penalty import channel_mean_variance, channel_range_variance  # noqa: E402

PENALTIES = {"means": channel_mean_variance, "ranges": channel_range_variance}


def linear(rows, kind=torch.float64):
    layer = nn.Linear(len(rows[0]), len(rows), bias=False, dtype=kind)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows, dtype=kind))
    return layer


def guide(model):
    """The guide's form, word for word."""
    total = 0.0
    for name, p in model.named_parameters():
        if "weight" in name and p.dim() > 1:
            total = total + torch.var(p.view(p.size(0), -1).mean(dim=1))
    return total


# Weights


def test_variance_of_means_by_hand():
    # Means 2, 0, 1 of the first (variance 1), 3 and -1 of the second (variance 8).
    model = nn.Sequential(linear([[1, 3], [-1, 1], [0, 2]]), linear([[3, 3, 3], [0, -1, -2]]))
    assert channel_mean_variance(model).item() == pytest.approx(9.0)


def test_variance_of_ranges_by_hand():
    # Ranges e, 1, 1/e: logarithms 1, 0, -1, variance 1. Ranges 1, e^2: logarithms 0, 2, variance 2.
    e = math.e
    model = nn.Sequential(linear([[0.5, -e], [1, 1], [1 / e, 0]]), linear([[1, 0, -0.5], [0, 0, -(e**2)]]))
    assert channel_range_variance(model).item() == pytest.approx(3.0)
    assert channel_range_variance(find_layers(model)[1:]).item() == pytest.approx(2.0)


def test_variance_of_means_is_the_guides():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 4, 2), nn.PReLU(4), nn.Linear(5, 6)
    )
    assert torch.equal(channel_mean_variance(model), guide(model))
    model[0].to(memory_format=torch.channels_last)  # in which `view` fails
    assert torch.isclose(channel_mean_variance(model), guide(model.to(memory_format=torch.contiguous_format)))


def test_means_are_blind_to_a_spread_of_ranges():
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, 3)
    with torch.no_grad():
        layer.weight -= layer.weight.mean(dim=(1, 2, 3), keepdim=True)
        alike = [penalty(layer).item() for penalty in PENALTIES.values()]
        layer.weight[0] *= 100
    means, ranges = (penalty(layer).item() for penalty in PENALTIES.values())
    assert alike[0] < 1e-14
    assert means < 1e-10
    # One of eight is log 100 away: variance log(100)^2 / 8.
    assert ranges == pytest.approx(math.log(100) ** 2 / 8, rel=0.2)
    assert alike[1] < 0.1


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_one_channel_counts_nothing(penalty, kind):
    head = nn.Conv2d(4, 1, 3, dtype=kind)
    assert penalty(head).item() == 0
    body = nn.Conv2d(3, 4, 3, dtype=kind)
    both = penalty(nn.Sequential(body, head))
    assert both.item() == penalty(body).item() > 0
    assert both.dtype == kind
    both.backward()
    assert torch.isfinite(body.weight.grad).all()


@pytest.mark.parametrize("dead", [0.0, 1e-320])
def test_dead_channels_are_left_out_of_ranges(dead):
    alive = [[1.0, 0.0], [0.0, math.e]]
    layer = linear([*alive, [dead, dead]])
    found = channel_range_variance(layer)
    assert found.item() == pytest.approx(0.5)  # of 0 and 1
    found.backward()
    assert torch.isfinite(layer.weight.grad).all()
    assert (layer.weight.grad[2] == 0).all()
    assert channel_range_variance(linear([[1.0, 2.0], [0.0, 0.0]])).item() == 0  # one is left
    assert channel_range_variance(linear([[0.0], [0.0]])).item() == 0


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(1, 4, 6), (2, 4, 6), (4, 4, 8)]),
    st.booleans(),
    st.floats(0.01, 100.0),
)
def test_ranges_against_loops_and_whatever_the_unit(seed, shape, transposed, factor):
    torch.manual_seed(seed)
    groups, taken, made = shape
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(taken, made, 2, groups=groups, dtype=torch.float64)
    logs = []
    for out in range(made):
        group, place, peak = out // (made // groups), out % (made // groups), 0.0
        for into in range(taken // groups):
            taps = layer.weight[group * (taken // groups) + into, place] if transposed else layer.weight[out, into]
            peak = max(peak, taps.abs().max().item())
        logs.append(math.log(peak))
    mean = sum(logs) / made
    expected = sum((one - mean) ** 2 for one in logs) / (made - 1)
    assert channel_range_variance(layer).item() == pytest.approx(expected, rel=1e-9)
    with torch.no_grad():
        layer.weight *= -factor
    assert channel_range_variance(layer).item() == pytest.approx(expected, rel=1e-9)


def test_folded_ranges_are_what_an_export_has():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5)).eval()
    settle(model[1])
    example = pictures(1)
    layers = find_layers(model, example)
    before, output = channel_range_variance(layers), model(example)
    with torch.no_grad():  # what the norm takes out again
        factors = torch.tensor([1.0, 10.0, 100.0, 0.1, 3.0])
        model[0].weight *= factors.reshape(-1, 1, 1, 1)
        model[1].running_mean *= factors
        model[1].running_var.copy_((model[1].running_var + model[1].eps) * factors**2 - model[1].eps)
    assert torch.allclose(model(example), output, atol=1e-4)
    assert torch.isclose(channel_range_variance(layers), before, rtol=1e-4)
    assert channel_range_variance(model) > 2 * before


# Patterns


def test_patterns_choose_by_name():
    model = Joined(torch.relu)
    one = channel_range_variance(model, include=("branch",))
    assert torch.isclose(one, channel_range_variance(model, exclude=["skip", "j*", "head"]))
    assert torch.isclose(one, channel_range_variance(model, include="bran*"))
    mean = channel_mean_variance(model, include="branch.*")
    assert torch.isclose(mean, torch.var(model.branch.weight.flatten(1).mean(dim=1)))
    assert channel_mean_variance(model, include=["head.weight"]).item() == 0


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ({"include": ("decoder.*",)}, r"'decoder\.\*' fits none .*branch.*head"),
        ({"exclude": ("Head*",)}, r"'Head\*' fits none"),
        ({"exclude": ("*",)}, "leave none"),
        ({"include": ()}, "leave none"),
        ({"include": ("branch*",), "exclude": ("b*",)}, "leave none"),
    ],
)
def test_a_penalty_on_nothing_is_refused(penalty, patterns, message):
    with pytest.raises(TrainingError, match=message):
        penalty(Joined(torch.relu), **patterns)


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_a_network_without_weights_has_no_penalty(penalty):
    assert penalty(nn.ReLU()).item() == 0
    assert penalty(nn.BatchNorm2d(4).double()).item() == 0
    with pytest.raises(TrainingError, match="it has none"):
        penalty(nn.ReLU(), include=("conv*",))


def test_many_names_are_not_all_shown():
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(9)])
    with pytest.raises(TrainingError, match=r"0, 1, 2, 3, 4, and 4 more"):
        channel_range_variance(model, include=("x",))


# Derivatives


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_derivatives_of_weights(penalty, kind):
    torch.manual_seed(0)
    model = nn.Sequential(kind(2, 4, 2, groups=2, dtype=torch.float64))
    weight = torch.randn_like(model[0].weight).requires_grad_()

    def of(values):
        del model[0].weight
        model[0].weight = values
        model.named_parameters = lambda: [("0.weight", values)]
        return penalty(model)

    assert torch.autograd.gradcheck(of, (weight,))


def test_derivatives_of_folded_weights():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3).double()
    settle(norm)
    layer = WeightLayer("conv", nn.Conv2d(2, 3, 2, dtype=torch.float64), norm)

    def of(values, gamma):
        for module, value in ((layer.module, values), (norm, gamma)):
            del module.weight
            module.weight = value
        return channel_range_variance([layer])

    start = [torch.randn(3, 2, 2, 2, dtype=torch.float64), torch.rand(3, dtype=torch.float64) + 0.5]
    assert torch.autograd.gradcheck(of, tuple(one.requires_grad_() for one in start))


@pytest.mark.parametrize("penalty", [channel_mean_variance, channel_range_variance])
def test_a_line_in_a_training_loop_lowers_the_penalty(penalty):
    torch.manual_seed(0)
    model = Joined(torch.relu)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    before = penalty(model).item()
    for _ in range(60):
        optimizer.zero_grad()
        (model(pictures()).square().mean() + penalty(model)).backward()
        optimizer.step()
    assert penalty(model).item() < before / 2


# Activations


def scaled(factors, **options):
    """A layer whose channels are the one that it takes, times factors."""
    layer = nn.Conv2d(1, len(factors), 1, bias=False, dtype=torch.float64, **options)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(factors).reshape(-1, 1, 1, 1))
    return layer


def test_ranges_of_branches_by_hand():
    # Of a picture whose largest absolute value is 2: log 2 + 0, + 1 and + 2 meet, and a dead one; variance 1.
    some, others = scaled([1.0, 0.0]), scaled([-math.e, math.e**2])
    picture = torch.tensor([[0.5, -2.0], [1.0, 0.0]], dtype=torch.float64).reshape(1, 1, 2, 2)
    groups = [[WeightLayer("some", some), WeightLayer("others", others)], [WeightLayer("some", some)]]
    with BranchRanges(groups) as ranges:
        torch.cat([some(picture), others(picture)], dim=1)
        found = ranges.penalty()
        assert found.item() == pytest.approx(1.0)
        found.backward()
        assert some.weight.grad[0].abs().item() > 0
        assert torch.isfinite(some.weight.grad).all()
        with pytest.raises(TrainingError, match=r"others, some since the last penalty"):
            ranges.penalty()


def test_the_maximum_is_over_batch_and_all_calls():
    layer = scaled([1.0, math.e])
    with BranchRanges([[WeightLayer("layer", layer)]]) as ranges:
        layer(torch.full((2, 1, 1, 1), 0.1, dtype=torch.float64))
        one = torch.tensor([0.3, 5.0], dtype=torch.float64).reshape(2, 1, 1, 1)
        layer(one)
        layer(-one / 10)
        assert {round(value, 6) for value in ranges._peaks[layer].tolist()} == {5.0, round(5 * math.e, 6)}
        assert ranges.penalty().item() == pytest.approx(0.5)


@pytest.mark.parametrize("given", [(2, 5, 3), (5, 3), (3,)])
def test_channels_of_a_linear_layer_are_its_last_axis(given):
    layer = nn.Linear(3, 4, dtype=torch.float64)
    picture = torch.randn(given, dtype=torch.float64)
    with BranchRanges([[WeightLayer("layer", layer)]]) as ranges:
        values = layer(picture).abs().reshape(-1, 4)
        expected = torch.log(values.amax(dim=0)).var()
        assert torch.isclose(ranges.penalty(), expected)


def test_a_pass_without_gradients_is_not_listened_to():
    layer = scaled([1.0, 2.0])
    picture = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    with BranchRanges([[WeightLayer("layer", layer)]]) as ranges:
        with torch.no_grad():
            layer(picture * 100)
        with pytest.raises(TrainingError, match="with gradients"):
            ranges.penalty()


def test_what_overwrites_the_output_does_no_harm():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 1, 3))
    (first, last) = find_layers(model, pictures())
    assert last.batch_norm is None
    assert first.batch_norm is model[1]
    with BranchRanges([[first]]) as ranges:
        (model(pictures()).mean() + ranges.penalty()).backward()
    # In a single pass of its own, what the norm makes is not overwritten.
    made = model[1](model[0](pictures()))
    expected = torch.log(made.transpose(0, 1).abs().flatten(1).amax(dim=1)).var()
    with BranchRanges([[first]]) as ranges:
        model(pictures())
        assert torch.isclose(ranges.penalty(), expected)


def test_derivatives_of_branches():
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 2, dtype=torch.float64)
    picture = torch.randn(2, 2, 4, 4, dtype=torch.float64)

    def of(values):
        del layer.weight
        layer.weight = values
        with BranchRanges([[WeightLayer("layer", layer)]]) as ranges:
            layer(picture)
            return ranges.penalty()

    assert torch.autograd.gradcheck(of, (torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True),))


def test_a_layer_that_is_not_called_is_left_out():
    some, others = scaled([1.0, math.e]), scaled([100.0])
    with BranchRanges([[WeightLayer("some", some), WeightLayer("others", others)]]) as ranges:
        some(torch.ones(1, 1, 1, 1, dtype=torch.float64))
        assert ranges.penalty().item() == pytest.approx(0.5)


def test_closed_it_no_longer_listens():
    layer = scaled([1.0, 2.0])
    ranges = BranchRanges([[WeightLayer("layer", layer)]])
    layer(torch.ones(1, 1, 1, 1, dtype=torch.float64))
    ranges.close()
    layer(torch.ones(1, 1, 1, 1, dtype=torch.float64))
    assert not layer._forward_hooks
    with pytest.raises(TrainingError):
        ranges.penalty()


def test_of_no_groups_there_is_no_penalty():
    assert BranchRanges([]).penalty().item() == 0
    assert BranchRanges([[]]).penalty().item() == 0


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(kind):
    layer = nn.Linear(2, 2, bias=False, dtype=kind)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 8.0]]))
    assert channel_range_variance(layer).item() == pytest.approx(math.log(4) ** 2 / 2)
    assert channel_range_variance(layer).dtype == torch.float32
