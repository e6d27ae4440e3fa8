"""The public verbs. These modules only wire the stages to the runtime."""

from ncdb_dask.api.scans import draw_scan, plan_scan, read_scan, run_scan, scan, summarize_scan
from ncdb_dask.api.sets import sample, sample_report

__all__ = [
    "draw_scan",
    "plan_scan",
    "read_scan",
    "run_scan",
    "sample",
    "sample_report",
    "scan",
    "summarize_scan",
]
