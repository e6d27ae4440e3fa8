"""The feed on a real cluster: the same tensors in the same order whoever dies, a window ahead, and nothing left."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, Event, Future, wait
from helpers.exports import feed as preprocessed
from helpers.exports import pictures, spec_of, write_spec
from helpers.faults import Deadly, always, once
from helpers.networks import constant, write_network
from helpers.trees import write_tree
from onnx import helper
from onnxruntime.quantization import quantize_static

import ncdb_dask
from ncdb_dask.api.feeds import calibration_feed
from ncdb_dask.calibration.adapters import named, onnxruntime_reader
from ncdb_dask.errors import CalibrationError, RunError
from ncdb_dask.runtime import settings

FRAMES = 20
FRAME_BYTES = 3 * 8 * 6 * 4
BAD = "synced_data/b/image_a6/0000000001.png"  # the fourth frame


@pytest.fixture(scope="module")
def workers():
    with ncdb_dask.open_client(workers=2) as client:
        yield client


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_tree(folder, FRAMES)
    write_spec(tmp_path / "model.toml")
    return folder


@pytest.fixture
def expected(root: Path) -> list[np.ndarray]:
    keys = [(f"synced_data/{'ab'[number % 2]}", f"{number // 2:010d}") for number in range(FRAMES)]
    return [preprocessed(data, spec_of())[None] for data in pictures(root, keys)]


def feed_of(root: Path, client: Client, **options: Any):
    return calibration_feed(
        "train_split.json", root=root, model_spec=root.with_name("model.toml"), client=client, **options
    )


def assert_equal(found, expected):
    found = list(found)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.flags.writeable
        np.testing.assert_array_equal(one, other)


def under_way(client):
    """What the cluster makes or holds for this client."""

    async def catch_up():
        pass

    client.sync(catch_up)  # the client lets go of a result in the background, one after another
    return list(client.futures)


def assert_nothing_left(client):
    assert not under_way(client)
    while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
        pass  # they are forgotten a moment later


def deadly(strike, *arguments):
    """Kill workers at a frame that `strike` picks by its path."""

    def die_at_frame(strikes):
        from ncdb_dask.calibration import frames

        blaming = frames.blaming

        def fatal(path, measure):
            if strikes(path):
                os.kill(os.getpid(), signal.SIGKILL)
            return blaming(path, measure)

        frames.blaming = fatal

    return Deadly(die_at_frame, strike, *arguments)


def test_a_cluster_feeds_what_this_process_feeds(workers, root, expected):
    feed = feed_of(root, workers)
    for _ in range(2):
        assert_equal(feed, expected)
    assert_equal(feed.part(7, 12), expected[7:12])
    assert_nothing_left(workers)


def test_two_iterations_at_once(workers, root, expected):
    feed = feed_of(root, workers, budget_bytes=3 * FRAME_BYTES)
    pairs = list(zip(feed, feed, strict=True))
    assert_equal([one for one, _ in pairs], expected)
    assert_equal([other for _, other in pairs], expected)
    assert_nothing_left(workers)


def test_a_consumer_that_stalls_leaves_a_budget_of_frames_on_the_cluster(workers, root):
    feed = feed_of(root, workers, budget_bytes=5 * FRAME_BYTES)
    iterator = iter(feed)
    for taken in range(1, FRAMES + 1):
        next(iterator)
        # However long it stalls: when all that was asked for is done, no more than this is there.
        wait([Future(key, client=workers) for key in under_way(workers)])
        assert len(under_way(workers)) <= min(feed.window - 1, FRAMES - taken)
    assert list(iterator) == []
    assert_nothing_left(workers)


def test_closing_cancels_what_is_under_way(workers, root):
    with feed_of(root, workers, budget_bytes=8 * FRAME_BYTES) as feed:
        iterator = iter(feed)
        next(iterator)
        assert under_way(workers)
    assert_nothing_left(workers)
    with pytest.raises(CalibrationError, match="the feed ended after 1 of 20 frames"):
        next(iterator)


@pytest.mark.parametrize("adapt", [lambda feed: feed, named])
def test_a_loop_that_is_left_leaves_nothing(adapt, workers, root, expected):
    for _ in adapt(feed_of(root, workers)):
        break
    assert_nothing_left(workers)
    assert_equal(feed_of(root, workers), expected)


def test_frames_that_cannot_be_read(workers, root, expected):
    (root / BAD).unlink()
    found = []
    with pytest.raises(
        CalibrationError, match="frame 4 of 20, 0000000001 of synced_data/b, cannot be read: missing_im"
    ):
        found.extend(feed_of(root, workers))
    assert_equal(found, expected[:3])
    feed = feed_of(root, workers, skip_bad=True)
    assert len(feed) == FRAMES - 1
    assert [frame.key for frame in feed.skipped] == [("synced_data/b", "0000000001")]
    assert_equal(feed, [*expected[:3], *expected[4:]])
    assert_nothing_left(workers)


def test_a_worker_that_is_killed_in_mid_stream_costs_nothing(root, expected, tmp_path):
    with ncdb_dask.open_client(workers=2) as client:
        client.register_plugin(deadly(once, tmp_path / "died", "b/image_a6/0000000004"))
        assert_equal(feed_of(root, client, budget_bytes=6 * FRAME_BYTES), expected)
        assert (tmp_path / "died").exists()
        assert_nothing_left(client)


def test_tensors_that_are_lost_with_their_worker_are_made_again(root, expected):
    with ncdb_dask.open_client(workers=1) as client:  # it holds all of them
        iterator = iter(feed_of(root, client, budget_bytes=8 * FRAME_BYTES))
        found = [next(iterator)]
        wait([Future(key, client=client) for key in under_way(client)])
        (killed,) = client.run(os.getpid).values()
        os.kill(killed, signal.SIGKILL)
        assert_equal([*found, *iterator], expected)
        assert killed not in client.run(os.getpid).values()


def test_a_frame_that_kills_its_workers_is_named_and_never_skipped(root, monkeypatch):
    # Two deaths make a suspect here, to keep the test short; the product waits for four.
    monkeypatch.setitem(settings.LOCAL_SETTINGS, "distributed.scheduler.allowed-failures", 1)
    with ncdb_dask.open_client(workers=2) as client:
        client.register_plugin(deadly(always, "b/image_a6/0000000004"))
        feed = feed_of(root, client, skip_bad=True)
        with pytest.raises(RunError, match=r"^0000000004 of synced_data/b kills its worker every time"):
            list(feed)


def test_quantizers_are_fed_from_a_cluster(workers, root, tmp_path):
    convolution = helper.make_node("Conv", ["image", "weights"], ["depth"])
    network = write_network(tmp_path / "net.onnx", [constant("weights", np.ones((1, 3, 1, 1))), convolution])
    made = {}
    for name, client in (("here", None), ("cluster", workers)):
        with calibration_feed("train_split.json", root=root, model=network, client=client) as feed:
            quantize_static(network, tmp_path / f"{name}.onnx", onnxruntime_reader(feed))
        made[name] = (tmp_path / f"{name}.onnx").read_bytes()
    assert made["cluster"] == made["here"]
    assert_nothing_left(workers)


def test_frames_that_finish_out_of_order_come_in_order(workers, root, expected):
    def slow_first(dask_worker):
        from ncdb_dask.calibration import frames

        frames.plain_blaming = blaming = frames.blaming

        def held(path, measure):
            if path.endswith("a/image_a6/0000000000.png"):
                assert Event("a later frame is made").wait(timeout=60)
            if path.endswith("b/image_a6/0000000001.png"):
                Event("a later frame is made").set()
            return blaming(path, measure)

        frames.blaming = held

    def restore(dask_worker):
        from ncdb_dask.calibration import frames

        frames.blaming = frames.plain_blaming

    workers.run(slow_first)
    try:
        assert_equal(feed_of(root, workers), expected)
    finally:
        workers.run(restore)
