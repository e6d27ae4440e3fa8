"""The real network on real frames: the cause that is known, and its cure."""

from pathlib import Path

import pytest
from helpers.real import MODEL, NEEDED, ROOT, kitti_split

import ncdb_dask
from ncdb_dask.explanation.verdict import TENSORS

pytestmark = [*NEEDED, pytest.mark.xdist_group("planted")]


def test_two_concats_of_the_decoder_carry_the_loss_and_equalization_cures_it(tmp_path: Path) -> None:
    calibration, evaluation = (kitti_split(name, tmp_path) for name in ("train_split.json", "val_split.json"))
    done = ncdb_dask.explain(
        MODEL, tmp_path / "why", root=ROOT, split=evaluation, calibration=calibration, suspects=2, resamples=500
    )
    assert done.verdict.cause == TENSORS
    assert set(done.verdict.culprits) == {f"/decoder/ups_block_{number}/Concat_output_0" for number in (2, 3)}
    assert done.verdict.cure is not None
    assert done.verdict.cure.name.startswith("equalization")
    assert done.verdict.cure.ratio <= 1.02
    assert all(done.findings.remedies[name].name == "equalization" for name in done.verdict.culprits)
    assert not done.findings.preprocessing[0].better
    assert not done.findings.budget.oracle_gain.seen
