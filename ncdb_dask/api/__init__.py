"""The public verbs. These modules only wire the stages to the runtime."""

from ncdb_dask.api.exports import export, plan_export, read_export, run_export, verify_export
from ncdb_dask.api.scans import draw_scan, plan_scan, read_scan, run_scan, scan, summarize_scan
from ncdb_dask.api.sets import sample, sample_report

__all__ = [
    "draw_scan",
    "export",
    "plan_export",
    "plan_scan",
    "read_export",
    "read_scan",
    "run_export",
    "run_scan",
    "sample",
    "sample_report",
    "scan",
    "summarize_scan",
    "verify_export",
]
