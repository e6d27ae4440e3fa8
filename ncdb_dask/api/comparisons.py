"""Comparing evaluations."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ncdb_dask.api.locations import Location
from ncdb_dask.comparison.comparison import Comparison, compare_evaluations
from ncdb_dask.comparison.request import GOOD, POOR, CompareRequest
from ncdb_dask.errors import EvaluationError
from ncdb_dask.store.folder import file_at, open_folder, reported


def compare(
    *evaluations: Location,
    out: Location | None = None,
    labels: Sequence[str] | None = None,
    resamples: int = 10_000,
    seed: int = 42,
    block: int | str | None = None,
    good: float = GOOD,
    poor: float = POOR,
    storage_options: Mapping[str, Any] | None = None,
) -> Comparison:
    """Set evaluations beside each other, paired by frame; the first is the baseline.

    Parameters
    ----------
    *evaluations : path or URL
        Folders that `evaluate` wrote, at least two, of the same protocol.
    out : path, optional
        HTML file to write: one page with tables and pictures that needs no network.
    labels : sequence of str, optional
        What the evaluations are called; the names of their folders if left out.
    resamples, seed : int
        How often blocks of frames are drawn for the intervals, and the seed of the draw.
    block : int or "recording", optional
        Frames a block, or whole recordings. Left out: whole recordings where there are 20 or more, else runs of
        neighbouring frames, as long as their differences are alike.
    good, poor : float
        Thresholds of abs_rel for the verdicts; the guide's if left out.
    storage_options : mapping, optional
        fsspec options for URLs.

    Returns
    -------
    Comparison
        ``sentences``, ``text()`` and ``as_dict()``; ``against`` has every figure.

    Raises
    ------
    NcdbError
        Evaluations that are unfinished or cannot be compared; the message says what differs.

    Examples
    --------
    >>> print(ncdb_dask.compare("out/fp32", "out/int8").text())  # doctest: +SKIP
    """
    if out is not None and not os.fspath(out).endswith(".html"):
        raise EvaluationError(f"{os.fspath(out)}: expected a name that ends in .html, the page")
    request = CompareRequest.of(labels, resamples, seed, block, good, poor)
    folders = [open_folder(place, storage_options) for place in evaluations]
    comparison = compare_evaluations(folders, request)
    if out is not None:
        from ncdb_dask.comparison.page import page  # matplotlib takes a second to import
        from ncdb_dask.comparison.worst import worst_panels

        panels = {each.label: worst_panels(place) for each, place in zip(comparison.evaluations, folders, strict=True)}
        target, name = file_at(out, storage_options)
        with reported(target, f"write {name}"):
            target.write(name, page(comparison, panels).encode())
    return comparison
