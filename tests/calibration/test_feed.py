"""The feed: every frame in order or an error, never more ahead than the budget, cancelled when it is left."""

import json
import re
import weakref
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.exports import feed as preprocessed
from helpers.exports import pictures, spec_of, write_spec
from helpers.folders import CountingFolder
from helpers.networks import KNOWN
from helpers.trees import write_split, write_tree

from ncdb_dask.api.feeds import calibration_feed
from ncdb_dask.calibration.feed import BUDGET_BYTES, CalibrationFeed
from ncdb_dask.calibration.frames import CalibrationFrames, FrameReader
from ncdb_dask.dataset.split import Roots
from ncdb_dask.dataset.split_file import parse_split
from ncdb_dask.errors import CalibrationError, NcdbError, PlanError, RunError, SpecError, SplitError
from ncdb_dask.runtime.stream import ordered_stream

FRAMES = 12
SPEC = spec_of()
FRAME_BYTES = 3 * 8 * 6 * 4
BAD = "synced_data/b/image_a6/0000000001.png"  # the fourth frame


@dataclass
class EagerStream:
    """Works ahead as far as it may, and writes down how far that was and how it ended."""

    passes: list[dict] = field(default_factory=list)

    def __call__(self, task: Callable, items: Iterable, *, window: int | None) -> Generator:
        seen = {"window": window, "made": 0, "taken": 0, "state": "waiting"}
        self.passes.append(seen)
        return self._run(task, list(items), window or len(list(items)), seen)

    def _run(self, task: Callable, items: list, window: int, seen: dict) -> Generator:
        made: list = []
        try:
            for taken in range(len(items)):
                while len(made) < min(len(items), taken + window):
                    made.append(task(items[len(made)]))
                    seen["made"] += 1
                seen["taken"] += 1
                yield made[taken]
            seen["state"] = "done"
        finally:
            seen["state"] = "done" if seen["state"] == "done" else "cancelled"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_tree(folder, FRAMES)
    write_spec(tmp_path / "model.toml")
    return folder


@pytest.fixture
def keys(root: Path) -> list[tuple[str, str]]:
    items = json.loads((root / "train_split.json").read_text())
    return [(item["dataset_root"], item["new_filename"]) for item in items]


@pytest.fixture
def expected(root: Path, keys: list[tuple[str, str]]) -> list[np.ndarray]:
    return [preprocessed(data, SPEC)[None] for data in pictures(root, keys)]


def feed_of(root: Path, **options) -> CalibrationFeed:
    return calibration_feed("train_split.json", root=root, model_spec=root.with_name("model.toml"), **options)


def fed_by(stream, root: Path, folder: CountingFolder | None = None, **options) -> CalibrationFeed:
    data = folder or CountingFolder(str(root))
    roots = Roots.of(data)
    split = parse_split((root / "train_split.json").read_bytes(), "train_split.json")
    reader = FrameReader(data, roots, SPEC, run=str(id(data)))
    return CalibrationFeed(CalibrationFrames.of([split], roots).frames, reader, stream, **options)


def assert_equal(found: Iterable[np.ndarray], expected: list[np.ndarray]) -> None:
    found = list(found)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32
        assert one.flags.c_contiguous
        assert one.flags.writeable
        np.testing.assert_array_equal(one, other)


# Order and size


def test_frames_come_preprocessed_in_the_order_of_the_split(root, keys, expected):
    shuffled = [keys[at] for at in (5, 0, 11, 3, 8)]
    write_split(root, shuffled)
    feed = feed_of(root)
    assert_equal(feed, [expected[at] for at in (5, 0, 11, 3, 8)])
    assert [frame.key for frame in feed.frames] == shuffled
    assert len(feed) == 5
    assert feed.shape == (1, 3, 6, 8)


def test_every_iteration_gives_the_same(root, expected):
    feed = feed_of(root)
    for _ in range(3):
        assert_equal(feed, expected)


