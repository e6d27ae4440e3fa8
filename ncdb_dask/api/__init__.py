"""The public verbs. These modules only wire the stages to the runtime."""

from ncdb_dask.api.comparisons import compare
from ncdb_dask.api.demos import demo
from ncdb_dask.api.evaluations import (
    draw_evaluation,
    evaluate,
    plan_evaluation,
    read_evaluation,
    run_evaluation,
    summarize_evaluation,
)
from ncdb_dask.api.explains import explain, plan_explanation, run_explanation
from ncdb_dask.api.exports import export, plan_export, read_export, run_export, verify_export
from ncdb_dask.api.feeds import calibration_feed
from ncdb_dask.api.finetunes import finetune, plan_finetune, run_finetune
from ncdb_dask.api.quantizations import plan_quantization, quantize, run_quantization, verify_quantization
from ncdb_dask.api.scans import draw_scan, plan_scan, read_scan, run_scan, scan, summarize_scan
from ncdb_dask.api.sets import sample, sample_report
from ncdb_dask.api.statistics import activation_statistics
from ncdb_dask.api.studies import plan_study, run_study, study

__all__ = [
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
