"""The preprocessings that are tried."""

from dataclasses import replace

import pytest
from helpers.explaining import SPEC, figure

from ncdb_dask.explanation.preprocessing import HALF, IMAGENET, NONE, Alternative, alternatives

GIVEN = {
    "as it is": SPEC,
    "bgr": replace(SPEC, channels="bgr"),
    "undivided": replace(SPEC, scale=1.0),
    "imagenet": replace(SPEC, mean=IMAGENET[0], std=IMAGENET[1]),
    "half": replace(SPEC, mean=HALF[0], std=HALF[1]),
    "bytes of imagenet": replace(SPEC, scale=1.0, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4)),
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_each_is_another_preprocessing_with_a_title_of_its_own(given):
    found = list(alternatives(given))
    specs = [given, *(spec for _, spec in found)]
    assert len({str(spec) for spec in specs}) == len(specs)
    assert len({title for title, _ in found}) == len(found)
    assert {spec.resize for spec in specs} == {"nearest", "bilinear", "bicubic", "lanczos"}
    assert {spec.channels for spec in specs} == {"rgb", "bgr"}
    # Means are listed in the order of the channels.
    imagenet = IMAGENET if given.channels == "rgb" else tuple(values[::-1] for values in IMAGENET)
    for mean, std in (NONE, imagenet, HALF):
        assert any((spec.mean, spec.std, spec.channels) == (mean, std, given.channels) for spec in specs)
    assert any((spec.mean, spec.std, spec.scale) == (*NONE, 1.0) for spec in specs)
    assert any(spec.scale != given.scale for spec in specs)


def test_only_size_and_layout_stay_as_they_are():
    for title, spec in alternatives(SPEC):
        changed = Alternative(title, spec, figure(0.1)).keys(SPEC)
        assert replace(SPEC, **changed) == spec
        assert changed


@pytest.mark.parametrize(
    ("difference", "sure", "better"),
    [(-0.05, True, True), (-0.05, False, False), (0.05, True, False), (-0.001, True, False)],
)
def test_better_is_what_can_be_seen_and_is_worth_a_change(difference, sure, better):
    assert Alternative("another", SPEC, figure(difference, sure=sure)).better is better
