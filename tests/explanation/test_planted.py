"""Networks that were spoiled on purpose: the explanation names what was done to them, and what cures it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.planted import PLANTS, write_planted

import ncdb_dask
from ncdb_dask.explanation.budget import ACTIVATIONS, ALL, CLIPPING, OUTPUT, ROUNDING, WEIGHTS
from ncdb_dask.explanation.result import Explanation
from ncdb_dask.explanation.verdict import CALIBRATION, NOTHING, OUTPUT_GRID, PREPROCESSING, TENSORS, WEIGHT

pytestmark = pytest.mark.xdist_group("planted")


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Path, tuple[Path, Path]]]:
    roots = {fine: tmp_path_factory.mktemp("fine" if fine else "planted") for fine in (False, True)}
    return {fine: (root, write_planted(root, fine)) for fine, root in roots.items()}


def explained(trees: Any, folder: Path, plant: str, **changes: Any) -> Explanation:
    """Explain a planted network, whose model file is changed."""
    root, (calibration, evaluation) = trees[plant == OUTPUT_GRID]
    model, spec = PLANTS[plant]()
    path = folder / "network.onnx"
    path.write_bytes(model.SerializeToString())
    path.with_suffix(".toml").write_text(replace(spec, input=replace(spec.input, **changes)).as_toml())
    options = {"root": root, "split": evaluation, "calibration": calibration, "suspects": 4, "resamples": 500}
    return ncdb_dask.explain(path, folder / "why", **options)


def cost(done: Explanation, part: str) -> float:
    return done.findings.budget.parts[part].cost.difference


def test_a_sound_network_has_nothing_to_mend(trees: Any, tmp_path: Path) -> None:
    done = explained(trees, tmp_path, NOTHING)
    assert done.verdict.cause == NOTHING
    assert done.verdict.culprits == ()
    assert cost(done, ALL) < 0.02 * done.findings.budget.fp32
    assert not any(one.better for one in done.findings.preprocessing)


def test_a_coarse_output_is_named(trees: Any, tmp_path: Path) -> None:
    done = explained(trees, tmp_path, OUTPUT_GRID)
    assert done.verdict.cause == OUTPUT_GRID
    assert done.verdict.culprits == done.findings.outputs
    assert cost(done, OUTPUT) == pytest.approx(cost(done, ALL), rel=0.05)
    assert done.verdict.cure is not None
    assert done.verdict.cure.ratio < 1.01
    assert f"--wide {done.findings.outputs[0]}" in done.verdict.cure.options
    floors = {floor.title: floor.abs_rel for floor in done.findings.floors}
    assert floors["linear"] > cost(done, ALL)  # of the head alone; the noise of the truth hides a part of it here
    assert floors["log"] < 0.3 * floors["linear"]


def test_a_clipped_tensor_is_named_and_the_calibration_set_is_to_blame(trees: Any, tmp_path: Path) -> None:
    done = explained(trees, tmp_path, CALIBRATION)
    assert done.verdict.cause == CALIBRATION
    (culprit,) = done.verdict.culprits
    suspect = done.findings.suspect(culprit)
    assert suspect.maker == "Conv"
    assert suspect.noise.clipped > 0.1
    assert cost(done, CLIPPING) > 10 * cost(done, ROUNDING)
    assert all(other.noise.clipped < 0.01 for other in done.findings.suspects if other is not suspect)
    assert -done.findings.budget.oracle_gain.difference > 0.9 * cost(done, ALL)
    assert "sample" in done.steps[0].text + done.steps[0].command or "study" in done.steps[0].command


def test_a_layer_of_coarse_weights_is_named(trees: Any, tmp_path: Path) -> None:
    done = explained(trees, tmp_path, WEIGHT)
    assert done.verdict.cause == WEIGHT
    (culprit,) = done.verdict.culprits
    assert done.findings.suspect(culprit).noise.drowned > 0.1
    assert cost(done, WEIGHTS) == pytest.approx(cost(done, ALL), rel=0.05)
    assert done.verdict.cure is not None
    assert done.verdict.cure.ratio < 1.05


def test_an_unbalanced_concat_is_named_and_equalization_cures_it(trees: Any, tmp_path: Path) -> None:
    done = explained(trees, tmp_path, TENSORS)
    judged = {path: path.stat().st_mtime_ns for path in (tmp_path / "why" / "evaluations").glob("*/_manifest.json")}
    assert done.verdict.cause == TENSORS
    (culprit,) = done.verdict.culprits
    suspect = done.findings.suspect(culprit)
    assert suspect.maker == "Concat"
    assert suspect.input_ratio is not None
    assert suspect.input_ratio > 50
    assert done.findings.remedies[culprit].name == "equalization"
    assert done.verdict.cure is not None
    assert (done.verdict.cure.name, done.verdict.cure.ratio < 1.02) == ("equalization", True)
    assert cost(done, ROUNDING) == pytest.approx(cost(done, ACTIVATIONS), rel=0.05)
    # A second call only reads, and says the same.
    assert len(judged) <= done.plan.evaluations
    assert explained(trees, tmp_path, TENSORS).as_dict() == done.as_dict()
    assert judged == {path: path.stat().st_mtime_ns for path in judged}


def test_a_model_file_with_other_channels_is_named_first(trees: Any, tmp_path: Path) -> None:
    done = explained(trees, tmp_path, NOTHING, channels="bgr")
    assert done.verdict.cause == PREPROCESSING
    assert done.verdict.sentence.startswith("Look at the preprocessing first")
    assert done.findings.preprocessing[0].keys(done.plan.reference.spec.input) == {"channels": "rgb"}
    assert done.steps[0].keys == 'channels = "rgb"'