def test_iterations_that_overlap_do_not_disturb_each_other(root, expected):
    feed = fed_by(EagerStream(), root, budget_bytes=3 * FRAME_BYTES)
    first, second = iter(feed), iter(feed)
    found = [(next(first), next(second)) for _ in range(FRAMES)]
    assert_equal([one for one, _ in found], expected)
    assert_equal([other for _, other in found], expected)


def test_a_split_that_names_a_frame_twice_feeds_it_once(root, keys, expected):
    write_split(root, [*keys[:3], keys[0], keys[3]])
    feed = feed_of(root)
    assert len(feed) == 4
    assert_equal(feed, expected[:4])


def test_several_splits_are_fed_one_after_another(root, keys, expected):
    write_split(root, keys[4:6], "more.json")
    write_split(root, keys[:2])
    feed = calibration_feed(["more.json", "train_split.json"], root=root, model_spec=root.with_name("model.toml"))
    assert_equal(feed, [expected[at] for at in (4, 5, 0, 1)])


def test_the_network_gives_its_input_a_name(root, tmp_path):
    network = KNOWN["red"].write(tmp_path / "net.onnx")
    feed = calibration_feed("train_split.json", root=root, model=network)
    assert feed.input_name == "image"
    assert next(iter(feed)).shape == (1, 3, 12, 16)


def test_nhwc_has_the_channels_last(root):
    write_spec(root.with_name("model.toml"), layout="nhwc")
    feed = feed_of(root)
    assert feed.shape == next(iter(feed)).shape == (1, 6, 8, 3)


