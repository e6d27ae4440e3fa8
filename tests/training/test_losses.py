"""Losses against values by hand, their formulas in numpy, and their derivatives against differences."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers.judging import enlarged  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from ncdb_dask.training.losses import LOSSES, berhu, l1, silog, smoothness, supervised  # noqa: E402

METRES = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=1, max_size=20)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


# By hand


def test_silog_by_hand():
    # d = ln 2, 0: mean ln 2 / 2, mean square (ln 2)^2 / 2.
    expected = 10 * math.sqrt(math.log(2) ** 2 / 2 - 0.85 * (math.log(2) / 2) ** 2)
    assert silog(tensor(2, 3), tensor(1, 3)).item() == pytest.approx(expected)


def test_silog_forgives_most_of_a_scale():
    assert silog(tensor(2, 4), tensor(1, 2)).item() == pytest.approx(10 * math.sqrt(0.15) * math.log(2))


def test_l1_by_hand():
    assert l1(tensor(1, 5, 2), tensor(2, 3, 2)).item() == pytest.approx(1.0)


def test_berhu_by_hand():
    # Errors 10, 1, 2: c = 2; (100 + 4) / 4 = 26, then 1 and 2, which lies on the bend.
    assert berhu(tensor(11, 2, 3), tensor(1, 1, 1)).item() == pytest.approx((26 + 1 + 2) / 3)


# In numpy


def silog_oracle(p, g):
    d = np.log(p) - np.log(g)
    return 10 * np.sqrt(max(np.mean(d**2) - 0.85 * np.mean(d) ** 2, 0))


def berhu_oracle(p, g):
    e = np.abs(p - g)
    c = 0.2 * e.max()
    return np.mean([one if one <= c else (one**2 + c**2) / (2 * c) for one in e])


ORACLES = {"silog": silog_oracle, "l1": lambda p, g: np.mean(np.abs(p - g)), "berhu": berhu_oracle}


@pytest.mark.parametrize("kind", ORACLES)
@given(METRES)
def test_losses_are_their_formulas(kind, pairs):
    p, g = np.array(pairs).T
    # Below 1e-5 stands what keeps the slope of a root finite.
    assert LOSSES[kind](tensor(*p), tensor(*g)).item() == pytest.approx(ORACLES[kind](p, g), rel=1e-6, abs=2e-5)


def test_every_loss_has_an_oracle():
    assert {*LOSSES} == {*ORACLES}


@pytest.mark.parametrize("kind", LOSSES)
def test_derivatives_are_those_of_differences(kind):
    truth = tensor(1, 2, 4, 8)
    prediction = tensor(1.3, 1.8, 4.5, 3).requires_grad_()
    # The bend of BerHu moves with the largest error, and by design has no derivative.
    given = (prediction[:3],) if kind == "berhu" else (prediction,)
    other = prediction[3:].detach()
    measured = LOSSES[kind]
    if kind == "berhu":
        assert torch.autograd.gradcheck(lambda some: measured(torch.cat([some, other]), truth), given)
    else:
        assert torch.autograd.gradcheck(lambda all_: measured(all_, truth), given)


@pytest.mark.parametrize("kind", LOSSES)
def test_no_error_is_no_loss_and_has_a_finite_slope(kind):
    prediction = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    loss = LOSSES[kind](prediction, prediction.detach().clone())
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-4)
    assert torch.isfinite(prediction.grad).all()


# Batches


@pytest.mark.parametrize("kind", LOSSES)
def test_pictures_of_several_sizes_are_enlarged_and_their_known_pixels_count(kind):
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 20, (2, 1, 3, 4)).astype(np.float32)
    truths = [rng.uniform(1, 20, shape) * (rng.random(shape) < 0.6) for shape in ((6, 8), (5, 9))]
    found = supervised(kind, torch.from_numpy(depth), [torch.from_numpy(one).float() for one in truths])
    expected = []
    for one, truth in zip(depth[:, 0], truths, strict=True):
        whole = enlarged(one.astype(np.float64), truth.shape)
        expected.append(ORACLES[kind](whole[truth > 0], truth[truth > 0]))
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_a_picture_without_known_pixels_does_not_count():
    depth = torch.full((2, 1, 2, 2), 3.0, requires_grad=True)
    loss = supervised("l1", depth, [torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [0.0, 0.0]])])
    loss.backward()
    assert loss.item() == pytest.approx(2.0)
    assert depth.grad.flatten().tolist() == [0, 0, 0, 0, 1, 0, 0, 0]


def test_a_batch_without_known_pixels_costs_nothing_and_moves_nothing():
    depth = torch.full((1, 1, 2, 2), 3.0, requires_grad=True)
    loss = supervised("silog", depth, [torch.zeros(2, 2)])
    loss.backward()
    assert loss.item() == 0
    assert not depth.grad.any()


# Smoothness


def smoothness_oracle(depth, picture):
    total = 0.0
    for axis in (1, 2):
        terms = []
        for one, colours in zip(depth[:, 0], picture, strict=True):
            normalised = (1 / one) / np.mean(1 / one)
            edge = np.mean(np.abs(np.diff(colours, axis=axis)), axis=0)
            terms.append(np.abs(np.diff(normalised, axis=axis - 1)) * np.exp(-edge))
        total += np.mean(terms)
    return total


def test_smoothness_by_hand():
    # Inverse depth 1 and 1/2 over their mean 3/4: a step of 2/3 across an edge of ln 2, none downwards.
    depth = tensor(1, 2, 1, 2).reshape(1, 1, 2, 2)
    picture = tensor(0, math.log(2)).expand(1, 3, 2, 2)
    assert smoothness(depth, picture).item() == pytest.approx(2 / 3 / 2)


def test_smoothness_is_its_formula():
    rng = np.random.default_rng(0)
    depth, picture = rng.uniform(1, 20, (2, 1, 5, 7)), rng.random((2, 3, 5, 7))
    found = smoothness(torch.from_numpy(depth), torch.from_numpy(picture)).item()
    assert found == pytest.approx(smoothness_oracle(depth, picture))


@given(st.floats(0.1, 100))
def test_constant_depth_is_smooth(metres):
    picture = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert smoothness(torch.full((1, 1, 4, 5), metres), picture).item() == 0


def test_the_scale_of_depth_does_not_matter_and_edges_excuse():
    rng = torch.Generator().manual_seed(0)
    depth, picture = torch.rand(1, 1, 4, 5, generator=rng) + 1, torch.rand(1, 3, 4, 5, generator=rng)
    found = smoothness(depth, picture).item()
    assert smoothness(7 * depth, picture).item() == pytest.approx(found)
    assert smoothness(depth, 5 * picture).item() < found < smoothness(depth, 0 * picture).item()
