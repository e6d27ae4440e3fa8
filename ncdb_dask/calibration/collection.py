"""Where activation statistics are kept: a row a frame, in a folder for every network, preprocessing and data set.

It only ever grows. Whoever asks for other frames later runs those that are missing, and a run that was cut off goes on.
A row counts for the picture that it was made of: one that was replaced since is missing.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ncdb_dask.calibration.activations import SCHEMA_VERSION, Row
from ncdb_dask.calibration.frames import CalibrationFrame, FrameReader
from ncdb_dask.calibration.observed import Observed, observed_by, tensors_of, with_outputs
from ncdb_dask.calibration.stored_rows import Key, chosen_places, picture_digest, places_of, rows_of_frames
from ncdb_dask.errors import PlanError
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.plan import PLAN_FOLDER, Assignment, Plan, default_shard_size, read_items, read_plan
from ncdb_dask.store.run import Kind, PlannedRun, grown_run, held_plan, new_run, require_settings
from ncdb_dask.store.shards import RECEIPT_FOLDER, Receipt, read_receipts

if TYPE_CHECKING:
    from onnx import ModelProto

STATISTICS = Kind("statistics run", command="ncdb_dask.activation_statistics", inputs="frames")
# A frame takes a tenth of a second or more and its row half a megabyte: what is lost with a worker is seconds of work.
MAX_SHARD_SIZE, MIN_SHARD_SIZE = 16, 2
FP32_FILE, OBSERVED_FILE = "_fp32.onnx", "_observed.onnx"
Digest = Callable[[CalibrationFrame], str | None]
_ITEMS = pa.schema([("dataset_root", pa.string()), ("stem", pa.string())])


@dataclass(frozen=True)
class Collection:
    """The statistics of one network on the frames of one data set.

    Attributes
    ----------
    out : LocalFolder
        Holds the shards, the network as it was given, and the one that is run. Every worker sees it.
    observed : Observed
        What is run.
    reader : FrameReader
        Reads the frames.
    settings : mapping
        What shapes the rows, as JSON values; the folder is named by them.
    """

    out: LocalFolder
    observed: Observed
    reader: FrameReader
    settings: Mapping[str, Any]

    @classmethod
    def at(
        cls, place: LocalFolder, model: "ModelProto", spec: ModelSpec, reader: FrameReader, provider: str, threads: int
    ) -> "Collection":
        """Find or make the folder of a network below `place`.

        Parameters
        ----------
        place : LocalFolder
            Holds the folders of any number of networks.
        model : onnx.ModelProto
            FP32, of a fixed input size.
        spec : ModelSpec
            With the name of its input.
        reader : FrameReader
            Reads the frames.
        provider, threads : str, int
            As in `ncdb_dask.model.session.NetworkReference`.

        Raises
        ------
        CalibrationError
            Where the network has no float32 activations.
        OSError
            Where the storage fails.
        """
        data = model.SerializeToString(deterministic=True)
        settings = _settings(hashlib.sha256(data).hexdigest(), reader, provider)
        out = _below(place, settings)
        shown = with_outputs(model, tensors_of(model)).SerializeToString(deterministic=True)
        for name, content in ((FP32_FILE, data), (OBSERVED_FILE, shown)):
            if not _holds(out, name, content):
                out.write(name, content)
        path = os.path.join(out.path, OBSERVED_FILE)
        return cls(out, observed_by(model, path, spec, provider, threads), reader, settings)

    def plan(
        self,
        frames: Sequence[CalibrationFrame],
        each: Callable[[Digest, Sequence[CalibrationFrame]], Iterable[str | None]] = map,
    ) -> "CollectionPlan":
        """Say which frames are there and which are to be run; nothing is written.

        The pictures of frames that are there are read, to tell whether they are still those that were measured.

        Parameters
        ----------
        frames : sequence of CalibrationFrame
            The set.
        each : callable
            Applies a function to every frame, in order; both may travel to workers.

        Raises
        ------
        PlanError
            Where the folder cannot be used.
        """
        usable = {(str(frame.dataset_root), str(frame.stem)): frame for frame in frames if frame.status is None}
        wanted = list(usable)
        with advising_removal(self.out):
            read_plan(self.out)
        held = held_plan(self.out, STATISTICS)
        if held is None:
            run = self._begun(wanted)
            return CollectionPlan(self.out, wanted, run, frozenset(range(run.plan.shards)))
        require_settings(self.out, held, self.settings)
        done = read_receipts(self.out, held)
        places = places_of(self.out, done.values())
        there = [key for key in wanted if any(place.status == "ok" for place in places.get(key, ()))]
        found = zip(there, each(partial(picture_digest, self.reader), [usable[key] for key in there]), strict=True)
        pictures = {key: sha256 for key, sha256 in found if sha256 is not None}
        rows = chosen_places(places, pictures)
        # What was wrong with a frame may have been mended.
        missing = {key for key in wanted if key not in rows or rows[key].status != "ok"}
        with advising_removal(self.out):
            planned = dict(_fitting(self.out, held, done, missing))
        added = [key for key in wanted if key in missing.difference(*planned.values())]
        run = grown_run(self.out, STATISTICS, held, held.inputs, _table(added), 0)
        shards = frozenset([*planned, *range(held.shards, run.plan.shards)])
        return CollectionPlan(self.out, wanted, run, shards, pictures)

    def _begun(self, wanted: Sequence[Key]) -> PlannedRun:
        size = default_shard_size(len(wanted), MAX_SHARD_SIZE, MIN_SHARD_SIZE)
        inputs = {self.observed.network.path: self.observed.network.sha256}
        return new_run(self.out, STATISTICS, self.settings, inputs, _table(wanted), shard_size=size)


@dataclass(frozen=True)
class CollectionPlan:
    """What is to be run for the statistics of some frames.

    Attributes
    ----------
    out : LocalFolder
        Where they are kept.
    wanted : sequence of (str, str)
        The keys of the frames.
    run : PlannedRun
        All frames that were ever asked for, those of now included.
    shards : frozenset of int
        Those that are to be run now: together they hold every wanted frame that is missing, once, and no other.
    pictures : mapping of (str, str) to str
        SHA-256 of the pictures of frames that had a row before.
    """

    out: LocalFolder
    wanted: Sequence[Key]
    run: PlannedRun
    shards: frozenset[int]
    pictures: Mapping[Key, str] = field(default_factory=dict)

    def write(self) -> None:
        """Put the plan on disk; see `PlannedRun.write`."""
        self.run.write()

    def left(self) -> list[Assignment]:
        """Return the shards to be done."""
        return [each for each in self.run.left if each.shard in self.shards]

    def rows(self, receipts: Iterable[Receipt]) -> Iterator[Row]:
        """Yield a row for every wanted frame; see `rows_of_frames`.

        Parameters
        ----------
        receipts : iterable of Receipt
            Of all shards that are done.
        """
        return rows_of_frames(self.out, receipts, self.wanted, self.pictures)

    def tidy(self) -> None:
        """Remove the half-written files that died attempts have left."""
        for place in ("", PLAN_FOLDER, RECEIPT_FOLDER):
            self.out.remove_abandoned(place)


def held_frames(place: LocalFolder, model: "ModelProto", reader: FrameReader, provider: str) -> frozenset[Key]:
    """Return the frames whose statistics are there; nothing is written. For arguments and errors see `Collection.at`.

    Whether their pictures were replaced since is not looked at.
    """
    data = model.SerializeToString(deterministic=True)
    out = _below(place, _settings(hashlib.sha256(data).hexdigest(), reader, provider))
    plan = read_plan(out)
    if plan is None or plan.kind != STATISTICS.name:
        return frozenset()
    places = places_of(out, read_receipts(out, plan).values())
    return frozenset(key for key, rows in places.items() if any(row.status == "ok" for row in rows))


def _below(place: LocalFolder, settings: Mapping[str, Any]) -> LocalFolder:
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return LocalFolder(os.path.join(place.path, key[:16]))


def _fitting(
    out: LocalFolder, plan: Plan, done: Mapping[int, Receipt], missing: set[Key]
) -> Iterator[tuple[int, frozenset[Key]]]:
    """Yield the shards of a run that was cut off which hold nothing but missing frames, each frame in one of them."""
    still = set(missing)
    for assignment in plan.assignments():
        if assignment.shard not in done:
            keys = frozenset((item["dataset_root"], item["stem"]) for item in read_items(out, assignment))
            if keys <= still:
                still -= keys
                yield assignment.shard, keys


@contextmanager
def advising_removal(out: LocalFolder) -> Iterator[None]:
    """Say what to do about a plan that cannot be read; the command line has no option to start over."""
    try:
        yield
    except PlanError as error:
        raise PlanError(
            f"{out.url}: the plan of these statistics is damaged ({error.__cause__}); remove the folder, and the same "
            "command makes them again"
        ) from error


def _settings(sha256: str, reader: FrameReader, provider: str) -> dict[str, Any]:
    """Return what shapes the rows, as JSON values."""
    import onnxruntime

    spec = json.loads(json.dumps(asdict(reader.spec)))  # lists, as a plan that was read again has them
    return {
        "schema": SCHEMA_VERSION,
        "root": reader.root.url,
        "network": sha256,
        "provider": provider,
        # Another version rounds otherwise: its rows must not be added to these.
        "onnxruntime": onnxruntime.__version__,
        "input": spec,
    }


def _holds(out: LocalFolder, name: str, content: bytes) -> bool:
    try:
        return out.digest(name) == (len(content), hashlib.sha256(content).hexdigest())
    except FileNotFoundError:
        return False


def _table(keys: Sequence[Key]) -> pa.Table:
    return pa.table({"dataset_root": [root for root, _ in keys], "stem": [stem for _, stem in keys]}, schema=_ITEMS)
