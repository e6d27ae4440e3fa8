"""Planning an export: from a calibration set and options to frozen data that says what will be written."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from ncdb_dask.dataset.layout import require_data_root
from ncdb_dask.dataset.split import Entry, Roots, entries
from ncdb_dask.dataset.split_file import read_splits
from ncdb_dask.errors import ExportError, PlanError
from ncdb_dask.exporting.faults import faults, mended
from ncdb_dask.exporting.formats import ARRAY, CONTAINER_FILES, FILES, FORMATS, FRAME_SUFFIXES, TENSOR, Format
from ncdb_dask.exporting.manifest import LIST_FILES, MANIFEST_FILE, read_manifest
from ncdb_dask.exporting.names import file_names
from ncdb_dask.exporting.request import ExportRequest, require_short
from ncdb_dask.store.folder import Folder, LocalFolder, is_temporary
from ncdb_dask.store.manifest import MANIFEST_FILE as RUN_MANIFEST_FILE
from ncdb_dask.store.manifest import clear
from ncdb_dask.store.plan import Assignment, default_shard_size, read_items, read_plan
from ncdb_dask.store.run import Kind, PlannedRun, continued_run, held_plan, new_run
from ncdb_dask.store.shards import Receipt, read_shards

EXPORT = Kind("export", article="an", inputs="split")
# The run's own files: its plan, its receipts, and the table of what was made.
RUN_FOLDER = "_export"
PARTS = "_parts"
# A shard is what is lost with a worker, and what is done again where one frame is mended: a second's work or two. A
# default by the number of frames alone is made for scans, whose rows are small; 512 tensors of 640 x 192 are 755 MB.
SHARD_BYTES = 2**26
# Of the data set's own picture, in bytes: a PNG of 1280 x 720 has one or two.
PICTURE_BYTES = 2**20
_ITEMS = pa.schema([(name, pa.string()) for name in ("dataset_root", "stem", "name", "status", "detail")])


@dataclass(frozen=True)
class ExportPlan:
    """An export that can be carried out.

    Attributes
    ----------
    request : ExportRequest
        What was asked for.
    run : PlannedRun
        Its frames and shards, in the folder `RUN_FOLDER`.
    """

    request: ExportRequest
    run: PlannedRun

    @property
    def finished(self) -> bool:
        """Whether everything is written."""
        return self.run.finished

    @property
    def left(self) -> list[Assignment]:
        """The shards that are still to be done."""
        return self.run.left

    def write(self) -> None:
        """Put the plan on disk, after removing what an earlier export left where it starts over."""
        run = self.run
        if run.fresh:
            _remove_export(self.request.out)
        overtaken = not run.fresh and read_plan(run.out) not in (run.seen, run.plan)
        if not self.finished and not overtaken:
            # Shards that are done again have receipts of their own, not those of the table that was published.
            run.out.remove(RUN_MANIFEST_FILE)
            self.request.out.remove(MANIFEST_FILE)
        run.write()  # refuses where it was overtaken

    def __repr__(self) -> str:
        state = "finished" if self.finished else f"{len(self.run.done)} done, {len(self.left)} left"
        return (
            f"<export of {self.run.plan.entries} frames as {self.request.form.name} into {self.request.out.url}; "
            f"shards: {self.run.plan.shards}, {state}>"
        )

    def text(self) -> str:
        """Return the plan as lines for people."""
        values = self.as_dict()
        rows = {"Data set": values["root"], "Frames": values["frames"], "Format": self.request.form.name}
        rows |= {"Into": values["out"], "Shards": f"{values['shards']}, of which {values['shards_done']} are done"}
        return "\n".join(f"{name:<14}{value}" for name, value in rows.items())

    def as_dict(self) -> dict[str, Any]:
        """Return the plan in figures, as JSON values."""
        return {
            "root": self.request.root.url,
            "out": self.request.out.url,
            "frames": self.run.plan.entries,
            "shards": self.run.plan.shards,
            "shards_done": len(self.run.done),
            "finished": self.finished,
            "settings": dict(self.run.plan.settings),
        }


def run_folder(out: LocalFolder) -> LocalFolder:
    """Return where an export keeps its own files."""
    return LocalFolder(os.path.join(out.path, RUN_FOLDER))


def make_plan(request: ExportRequest, *, fresh: bool = False, shard_size: int | None = None) -> ExportPlan:
    """Read the set and decide what is to be done.

    Raises
    ------
    NcdbError
        A set that cannot be used, a folder that holds something else, or an export under other options.
    """
    for folder in (request.root, *request.allowed):
        require_data_root(folder)
    _check_out(request.out)
    splits = read_splits([request.split], request.root, request.storage_options)
    inputs = {split.name: split.sha256 for split in splits}
    place = run_folder(request.out)
    held = held_plan(place, EXPORT, fresh)
    if held is not None:
        # The folder may have moved since: the paths are others.
        _require_short_paths(request, (item["name"] for each in held.assignments() for item in read_items(place, each)))
        run = continued_run(place, EXPORT, held, request.settings(), inputs, shard_size=shard_size)
        return ExportPlan(request, _still_there(request, run))
    found, duplicates = entries(splits, Roots.of(request.root, request.allowed))
    items = _table(found)
    _require_short_paths(request, items["name"].to_pylist())
    run = new_run(
        place,
        EXPORT,
        request.settings(),
        inputs,
        items,
        shard_size=shard_size or _default_shard_size(request, len(found)),
        duplicates=duplicates,
        fresh=fresh,
    )
    return ExportPlan(request, run)


def _check_out(out: LocalFolder) -> None:
    if os.path.isfile(out.path):
        raise ExportError(
            f"{out.url} is a file; expected a folder: a new one, an empty one, or that of an earlier export"
        )
    held = out.list()
    names = [*held.sizes, *held.folders]
    if names and RUN_FOLDER not in names:
        raise ExportError(f"{out.url} holds what is not of an export ({names[0]}, ...); choose a new or empty folder")


def _table(found: list[Entry]) -> pa.Table:
    """Name the files of all frames; what names no frame has no file."""
    sound = [entry.key for entry in found if entry.status is None]
    names = dict(zip(sound, file_names(sound), strict=True))
    rows = [(entry.dataset_root, entry.stem, names.get(entry.key), entry.status, entry.detail) for entry in found]
    return pa.table(dict(zip(_ITEMS.names, map(list, zip(*rows, strict=True)), strict=True)), schema=_ITEMS)


def _require_short_paths(request: ExportRequest, names: Iterable[str | None]) -> None:
    """Refuse what ncnn2table would cut, before any work."""
    if request.form.name == "ncnn":
        folder, suffix = os.path.join(request.out.path, request.form.folder), request.form.suffix
        require_short(os.path.join(folder, name + suffix) for name in names if name is not None)


def _default_shard_size(request: ExportRequest, frames: int) -> int:
    """Choose a shard of at most `SHARD_BYTES`; a frame counts as its values, or as a picture of three bytes a pixel."""
    a_frame = PICTURE_BYTES
    if request.spec is not None:
        a_value = 4 if request.form.payload == TENSOR else 1
        a_frame = 3 * request.spec.input.width * request.spec.input.height * a_value
    return default_shard_size(frames, most=max(1, SHARD_BYTES // a_frame))


def _still_there(request: ExportRequest, run: PlannedRun) -> PlannedRun:
    """Do again the shards whose files are gone, and those with faulty frames, which may have been mended since."""
    if run.finished and _stands(request):
        return run
    held = _held_sizes(request, run.out)
    done: dict[int, Receipt] = {}
    for shard, receipt in run.done.items():
        (table,) = read_shards(run.out, [receipt], ["dataset_root", "file", "bytes", "status"])
        rows = table.to_pylist()
        # An entry that names no frame stays faulty: its split is the planned one.
        sound = all(row["status"] == "ok" or row["dataset_root"] is None for row in rows)
        if sound and _files_hold(request, held, shard, rows):
            done[shard] = receipt
    return replace(run, done=done, finished=False)


def _stands(request: ExportRequest) -> bool:
    """Whether the manifest is there and all that it names, in full, and no frame that was left out can come in.

    Raises
    ------
    ExportError
        Where frames were left out that are wanted now and cannot be read yet: doing it again would lose what is there.
    """
    try:
        manifest = read_manifest(request.out)
    except ExportError:
        return False
    named = manifest.every_file()
    folders = {os.path.dirname(name) for name in named}
    sizes = {folder: request.out.list(folder, sizes=True).sizes for folder in folders}
    there = all(
        sizes[os.path.dirname(name)].get(os.path.basename(name)) == about["bytes"] for name, about in named.items()
    )
    if not there or manifest.folder != request.out.url:
        return False
    readable = mended(request, manifest.left_out)
    lost = [frame for frame, reads in zip(manifest.left_out, readable, strict=True) if not reads]
    if lost and not request.skip_bad:
        raise ExportError(
            f"{request.out.url} was finished without {len(manifest.left_out)} frames, and {len(lost)} of them still "
            f"cannot be read ({faults(lost)}); mend them, or give --skip-bad to keep the export as it is "
            "(--fresh starts over)"
        )
    return not any(readable)


def _held_sizes(request: ExportRequest, place: Folder) -> Mapping[str, int]:
    """List the files of the frames, or the pieces of the one file for all."""
    if request.form.container == FILES:
        return request.out.list(request.form.folder, sizes=True).sizes
    return place.list(PARTS, sizes=True).sizes


def _files_hold(request: ExportRequest, held: Mapping[str, int], shard: int, rows: list[Mapping[str, Any]]) -> bool:
    """Whether the files of a shard are there in full, or its piece of the one file for all."""
    written = [row for row in rows if row["file"]]
    if request.form.container == FILES:
        return all(held.get(row["file"]) == row["bytes"] for row in written)
    return bool(held.get(part_file(shard)) == sum(row["bytes"] for row in written))


def part_file(shard: int) -> str:
    """Name the piece of the common file that a shard makes."""
    return f"shard-{shard:06d}.part"


def _remove_export(out: LocalFolder) -> None:
    """Remove what an earlier export wrote, and nothing else."""
    place = run_folder(out)
    form, names = _earlier(out, place)
    out.remove(MANIFEST_FILE)
    if form is not None:
        for file in out.list(form.folder).sizes:
            stem, suffix = os.path.splitext(file)
            if (stem in names and suffix in FRAME_SUFFIXES) or is_temporary(file):
                out.remove(f"{form.folder}/{file}")
        own = {*LIST_FILES[form.name], CONTAINER_FILES.get(form.container)}
        for file in out.list().sizes:
            if file in own or is_temporary(file):
                out.remove(file)
    for file in place.list(PARTS).sizes:
        place.remove(f"{PARTS}/{file}")
    clear(place)


def _earlier(out: LocalFolder, place: LocalFolder) -> tuple[Format | None, set[str]]:
    """Return the form of an earlier export and the names of its frames: as it planned, or as it told at its end."""
    try:
        plan = read_plan(place)
        if plan is None:
            return None, set()
        form = FORMATS[plan.settings["format"]]
        items = (item for each in plan.assignments() for item in read_items(place, each))
        return replace(form, container=ARRAY) if plan.settings["stack"] else form, {item["name"] for item in items}
    except FileNotFoundError:  # the plan's items: their removal was interrupted, and the frames went before them
        return None, set()
    except PlanError as error:
        try:
            manifest = read_manifest(out)
        except ExportError:
            what = f"the plan of the export in {out.url} is damaged, so that nothing tells which files are its own"
            raise ExportError(f"{what}; remove the folder, or choose another") from error
        return Format(**manifest.form), {os.path.splitext(frame["file"] or "")[0] for frame in manifest.frames}
