"""The picture of a quantization, and why a node holds scales."""

import io

import numpy as np
import pytest

from ncdb_dask.model.channel_rules import _RULES, POINTWISE
from ncdb_dask.quantization.reasons import (
    ACROSS,
    CURVED,
    FIXED,
    NORMALISED,
    PADDED,
    RESIZED,
    UNKNOWN,
    WEIGHTS,
    why_held,
)

pytest.importorskip("matplotlib")
from PIL import Image

from ncdb_dask.quantization.picture import quantization_picture

SPREADS = {"tensor": "a", "channels": 2, "spread_before": 70.0, "spread_after": 1.2, "held": 0, "held_by": []}


def made(ratios: list[float | None], spreads: list[dict], **more: object) -> dict:
    rows = [{"tensor": f"tensor $x_{number}", "signal_to_noise_db": ratio} for number, ratio in enumerate(ratios)]
    balanced = {"tensors": spreads, "used": True}
    return {
        "scheme": {"name": "uint8"},
        "options": {"method": "mse"},
        "tensors": rows,
        "equalization": balanced,
        **more,
    }


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def test_every_report_can_be_drawn():
    for report in (
        made([30.0, 12.0, None], [SPREADS]),
        made([None], []),
        made([], [SPREADS | {"held": 2, "held_by": ["Sigmoid x"]}], bias_correction={}),
        made([-3.0, 150.0], [SPREADS] * 200),
    ):
        assert pixels(quantization_picture("net.onnx", report)).shape == (900, 1500, 3)


def test_the_picture_shows_what_differs():
    drawn = pixels(quantization_picture("net.onnx", made([30.0, 12.0], [SPREADS])))
    for other in (
        made([30.0, 29.0], [SPREADS]),
        made([30.0, 12.0], [SPREADS | {"spread_after": 40.0}]),
        made([30.0, 12.0], [SPREADS | {"held": 2}]),
    ):
        assert (pixels(quantization_picture("net.onnx", other)) != drawn).any()


@pytest.mark.parametrize(
    ("holder", "reason"),
    [
        ("Sigmoid head", CURVED),
        ("Clip relu6", CURVED),
        ("LayerNormalization norm", NORMALISED),
        ("Conv of.computed.weights", WEIGHTS),
        ("Pad with.one", PADDED),
        ("Resize by.cropping", RESIZED),
        ("ReduceMax over.channels", ACROSS),
        ("MaxPool over.another.axis", ACROSS),
        ("the network's output", FIXED),
        ("Blur of.ours", UNKNOWN),
    ],
)
def test_a_reason_for_every_holder(holder, reason):
    assert why_held(holder) == reason


def test_every_operator_that_has_a_rule_and_may_hold_has_a_reason():
    never = {*POINTWISE, "Shape", "Size"}  # whatever comes in, its scale passes
    assert not [kind for kind in {*_RULES} - never if why_held(f"{kind} one") == UNKNOWN]
