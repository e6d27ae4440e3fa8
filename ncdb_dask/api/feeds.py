"""Feeding calibration frames to a quantizer."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ncdb_dask.api.frames import calibration_frames
from ncdb_dask.api.locations import Location
from ncdb_dask.calibration.feed import BUDGET_BYTES, CalibrationFeed
from ncdb_dask.errors import CalibrationError
from ncdb_dask.model.graph import check_graph
from ncdb_dask.model.spec import InputSpec, find_spec, read_spec
from ncdb_dask.runtime.stream import ordered_stream

if TYPE_CHECKING:
    from distributed import Client


def calibration_feed(
    split: Location | Sequence[Location],
    *,
    root: Location,
    model_spec: Location | None = None,
    model: Location | None = None,
    skip_bad: bool = False,
    client: "Client | None" = None,
    allow_root: Location | Sequence[Location] = (),
    storage_options: Mapping[str, Any] | None = None,
    budget_bytes: int = BUDGET_BYTES,
) -> CalibrationFeed:
    """Feed the frames of a calibration set to a quantizer, preprocessed, without writing them down.

    Parameters
    ----------
    split : path, or sequence of these
        The calibration set; looked for as given and then under the root.
    root : path or URL
        The data set.
    model_spec : path, optional
        The model file, which says what the network takes.
    model : path, optional
        The ONNX file: the model file is checked against it, gets the name of its input from it, and is looked for
        beside it where `model_spec` is left out.
    skip_bad : bool
        Leave out frames that cannot be read, and report them in ``skipped``, instead of stopping at the first. Every
        frame is then read once more.
    client : distributed.Client, optional
        Where frames are read and preprocessed, ahead of the quantizer; one by one in this process if left out.
    allow_root : path, URL, or sequence of these
        Further folders in which frames may lie.
    storage_options : mapping, optional
        fsspec options for URLs.
    budget_bytes : int
        Of tensors that the workers may hold ahead of the quantizer.

    Returns
    -------
    CalibrationFeed
        Sized, re-iterable, in the order of the set; of float32 tensors of shape (1, 3, height, width), or
        (1, height, width, 3) where the model file says nhwc. Each frame once, however often the set names it. What it
        knows of the folders stays as it is, so files that are mended later need another feed.

    Raises
    ------
    NcdbError
        A set, a model file, an option or a folder that cannot be used; the message says what to do. While it is
        iterated, `CalibrationError` for a frame that cannot be read.

    See Also
    --------
    ncdb_dask.calibration.adapters : Forms in which ONNX Runtime, NNCF, Quark and torch take it.
    """
    frames, reader = calibration_frames(split, root, allow_root, _input_spec(model_spec, model), storage_options)
    return CalibrationFeed(
        frames.frames,
        reader,
        partial(ordered_stream, client=client),
        skip_bad=skip_bad,
        budget_bytes=budget_bytes,
    )


def _input_spec(model_spec: Location | None, model: Location | None) -> InputSpec:
    if model is not None:
        return check_graph(model, read_spec(find_spec(model, model_spec))).input
    if model_spec is None:
        raise CalibrationError("no network is named; expected its ONNX file (model) or its model file (model_spec)")
    return read_spec(model_spec).input
