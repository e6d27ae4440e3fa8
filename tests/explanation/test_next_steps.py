"""What to do next: commands that the program takes as they stand, and keys that the model file takes."""

import re
import shlex
import tomllib
from dataclasses import replace

import click
import pytest
from helpers.explaining import SPEC, budget, checked, cure, explanation, figure, findings, plan_of, step, suspect
from helpers.networks import describe

from ncdb_dask.cli.main import main
from ncdb_dask.explanation.budget import ALL, ORACLE, OUTPUT, WEIGHTS
from ncdb_dask.explanation.cures import CLIP, CORRECTED, PER_CHANNEL, WIDE
from ncdb_dask.explanation.next_steps import next_steps
from ncdb_dask.explanation.preprocessing import alternatives
from ncdb_dask.explanation.suspects import CONSTANT
from ncdb_dask.explanation.verdict import (
    CALIBRATION,
    NOTHING,
    OUTPUT_GRID,
    PREPROCESSING,
    SPREAD,
    TENSORS,
    WEIGHT,
    verdict,
)
from ncdb_dask.model.spec import read_spec

ODD = "/up/it's a Concat"
PLAIN = "--no-equalize --no-bias-correction"
LAYER = suspect("conv.weight", 0.03, CONSTANT, "Conv")
FOUND = {
    NOTHING: findings(budget=budget(**{ALL: 0.001}), carriers=[], cures=[]),
    CALIBRATION: findings(budget=budget(**{ORACLE: 0.002}), cures=[cure(CLIP, 0.02, f"--method mse {PLAIN}")]),
    OUTPUT_GRID: findings(
        suspects=[suspect("depth", 0.035)], carriers=[step("depth", 0.002)], budget=budget(**{OUTPUT: 0.035})
    ),
    WEIGHT: findings(
        suspects=[LAYER],
        carriers=[step(LAYER.name, 0.002)],
        budget=budget(**{WEIGHTS: 0.035}),
        cures=[cure(PER_CHANNEL, 0.01, f"--per-channel {PLAIN}")],
    ),
    TENSORS: findings(),
    SPREAD: findings(carriers=[step("/up/Concat_0", 0.035)], cures=[cure(CORRECTED, 0.03, "")]),
    "odd": findings(cures=[cure(WIDE, 0.001, f"--wide {shlex.quote(ODD)} {PLAIN}")]),
    "helpless": findings(cures=[]),
    PREPROCESSING: findings(preprocessing=checked("mean and std of ImageNet")),
}
PLANS = {
    "plain": {},
    "alone": {"calibration": ()},
    "everything": {
        "method": "percentile",
        "percentile": 99.9,
        "activations": "int8",
        "symmetric": False,
        "power_of_two": True,
        "per_channel": True,
        "protocol": "kitti-eigen",
        "clamp": False,
        "max_depth": 60.0,
        "variants": ["newest_depth_maps", "other"],
        "depth_scale": 256.0,
        "stretch": True,
    },
    "profile": {"profile": "vitis-dpu"},
}


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("it's here")
    made = {name: plan_of(folder / name, "my net", **options) for name, options in PLANS.items()}
    return made | {"elsewhere": plan_of(folder / "e", allow_root=[folder / "plain" / "my data"])}


def steps(plan, found):
    return next_steps(plan, found, verdict(found, calibrated=plan.calibration is not None))


def parsed(command: str) -> click.Context:
    """What the program makes of a command that a shell was given."""
    program, name, *arguments = shlex.split(command)
    assert program == "ncdb-dask"
    root = click.Context(main)
    found = main.get_command(root, name)
    assert found is not None, name
    return found.make_context(name, arguments, parent=root)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("cause", FOUND)
def test_every_command_is_one_that_the_program_takes(plans, plan, cause):
    made = steps(plans[plan], FOUND[cause])
    assert made
    for one in made:
        if one.command:
            parsed(one.command)


@pytest.mark.parametrize("cause", [cause for cause in FOUND if cause not in ("odd", "helpless")])
def test_the_findings_above_have_the_causes_that_they_are_named_by(cause):
    assert verdict(FOUND[cause]).cause == cause


