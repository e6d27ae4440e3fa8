"""The verdict in words, for every cause."""

from dataclasses import replace

import pytest
from helpers.explaining import budget, checked, cure, figure, findings, step, suspect

from ncdb_dask.explanation.budget import ALL, ORACLE, OUTPUT, WEIGHTS
from ncdb_dask.explanation.cures import CORRECTED, EQUALIZE, WIDE
from ncdb_dask.explanation.suspects import CONSTANT
from ncdb_dask.explanation.verdict import (
    CALIBRATION,
    NOTHING,
    OUTPUT_GRID,
    PREPROCESSING,
    SPREAD,
    TENSORS,
    UNDECIDED,
    WEIGHT,
    best_cure,
    verdict,
)

LAYERS = [suspect(name, 0.02, CONSTANT, "Conv") for name in ("one.weight", "two.weight")]
LEFT_OUT = [step("one.weight", 0.02), step("two.weight", 0.004)]


def test_two_concats_are_named_with_their_share_and_their_cure():
    said = verdict(findings())
    assert said.cause == TENSORS
    assert said.culprits == ("/up/Concat_0", "/up/Concat_1")
    assert said.sentence.startswith("A perfect calibration set gains nothing that can be seen; ")
    assert "90 % of the 0.0400 abs_rel that INT8 costs" in said.sentence
    assert "two Concat outputs (/up/Concat_0, /up/Concat_1)" in said.sentence
    assert "abs_rel 0.1005" in said.sentence
    assert said.cure is not None
    assert said.cure.name == EQUALIZE


def test_weights_are_called_weights():
    said = verdict(findings(suspects=LAYERS, carriers=LEFT_OUT, budget=budget(**{WEIGHTS: 0.035})))
    assert said.cause == WEIGHT
    assert "90 %" in said.sentence
    assert "the weights of two Conv layers (one.weight, two.weight)" in said.sentence


def test_weights_of_many_layers_are_told_by_the_budget():
    said = verdict(findings(carriers=[step("/up/Concat_0", 0.035)], budget=budget(**{WEIGHTS: 0.03})))
    assert said.cause == WEIGHT
    assert "75 % of the 0.0400 abs_rel" in said.sentence
    assert "weights" in said.sentence


def test_the_output_is_called_a_grid():
    said = verdict(findings(suspects=[suspect("depth", 0.036)], carriers=[step("depth", 0.004)]))
    assert said.cause == OUTPUT_GRID
    assert "grid of the network's own output" in said.sentence
    said = verdict(findings(carriers=[], budget=budget(**{OUTPUT: 0.03})))
    assert said.cause == OUTPUT_GRID
    assert "75 %" in said.sentence


def test_what_better_ranges_give_is_the_calibration_sets():
    said = verdict(findings(budget=budget(**{ORACLE: 0.004})))
    assert said.cause == CALIBRATION
    assert "90 %" in said.sentence
    assert "perfect" not in said.sentence


def test_a_loss_of_many_tensors_is_said_to_be_spread():
    said = verdict(findings(carriers=[step("/up/Concat_0", 0.03)], cures=[cure(CORRECTED, 0.02, "")]))
    assert said.cause == SPREAD
    assert "75 %" in said.sentence
    assert "abs_rel 0.1200" in said.sentence


@pytest.mark.parametrize("cost", [0.0, 0.0015, -0.001])
def test_a_small_loss_is_nothing_to_mend(cost):
    said = verdict(findings(budget=budget(**{ALL: cost})))
    assert said.cause == NOTHING
    assert said.culprits == ()
    assert "perfect" not in said.sentence


@pytest.mark.parametrize("unsure", [{"blocks": False}, {ALL: 0.04, "sure": False}], ids=["no interval", "chance"])
def test_a_loss_that_may_be_chance_is_not_called_nothing(unsure):
    made = budget(blocks=unsure.get("blocks", True))
    if not unsure.get("sure", True):
        made = replace(made, parts={**made.parts, ALL: replace(made.parts[ALL], cost=figure(0.04, sure=False))})
    said = verdict(findings(budget=made))
    assert said.cause == UNDECIDED
    assert said.culprits == ("/up/Concat_0", "/up/Concat_1")
    assert "too few to tell the loss from chance" in said.sentence


def test_preprocessing_comes_first_and_alone():
    said = verdict(findings(preprocessing=checked("mean and std of ImageNet")))
    assert said.cause == PREPROCESSING
    assert said.sentence.startswith("Look at the preprocessing first: with mean and std of ImageNet, FP32 has abs_rel")
    assert "0.0500 instead of 0.1000" in said.sentence
    assert said.culprits == ()


def test_without_a_calibration_set_nothing_is_said_of_a_perfect_one():
    assert "perfect" not in verdict(findings(), calibrated=False).sentence


def test_equalization_is_chosen_where_it_is_enough_and_else_what_helps_most():
    wide, best = cure(WIDE, 0.0001, "--wide a"), cure(CORRECTED, -0.001, "")
    assert best_cure(findings(cures=[best, wide, cure()])).name == EQUALIZE
    assert best_cure(findings(cures=[cure(EQUALIZE, 0.02), wide])).name == WIDE
    assert best_cure(findings(cures=[cure(EQUALIZE, 0.02), cure(WIDE, 0.01)])).name == WIDE
    assert best_cure(findings(cures=[cure(EQUALIZE, 0.05)])) is None


def test_nothing_that_helps_is_said():
    assert "nothing that was tried helps" in verdict(findings(cures=[])).sentence


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cures": []},
        {"carriers": []},
        {"preprocessing": []},
        {"carriers": LEFT_OUT, "suspects": LAYERS},
        {"budget": budget(**{ORACLE: 0.004})},
        {"budget": budget(**{OUTPUT: None})},
        {"budget": budget(**{ALL: -0.01})},
        {"budget": budget(blocks=False)},
    ],
    ids=str,
)
def test_it_is_always_a_sentence_of_plain_figures(changes):
    said = verdict(replace(findings(), **changes)).sentence
    assert said.endswith(".")
    assert not said.endswith("..")
    assert said[0].isupper()
    for word in ("nan", "inf ", "None", "  ", "--"):
        assert word not in said
