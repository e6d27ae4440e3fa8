"""Figures between epochs against those of the definitions, pixel by pixel."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers.finetuning import BATCH, CPU, VALIDATION, planned, write_data  # noqa: E402
from helpers.judging import judged, pixels_of, truth_of  # noqa: E402
from helpers.networks import FACTOR, KNOWN  # noqa: E402
from torch import nn  # noqa: E402

from ncdb_dask.errors import TrainingError  # noqa: E402
from ncdb_dask.training.loader import Loader  # noqa: E402
from ncdb_dask.training.source import Outputs  # noqa: E402
from ncdb_dask.training.validation import SHOWN, validate  # noqa: E402


class Quarter(nn.Module):
    """`helpers.networks.KNOWN["quarter"]` in torch."""

    def forward(self, image):
        return nn.functional.avg_pool2d(image.mean(dim=1, keepdim=True), 4)


def validated(plan, network=None, output=None):
    loader = Loader(plan.train, plan.validation, batch_size=BATCH, workers=0, seed=0, flip=True)
    wrapped = Outputs(network or Quarter())
    return validate(wrapped, loader.validation(), output or plan.spec.output, plan.rules, CPU)


def expected(root, keys):
    rows = [judged(truth_of(root, key), KNOWN["quarter"].depth(pixels_of(root, key))) for key in keys]
    return {name: np.mean([row[name] for row in rows]) for name in SHOWN}


def keys_of(plan):
    return [(frame.dataset_root, frame.stem) for frame in plan.validation.frames]


def test_figures_are_means_over_frames(root, tmp_path):
    plan = planned(root, tmp_path / "out")
    found = validated(plan)
    assert found.figures == pytest.approx(expected(root, keys_of(plan)), rel=1e-5)
    assert (found.frames, found.faults) == (VALIDATION, ())


def test_half_precision_is_judged_as_metres(root, tmp_path):
    class Half(Quarter):
        def forward(self, image):
            return super().forward(image).half()

    plan = planned(root, tmp_path / "out")
    assert validated(plan, Half()).figures == pytest.approx(expected(root, keys_of(plan)), rel=1e-2)


def test_the_network_is_run_without_dropout_and_slopes(root, tmp_path):
    seen = []

    class Watched(Quarter):
        def forward(self, image):
            seen.append((self.training, torch.is_grad_enabled()))
            return super().forward(image)

    validated(planned(root, tmp_path / "out"), Watched().train())
    assert {*seen} == {(False, False)}


@pytest.mark.parametrize("bad", [[1], [0, 1, 2]])  # the second one is a whole batch
def test_frames_that_cannot_be_judged_are_left_out_and_told(bad, tmp_path):
    root = write_data(tmp_path)
    plan = planned(root, tmp_path / "out")
    keys = keys_of(plan)
    for scene, stem in (keys[number] for number in bad):
        (root / scene / "image_a6" / f"{stem}.png").unlink()
    found = validated(plan)
    sound = [key for number, key in enumerate(keys) if number not in bad]
    assert found.figures == pytest.approx(expected(root, sound), rel=1e-5)
    assert found.frames == len(sound) == VALIDATION - len(bad)
    assert all(keys[number][1] in fault for number, fault in zip(bad, found.faults, strict=True))


def test_nothing_that_can_be_judged_is_an_error(root, tmp_path):
    plan = planned(root, tmp_path / "out")
    none = replace(plan, train=replace(plan.train, options=replace(plan.train.options, rules=far(plan.rules))))
    with pytest.raises(TrainingError, match=r"no frame of validation could be judged; of the first: .*no_valid_pixels"):
        validated(none)


def far(rules):
    """Judge where there is nothing."""
    return replace(rules, min_depth=1e6, max_depth=1e7)


def test_another_scale_of_the_output_is_another_figure(root, tmp_path):
    plan = planned(root, tmp_path / "out")
    other = validated(plan, output=replace(plan.spec.output, factor=FACTOR / 2))
    assert abs(other.figures["abs_rel"] - validated(plan).figures["abs_rel"]) > 0.01
