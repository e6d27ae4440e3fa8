"""Verifying a quantization: its ranges are derived again from the stored statistics, and everything is compared."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ncdb_dask.calibration.ranges import PERCENTILE, Range
from ncdb_dask.calibration.scheme import Scheme
from ncdb_dask.calibration.statistics import ActivationStatistics, stored
from ncdb_dask.errors import QuantizationError
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.quantization.ort import OnnxRuntimeQuantizer
from ncdb_dask.quantization.plan import report_path
from ncdb_dask.quantization.prepare import load
from ncdb_dask.quantization.result import Quantization
from ncdb_dask.quantization.roundings import scales_of
from ncdb_dask.quantization.target import FIXED, of_softmax
from ncdb_dask.store.folder import LocalFolder

SHOWN = 12  # digits of a hash


def differences(quantization: Quantization) -> Iterator[str]:
    """Yield what differs, a sentence each.

    Of a backend that leaves no statistics, only the file is compared.

    Parameters
    ----------
    quantization : Quantization
        As it was read.

    Raises
    ------
    NcdbError
        Where it cannot be verified: a report that is damaged, or statistics that are.
    OSError
        Where the storage fails.
    """
    try:
        yield from _of_file(quantization)
        if quantization.report["backend"] == OnnxRuntimeQuantizer.name and Path(quantization.out).exists():
            yield from _of_ranges(quantization)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise QuantizationError(
            f"{report_path(quantization.out)}: is damaged ({error!r}); quantize again to make it"
        ) from error


def _of_file(quantization: Quantization) -> Iterator[str]:
    written = quantization.report["output"]["sha256"]
    try:
        found = hashlib.sha256(Path(quantization.out).read_bytes()).hexdigest()
    except FileNotFoundError:
        yield f"{quantization.out} is gone"
        return
    if found != written:
        yield (
            f"{quantization.out} is not the file that was written (SHA-256 {found[:SHOWN]}..., the report has "
            f"{written[:SHOWN]}...)"
        )


def _of_ranges(quantization: Quantization) -> Iterator[str]:
    report, made = quantization.report, quantization.report["quantizer"]
    try:
        scales = scales_of(load(Path(quantization.out)))
    except QuantizationError as error:
        yield str(error)
        return
    spec = ModelSpec.from_dict(report["spec"], "report")
    statistics = stored(
        LocalFolder(made["statistics"]),
        [(root, stem) for root, stem in report["frames"]],
        input_name=str(spec.input.name),
        layout=spec.input.layout,
    )
    for row in made["tensors"]:
        found = _derived(row, made, statistics)
        yield from _of_row(row, found)
        yield from _of_network(row["tensor"], found, scales.pop(row["tensor"], None))
    for name in scales:
        yield f"{name}: is rounded in the network, and not in the report"


def _derived(row: Mapping[str, Any], made: Mapping[str, Any], statistics: ActivationStatistics) -> Range:
    fields = {name: made["scheme"][name] for name in ("signed", "symmetric", "power_of_two")}
    scheme = Scheme(bits=row["bits"], **fields)
    if row["method"] == FIXED:
        return of_softmax(scheme)
    return statistics.range_of(
        row["range_of"], made["options"]["method"], scheme, made["options"]["percentile"] or PERCENTILE
    )


def _of_row(row: Mapping[str, Any], found: Range) -> Iterator[str]:
    for name, derived in asdict(found).items():
        if row[name] != derived:
            yield f"{row['tensor']}: the statistics give the {name.replace('_', ' ')} {derived}, the report {row[name]}"


def _of_network(tensor: str, found: Range, scale: tuple[float, int] | None) -> Iterator[str]:
    derived = found.scale, found.zero_point
    if scale is None:
        yield f"{tensor}: is not rounded in the network"
    elif scale != derived:
        yield f"{tensor}: scale and zero point are {scale} in the network, {derived} by the statistics"