def test_names_with_blanks_and_quotes_come_through_whole(plans):
    first, second = steps(plans["plain"], FOUND["odd"])
    quantize, plan = parsed(first.command).params, plans["plain"]
    assert quantize["wide"] == (ODD,)
    assert quantize["model"] == plan.reference.path
    assert "my net" in quantize["model"]
    assert quantize["root"] == plan.reader.root.url
    assert quantize["split"] == plan.splits["calibration"]
    assert (quantize["equalize"], quantize["bias_correction"]) == (False, False)
    evaluate = parsed(second.command).params
    assert evaluate["predictor" if "predictor" in evaluate else "model"] == quantize["out"]
    assert evaluate["split"] == plan.splits["evaluation"]


def test_the_options_of_the_explanation_are_those_of_the_commands(plans):
    first, second = steps(plans["everything"], FOUND[TENSORS])[:2]
    quantize, evaluate = parsed(first.command).params, parsed(second.command).params
    for name in ("method", "percentile", "activations", "symmetric", "power_of_two", "per_channel"):
        assert quantize[name] == PLANS["everything"][name], name
    assert quantize["equalize"] is True
    for name in ("protocol", "clamp", "max_depth", "depth_scale", "stretch"):
        assert evaluate[name] == PLANS["everything"][name], name
    assert evaluate["variants"] == "newest_depth_maps,other"
    for one in steps(plans["elsewhere"], FOUND[TENSORS]):
        (allowed,) = parsed(one.command).params["allow_root"]
        assert allowed == str(plans["elsewhere"].judging["allow_root"][0])


def test_a_cure_with_a_method_of_its_own_takes_the_place_of_the_given_one(plans):
    found = findings(cures=[cure(CLIP, 0.001, f"--method mse {PLAIN}")])
    (command,) = (one.command for one in steps(plans["everything"], found) if "quantize" in one.command)
    assert command.count("--method") == 1
    assert parsed(command).params["method"] == "mse"
    assert parsed(command).params["percentile"] is None


def test_without_a_cure_training_is_left_and_the_penalty_fits_the_cause(plans):
    assert "branch-range" in steps(plans["plain"], FOUND["helpless"])[-1].text
    assert "channel-range" in steps(plans["plain"], FOUND[WEIGHT])[-1].text
    assert not any("finetune" in one.command for one in steps(plans["plain"], FOUND[TENSORS]))


def test_without_a_calibration_set_one_is_to_be_chosen_outside_of_what_was_judged(plans):
    (only,) = steps(plans["alone"], FOUND[NOTHING])
    assert parsed(only.command).params["exclude"] == plans["alone"].splits["evaluation"]


@pytest.mark.parametrize("blocks", [True, False])
def test_a_loss_that_may_be_chance_asks_for_more_frames(plans, blocks):
    unsure = budget()
    cost = figure(0.04, sure=False, blocks=blocks)
    parts = {**unsure.parts, ALL: replace(unsure.parts[ALL], cost=cost)}
    (only,) = steps(plans["plain"], findings(budget=replace(unsure, parts=parts)))
    assert "more recordings" in only.text
    assert only.command == ""


@pytest.mark.parametrize(("title", "spec"), list(alternatives(SPEC)), ids=lambda value: str(value)[:30])
def test_keys_of_a_better_preprocessing_make_that_model_file(plans, tmp_path, title, spec):
    plan = plans["plain"]
    given = plan.reference.spec.input
    found = findings(preprocessing=[one for one in checked(title) if one.title == title])
    (only,) = steps(plan, found)
    assert only.command == ""
    keys = tomllib.loads(only.keys)
    changed = describe(tmp_path / "net.toml", None, None, name=SPEC.name, **keys)
    assert read_spec(changed).input == replace(spec, name=SPEC.name) != given
    lines = explanation(plan, found).text().splitlines()
    assert [re.sub(r"^    ", "", line) for line in lines if " = " in line and line.startswith("    ")] == (
        only.keys.splitlines()
    )


def test_figures_in_the_sentences_are_those_of_the_cure(plans):
    text = steps(plans["plain"], FOUND[TENSORS])[0].text
    assert "abs_rel 0.1005, 1.00 times" in text
    assert figure(0.0005).other == pytest.approx(0.1005)
