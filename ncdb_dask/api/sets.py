"""Choosing calibration sets from a scan, and measuring them against it."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ncdb_dask.api.locations import Location, local
from ncdb_dask.calibration.frame_figures import frame_figures
from ncdb_dask.calibration.kept import find_statistics
from ncdb_dask.calibration.statistics import stored_plan
from ncdb_dask.dataset.split import entries
from ncdb_dask.dataset.split_file import read_splits
from ncdb_dask.errors import SampleError
from ncdb_dask.sampling.calibration_set import CalibrationSet, measured_set, sample_set
from ncdb_dask.sampling.contact_sheet import OnFrame, no_one
from ncdb_dask.sampling.contact_sheet import contact_sheet as draw_sheet
from ncdb_dask.sampling.coverage import Activations
from ncdb_dask.sampling.files import PICTURE_SUFFIX, SHEET_SUFFIX, SetFiles
from ncdb_dask.sampling.pool import keys_of
from ncdb_dask.sampling.request import SampleRequest, Weights
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.sampling.strata import DEFAULT_SIZE
from ncdb_dask.store.folder import LocalFolder, file_at, open_folder, reported


def sample(
    scan: Location,
    split: Location | None = None,
    *,
    size: int = DEFAULT_SIZE,
    strategy: str = "stratified",
    statistics: Location | None = None,
    bins: str | Sequence[float] | None = None,
    names: str | Sequence[str] | None = None,
    ratios: str | Sequence[float] | None = None,
    by: str | Sequence[str] | None = None,
    weights: Weights | None = None,
    seed: int = 42,
    exclude: Location | Sequence[Location] = (),
    min_gap: int = 0,
    min_valid: int | str = 0,
    ambiguous: str = "leave-out",
    synthetic: str = "keep",
    beyond: str = "leave-out",
    picture: bool = True,
    contact_sheet: bool = False,
    overwrite: bool = False,
    root: Location | None = None,
    storage_options: Mapping[str, Any] | None = None,
    on_frame: OnFrame = no_one,
) -> CalibrationSet:
    """Choose the frames of a calibration set from a finished scan.

    Parameters
    ----------
    scan : path or URL
        The folder that `scan` wrote.
    split : path, optional
        JSON file to write, in the guide's form; the report, the picture and the contact sheet go beside it. Left out,
        nothing is written.
    size : int
        How many frames; exactly so many are chosen.
    strategy : str
        ``stratified`` (depth ranges by `ratios`), ``balanced`` (cells by `weights`), ``matched`` (cells in the
        proportions of the data set), ``coverage`` (what the activations of a network reach, by `statistics`), or a
        baseline: ``random``, ``uniform`` (every k-th along the recordings), ``first`` (of the scan's splits).
    statistics : path, optional
        For ``coverage``: where `activation_statistics` or `quantize` keeps what it measured, of one network. Only
        frames with statistics are chosen; nothing is run.
    bins : sequence of float or comma list, optional
        Edges of the depth ranges, metres; 0,3,8,15,inf if left out. A range holds its lower edge, not its upper one.
    names : sequence of str or comma list, optional
        Of the depth ranges.
    ratios : sequence of float or comma list, optional
        Share of each depth range; .25,.40,.25,.10 if left out.
    by : sequence of str or comma list, optional
        What the cells cross: ``depth_range`` and columns of the scan. Left out, ``depth_range,scene_type`` for
        ``balanced`` and ``depth_range`` for ``matched``.
    weights : path or mapping, optional
        Weight of each cell, relative: a TOML or CSV file, or nested mappings. Left out, cells that hold frames weigh
        the same.
    seed : int
        Of the draw.
    exclude : path, URL, or sequence of these
        Splits whose frames are kept out, such as the validation split; looked for as given and then under the root.
    min_gap : int
        Least difference of frame numbers within a recording, between chosen frames and to excluded ones.
    min_valid : int or str
        Least valid pixels of a depth map, a number or a share such as ``1%``.
    ambiguous, synthetic : str
        ``keep`` or ``leave-out``: frames whose unit of depth is in doubt; frames with synthetic depth only.
    beyond : str
        ``leave-out`` or ``nearest``: frames beyond all depth ranges.
    picture, contact_sheet : bool
        Write ``<split>.png``, six panels; write ``<split>.sheet.png``, a thumbnail of every chosen frame.
    overwrite : bool
        Replace a file that is no earlier set.
    root : path or URL, optional
        Where the data set is now, if not where it was scanned.
    storage_options : mapping, optional
        fsspec options for URLs.
    on_frame : callable
        Told how many thumbnails are drawn, and of how many.

    Returns
    -------
    CalibrationSet
        ``keys``, and ``report`` with its figures.

    Raises
    ------
    NcdbError
        A scan, split or option that cannot be used, or too few frames; nothing is written then.
    """
    request = SampleRequest.of(
        size=size,
        strategy=strategy,
        bins=bins,
        names=names,
        ratios=ratios,
        by=by,
        weights=weights,
        seed=seed,
        exclude=exclude,
        min_gap=min_gap,
        min_valid=min_valid,
        ambiguous=ambiguous,
        synthetic=synthetic,
        beyond=beyond,
        statistics=statistics,
    )
    files = None if split is None else SetFiles.at(split, storage_options)
    if files is not None:
        drawn = {PICTURE_SUFFIX: picture, SHEET_SUFFIX: contact_sheet}
        files.check_free(overwrite, [suffix for suffix, wanted in drawn.items() if wanted])
    table = _table(scan, root, storage_options)
    activations = None if statistics is None else _activations(table, statistics)
    with reported(table.folder, "read"):
        chosen = sample_set(table, request, files.split if files else "calibration set", activations)
    if files is not None:
        files.write(chosen, _pictures(table, chosen, picture, contact_sheet, on_frame))
    return chosen


def sample_report(
    split: Location,
    scan: Location,
    *,
    bins: str | Sequence[float] | None = None,
    names: str | Sequence[str] | None = None,
    exclude: Location | Sequence[Location] = (),
    min_gap: int = 0,
    min_valid: int | str = 0,
    ambiguous: str = "leave-out",
    synthetic: str = "keep",
    beyond: str = "leave-out",
    picture: Location | None = None,
    contact_sheet: Location | None = None,
    root: Location | None = None,
    storage_options: Mapping[str, Any] | None = None,
    on_frame: OnFrame = no_one,
) -> CalibrationSet:
    """Measure a calibration set that someone else made, as `sample` measures its own.

    Parameters
    ----------
    split : path
        The set; looked for as given and then under the root.
    scan : path or URL
        A finished scan of the data set that it was taken from.
    bins, names, exclude, min_gap, min_valid, ambiguous, synthetic, beyond, root, storage_options, on_frame
        As for `sample`, to look at the data set in the same way; frames of the set that are excluded, look like an
        excluded one or are too near to one are counted.
    picture, contact_sheet : path, optional
        PNG files to write.

    Returns
    -------
    CalibrationSet
        Its ``report`` holds the figures.

    Raises
    ------
    NcdbError
        A scan or split that cannot be used, or a set of which the scan knows no frame.
    """
    request = SampleRequest.of(
        strategy="random",
        bins=bins,
        names=names,
        exclude=exclude,
        min_gap=min_gap,
        min_valid=min_valid,
        ambiguous=ambiguous,
        synthetic=synthetic,
        beyond=beyond,
    )
    table = _table(scan, root, storage_options)
    with reported(table.folder, "read"):
        found, repeated = entries(read_splits([os.fspath(split)], table.root, table.options), table.roots)
        measured = measured_set(table, found, repeated, request, os.path.basename(os.fspath(split)))
    drawn = _pictures(table, measured, picture is not None, contact_sheet is not None, on_frame)
    for place, data in zip(
        [place for place in (picture, contact_sheet) if place is not None], drawn.values(), strict=True
    ):
        folder, name = file_at(place, storage_options)
        with reported(folder, f"write {name}"):
            folder.write(name, data)
    return measured


def _table(scan: Location, root: Location | None, options: Mapping[str, Any] | None) -> ScanTable:
    moved = None if root is None else open_folder(root, options)
    return ScanTable(open_folder(scan, options), moved, options or {})


def _activations(table: ScanTable, statistics: Location) -> Activations:
    place = LocalFolder(str(local(statistics, "statistics", "folder")))
    with reported(table.folder, "read"):
        frames = table.columns(["dataset_root", "filename", "status"])
        keys = keys_of(frames[frames["status"] == "ok"])
    with reported(place, "read"):
        found = find_statistics(place)
        figures, root = frame_figures(found, keys), stored_plan(found).settings["root"]
    if not figures.keys:
        raise SampleError(
            f"{found.url}: holds statistics of none of the {len(keys)} frames of {table.folder.url}, but of frames of "
            f"{root}; measure those that may be chosen with ncdb_dask.activation_statistics"
        )
    return Activations(figures.keys, figures.ranges, found.url, root)


def _pictures(
    table: ScanTable, chosen: CalibrationSet, picture: bool, contact_sheet: bool, on_frame: OnFrame
) -> dict[str, bytes]:
    drawn = {}
    if picture:
        from ncdb_dask.sampling.picture import set_picture  # matplotlib takes a second to import

        drawn[PICTURE_SUFFIX] = set_picture(chosen)
    if contact_sheet:
        with reported(table.folder, "read"):
            drawn[SHEET_SUFFIX] = draw_sheet(table, chosen, on_frame)
    return drawn
