"""Scan depth data sets, choose calibration frames, and measure what INT8 costs in metres, on Dask."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Else ONNX Runtime, as soon as it is imported, keeps a device id and a data base of events in every user's home.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from ncdb_dask.api import (
        activation_statistics,
        calibration_feed,
        compare,
        demo,
        draw_evaluation,
        draw_scan,
        evaluate,
        explain,
        export,
        finetune,
        plan_evaluation,
        plan_explanation,
        plan_export,
        plan_finetune,
        plan_quantization,
        plan_scan,
        plan_study,
        quantize,
        read_evaluation,
        read_export,
        read_scan,
        run_evaluation,
        run_explanation,
        run_export,
        run_finetune,
        run_quantization,
        run_scan,
        run_study,
        sample,
        sample_report,
        scan,
        study,
        summarize_evaluation,
        summarize_scan,
        verify_export,
        verify_quantization,
    )
    from ncdb_dask.errors import NcdbError
    from ncdb_dask.runtime.cluster import open_client

__all__ = [
    "NcdbError",
    "activation_statistics",
    "calibration_feed",
    "compare",
    "demo",
    "draw_evaluation",
    "draw_scan",
    "evaluate",
    "explain",
    "export",
    "finetune",
    "open_client",
    "plan_evaluation",
    "plan_explanation",
    "plan_export",
    "plan_finetune",
    "plan_quantization",
    "plan_scan",
    "plan_study",
    "quantize",
    "read_evaluation",
    "read_export",
    "read_scan",
    "run_evaluation",
    "run_explanation",
    "run_export",
    "run_finetune",
    "run_quantization",
    "run_scan",
    "run_study",
    "sample",
    "sample_report",
    "scan",
    "study",
    "summarize_evaluation",
    "summarize_scan",
    "verify_export",
    "verify_quantization",
]

_HOMES = {"NcdbError": "ncdb_dask.errors", "open_client": "ncdb_dask.runtime.cluster"}


def __getattr__(name: str) -> Any:
    # The verbs bring pyarrow and NumPy with them; `ncdb-dask --help` does without.
    if name not in __all__:
        raise AttributeError(f"module 'ncdb_dask' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "ncdb_dask.api")), name)
