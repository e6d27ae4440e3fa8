"""Frames of a training, and the order in which they are read."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers.finetuning import BATCH, TRAIN, VALIDATION, planned, write_data  # noqa: E402
from helpers.judging import pixels_of, truth_of  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from ncdb_dask.errors import TrainingError  # noqa: E402
from ncdb_dask.training import data  # noqa: E402
from ncdb_dask.training.data import Batch, DepthFrames, Sample  # noqa: E402
from ncdb_dask.training.loader import Loader  # noqa: E402


def keys_of(root, split="train_split.json"):
    return [(item["dataset_root"], item["new_filename"]) for item in json.loads((root / split).read_text())]


def loader(plan, **changes):
    options = {"batch_size": BATCH, "workers": 0, "seed": 42, "flip": True}
    return Loader(plan.train, plan.validation, **options | changes)


# Frames


@pytest.fixture(params=["nchw", "nhwc"])
def layout(request) -> str:
    return request.param


@pytest.fixture
def frames(root, layout, tmp_path):
    plan = planned(root, tmp_path / "out")
    return replace(plan.train, spec=replace(plan.spec.input, layout=layout))


def test_a_frame_is_what_an_evaluation_reads(root, frames, layout):
    for index, key in enumerate(keys_of(root)):
        found = frames[index, False]
        pixels, truth = pixels_of(root, key).astype(np.float32) / 255, truth_of(root, key)
        assert found.index == index
        np.testing.assert_allclose(found.picture, pixels.transpose(2, 0, 1) if layout == "nchw" else pixels, atol=1e-6)
        # The model file judges from 0.5 to 30 m.
        np.testing.assert_array_equal(found.truth, np.where((truth > 0.5) & (truth < 30), truth, 0))
        assert 0 < np.count_nonzero(found.truth) < np.count_nonzero(truth)


def test_picture_and_depth_are_mirrored_together(frames, layout):
    for index in range(TRAIN):
        plain, mirrored = frames[index, False], frames[index, True]
        axis = 2 if layout == "nchw" else 1
        np.testing.assert_array_equal(mirrored.picture, np.flip(plain.picture, axis))
        np.testing.assert_array_equal(mirrored.truth, np.fliplr(plain.truth))
        assert (mirrored.truth != plain.truth).any()


def test_a_frame_that_cannot_be_read_is_a_sentence(tmp_path):
    root = write_data(tmp_path)
    scene, stem = keys_of(root)[2]
    (root / scene / "image_a6" / f"{stem}.png").write_bytes(b"no picture")
    scene, stem = keys_of(root)[4]
    (root / scene / "newest_depth_maps" / f"{stem}.png").unlink()
    split = json.loads((root / "train_split.json").read_text())
    (root / "train_split.json").write_text(json.dumps([*split, {"dataset_root": "synced_data/a"}]))
    frames = planned(root, tmp_path / "out").train
    found = [frames[index, False] for index in (2, 4, TRAIN)]
    assert [one[0] for one in found] == [2, 4, TRAIN]
    for (_, said), part in zip(found, ("image", "missing_depth", "bad_entry"), strict=True):
        assert part in said
    assert stem in found[1][1]


def test_a_batch_holds_what_could_be_read_and_names_the_rest():
    sound = [Sample(number, np.full((3, 2, 2), number, np.float32), np.full((2, number), 1.0)) for number in (4, 7)]
    batch = Batch.of([sound[0], (5, "broken"), sound[1]])
    assert batch.indices == [4, 7]
    assert batch.pictures.shape == (2, 3, 2, 2)
    assert [one.shape for one in batch.truths] == [(2, 4), (2, 7)]
    assert batch.faults == {5: "broken"}
    empty = Batch.of([(1, "a"), (2, "b")])
    assert (empty.indices, len(empty.pictures), empty.truths, len(empty.faults)) == ([], 0, [], 2)


# Order


class Numbered(DepthFrames):
    """Frames without files: the picture tells which it is, and whether it is mirrored."""

    def __getitem__(self, request):
        index, mirrored = request
        return Sample(index, np.full((3, 1, 1), 2 * index + mirrored, np.float32), np.ones((1, 1)))


def numbered(number, validation=2, **options):
    parts = [Numbered([None] * size, None, None, (), None, None) for size in (number, validation)]
    return Loader(*parts, **{"batch_size": 3, "workers": 0, "seed": 42, "flip": True} | options)


def requests(batches):
    """(Frame, whether it is mirrored), in order."""
    held = list(chain.from_iterable(batch.pictures[:, 0, 0, 0].int().tolist() for batch in batches))
    return [(value // 2, bool(value % 2)) for value in held]


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**63 - 1), st.integers(1, 1000), st.booleans())
def test_an_epoch_reads_every_frame_once_in_batches(number, size, seed, epoch, flip):
    made = numbered(number, batch_size=size, seed=seed, flip=flip)
    batches = list(made.epoch(epoch))
    assert sorted(frame for frame, _ in requests(batches)) == list(range(number))
    assert [len(batch.indices) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert len(batches) == made.steps
    assert flip or not any(mirrored for _, mirrored in requests(batches))
    # What was read before does not matter.
    again = numbered(number, batch_size=size + 1, seed=seed, flip=flip)
    list(again.validation())
    list(again.epoch(epoch + 1))
    assert requests(again.epoch(epoch)) == requests(batches)


def test_order_and_mirroring_are_drawn_anew_by_epoch_and_seed():
    epochs = [requests(numbered(64).epoch(number)) for number in range(1, 5)]
    others = [requests(numbered(64, seed=seed).epoch(1)) for seed in (41, 43)]
    orders = [tuple(frame for frame, _ in one) for one in epochs + others]
    mirrored = [frozenset(frame for frame, mirrored in one if mirrored) for one in epochs + others]
    assert len({*orders}) == len(orders)
    assert len({*mirrored}) == len(mirrored)


def test_half_of_the_frames_are_mirrored():
    counts = Counter(
        mirrored for epoch in range(1, 6) for _, mirrored in requests(numbered(200, batch_size=200).epoch(epoch))
    )
    assert 400 < counts[True] < 600


def test_validation_reads_its_own_frames_in_their_order_and_never_mirrors():
    made = numbered(5, validation=4)
    assert requests(made.validation()) == [(5 + number, False) for number in range(4)]
    assert made.validation_steps == 2


def test_processes_read_what_this_one_reads(root, tmp_path):
    plan = planned(root, tmp_path / "out")
    alone, helped = loader(plan), loader(plan, workers=2)
    for read in (lambda one: one.epoch(1), lambda one: one.validation(), lambda one: one.epoch(2)):
        for mine, theirs in zip(read(alone), read(helped), strict=True):
            assert mine.indices == theirs.indices
            assert torch.equal(mine.pictures, theirs.pictures)
            assert all(torch.equal(one, other) for one, other in zip(mine.truths, theirs.truths, strict=True))
    frames = [index for batch in alone.validation() for index in batch.indices]
    assert frames == list(range(TRAIN, TRAIN + VALIDATION))


def test_a_fault_of_the_environment_is_no_frame_left_out(tmp_path, monkeypatch):
    root = write_data(tmp_path)
    plan = planned(root, tmp_path / "out")
    shutil.rmtree(root)
    monkeypatch.setattr(data, "WAITS", (0.0,))
    with pytest.raises(TrainingError, match=r"data: cannot be read .*the same command goes on"):
        list(loader(plan).epoch(1))