# What cannot be fed


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"model_spec": None}, CalibrationError, "no network is named; expected its ONNX file"),
        ({"split": "none.json"}, SplitError, "no such split file"),
        ({"root": "/nowhere"}, PlanError, "no such folder"),
        ({"allow_root": "/nowhere"}, PlanError, "no such folder"),
        ({"model_spec": "/nowhere.toml"}, SpecError, "cannot be read"),
        ({"budget_bytes": 0}, CalibrationError, "a budget of 0 bytes; expected"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_used_is_said_at_once(options, error, says, root):
    given = {"split": "train_split.json", "root": root, "model_spec": root.with_name("model.toml"), **options}
    with pytest.raises(error, match=says):
        calibration_feed(given.pop("split"), **given)


def test_an_empty_split_is_refused(root):
    (root / "train_split.json").write_text("[]")
    with pytest.raises(SplitError, match="is an empty list"):
        feed_of(root)


# How far ahead


@pytest.mark.parametrize(
    ("budget", "window"), [(1, 2), (FRAME_BYTES, 2), (3 * FRAME_BYTES, 3), (5 * FRAME_BYTES - 1, 4)]
)
def test_the_budget_bounds_what_is_read_ahead(budget, window, root):
    stream = EagerStream()
    feed = fed_by(stream, root, budget_bytes=budget)
    assert feed.window == window
    for taken, _ in enumerate(feed, start=1):
        assert stream.passes[0]["made"] == min(FRAMES, taken + window - 1)
    assert stream.passes == [{"window": window, "made": FRAMES, "taken": FRAMES, "state": "done"}]


def test_the_default_budget_keeps_15_threads_busy_with_large_frames():
    reader = FrameReader(CountingFolder("/"), Roots(["/"]), spec_of(width=640, height=384), run="")
    assert CalibrationFeed((), reader, EagerStream()).window == BUDGET_BYTES // (640 * 384 * 3 * 4) == 91


def test_nothing_is_read_before_the_first_frame_is_asked_for(root):
    folder = CountingFolder(str(root))
    feed = fed_by(partial(ordered_stream), root, folder)
    assert len(feed) == FRAMES
    iterator = iter(feed)
    assert folder.calls == []
    next(iterator)
    assert len(folder.names("read")) == 1


def test_a_tensor_that_was_taken_is_not_kept(root):
    iterator = iter(feed_of(root))
    watch = weakref.ref(next(iterator))
    assert watch() is None


# Leaving early


def test_closing_the_feed_cancels_all_that_is_under_way(root):
    stream = EagerStream()
    with fed_by(stream, root) as feed:
        whole, part, unused = iter(feed), iter(feed.part(2, 6)), iter(feed)
        next(whole), next(part)
    assert [each["state"] for each in stream.passes] == ["cancelled", "cancelled", "waiting"]
    for iterator, taken, count in ((whole, 1, FRAMES), (part, 1, 4), (unused, 0, FRAMES)):
        with pytest.raises(CalibrationError, match=f"the feed ended after {taken} of {count} frames, because it was"):
            next(iterator)


def test_a_feed_that_was_closed_may_be_iterated_again(root, expected):
    feed = feed_of(root)
    next(iter(feed))
    feed.close()
    assert_equal(feed, expected)


def test_a_loop_that_is_left_cancels_what_is_under_way(root):
    stream = EagerStream()
    for _ in fed_by(stream, root, budget_bytes=3 * FRAME_BYTES):
        break
    assert stream.passes[0] == {"window": 3, "made": 3, "taken": 1, "state": "cancelled"}


def test_a_loop_that_fails_cancels_what_is_under_way(root):
    stream = EagerStream()

    def consume() -> None:
        for tensor in fed_by(stream, root):
            raise ValueError(f"no use for {tensor.shape}")

    with pytest.raises(ValueError, match="no use for"):
        consume()
    assert stream.passes[0]["state"] == "cancelled"


def test_closing_after_the_last_frame_is_no_error(root):
    feed = feed_of(root)
    iterator = iter(feed)
    for _ in range(FRAMES):
        next(iterator)
    feed.close()
    assert list(iterator) == []


# Frames that cannot be read


def missing(root):
    (root / BAD).unlink()
    return r"missing_image \(no image synced_data/b/image_a6/0000000001 with suffix .png or .jpg\)"


def cut(root):
    (root / BAD).write_bytes((root / BAD).read_bytes()[:-40])
    return rf"unreadable_image \({BAD}: does not decode: .*\)"


@pytest.mark.parametrize("fault", [missing, cut], ids=lambda fault: fault.__name__)
def test_a_frame_that_cannot_be_read_stops_with_its_key_after_those_before_it(fault, root, expected):
    says = fault(root)
    found, stream = [], EagerStream()
    iterator = iter(fed_by(stream, root))
    with pytest.raises(CalibrationError) as caught:
        found.extend(iterator)
    assert_equal(found, expected[:3])
    assert str(caught.value).startswith("calibration frame 4 of 12, 0000000001 of synced_data/b, cannot be read: ")
    assert caught.match(says + r"; mend it and make the feed anew, or leave it out with skip_bad \(--skip-bad\)$")
    assert stream.passes[0]["state"] == "cancelled"
    with pytest.raises(CalibrationError, match="the feed ended after 3 of 12 frames"):
        next(iterator)  # a tool that goes on all the same must not take it for the end


@pytest.mark.parametrize("fault", [missing, cut], ids=lambda fault: fault.__name__)
def test_skip_bad_leaves_it_out_and_reports_it(fault, root, expected):
    says = fault(root)
    feed = feed_of(root, skip_bad=True)
    assert len(feed) == FRAMES - 1
    (left_out,) = feed.skipped
    assert left_out.key == ("synced_data/b", "0000000001")
    assert re.fullmatch(says, f"{left_out.status} ({left_out.detail})")
    for _ in range(2):
        assert_equal(feed, [*expected[:3], *expected[4:]])
    assert left_out.key not in [frame.key for frame in feed.frames]


def test_entries_that_name_no_frame_are_frames_that_cannot_be_read(root, expected):
    items = json.loads((root / "train_split.json").read_text())
    (root / "train_split.json").write_text(json.dumps([items[0], 7, *items[1:]]))
    with pytest.raises(
        CalibrationError,
        match=r"^calibration frame 2 of 13 cannot be read: bad_entry \(train_split.json: entry 1 is a JSON number",
    ):
        list(feed_of(root))
    feed = feed_of(root, skip_bad=True)
    assert_equal(feed, expected)
    assert [frame.status for frame in feed.skipped] == ["bad_entry"]


def test_a_set_of_which_nothing_can_be_read_is_an_error(root):
    write_split(root, [("synced_data/c", "1"), ("synced_data/c", "2")])
    feed = feed_of(root, skip_bad=True)
    for ask in (len, iter, lambda feed: feed.skipped):
        with pytest.raises(CalibrationError, match=r"none of 2 calibration frames can be read .*check the root"):
            ask(feed)


@pytest.mark.parametrize("ask", [len, iter, lambda feed: feed.frames, lambda feed: feed.skipped])
def test_with_skip_bad_frames_are_looked_at_once_and_when_first_asked_for(ask, root, expected):
    (root / BAD).unlink()
    stream = EagerStream()
    feed = fed_by(stream, root, skip_bad=True)
    assert stream.passes == []
    ask(feed)
    assert_equal(feed, [*expected[:3], *expected[4:]])
    assert len(feed) == len(feed.frames) == FRAMES - 1
    checks = [each for each in stream.passes if each["window"] is None]
    assert checks == [{"window": None, "made": FRAMES, "taken": FRAMES, "state": "done"}]


def test_without_skip_bad_nothing_is_looked_at_beforehand(root):
    stream = EagerStream()
    feed = fed_by(stream, root)
    assert (len(feed), feed.skipped) == (FRAMES, ())
    assert stream.passes == []


def test_a_frame_that_goes_bad_after_it_was_looked_at_is_an_error(root):
    feed = feed_of(root, skip_bad=True)
    assert len(feed) == FRAMES
    (root / BAD).unlink()
    with pytest.raises(CalibrationError, match=r"frame 4 of 12, 0000000001 of synced_data/b.* make the feed anew$"):
        list(feed)


def test_a_fault_of_the_environment_is_no_frame_to_leave_out(root):
    class Broken(CountingFolder):
        def read(self, name: str, limit: int | None = None) -> bytes:
            raise OSError(5, "Input/output error", name)

    stream = partial(ordered_stream, retry_delays=())
    with pytest.raises(RunError, match="0000000000 of synced_data/a could not be done"):
        len(fed_by(stream, root, Broken(str(root)), skip_bad=True))


def test_a_stream_that_gives_fewer_frames_is_found_out(root):
    def short(task: Callable, items: Iterable, *, window: int | None) -> Generator:
        yield from map(task, list(items)[:-1])

    with pytest.raises(NcdbError, match="the feed ended after 11 of 12 frames"):
        list(fed_by(short, root))


def test_an_interrupt_is_not_taken_for_the_end(root):
    def interrupted(task: Callable, items: Iterable, *, window: int | None) -> Generator:
        yield task(next(iter(items)))
        raise KeyboardInterrupt

    iterator = iter(fed_by(interrupted, root))
    next(iterator)
    with pytest.raises(KeyboardInterrupt):
        next(iterator)
    with pytest.raises(CalibrationError, match="the feed ended after 1 of 12 frames"):
        next(iterator)


# Parts


def test_a_part_does_not_read_the_frames_before_it(root, expected, keys):
    folder = CountingFolder(str(root))
    part = fed_by(partial(ordered_stream), root, folder).part(5, 8)
    assert len(part) == 3
    assert_equal(part, expected[5:8])
    assert [Path(name).stem for name in folder.names("read")] == [stem for _, stem in keys[5:8]]


def test_parts_are_counted_after_what_is_left_out(root, expected):
    (root / BAD).unlink()
    feed = feed_of(root, skip_bad=True)
    assert_equal(feed.part(2, 5), [expected[2], *expected[4:6]])
    assert len(feed.part(2, 5).skipped) == 1
    assert_equal(feed.part(2, 5).part(1, 2), [expected[4]])


def test_an_empty_part_is_empty(root):
    assert list(feed_of(root).part(3, 3)) == []


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (4, 3), (0, 13), (12, 13)])
def test_a_part_beyond_the_feed_is_refused(start, stop, root):
    with pytest.raises(CalibrationError, match=f"frames {start} to {stop} of a feed; expected 0 to 12"):
        feed_of(root).part(start, stop)
