"""What `status` tells, as lines for people."""

import shlex
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ncdb_dask.cli.progress import duration
from ncdb_dask.store.driver import DIED, FAILED, SUBMITTED, Driver

if TYPE_CHECKING:
    from ncdb_dask.cli.status import Status

MAX_WORKERS = 16
Row = tuple[str, str]


def of_folder(found: "Status") -> str:
    """Describe what a run's folder tells."""
    rows: list[Row] = []
    for run in found.runs():
        rows += _run(run)
    if not rows:
        command = found.drivers[0].command[0] if found.drivers else "run"
        rows += [("Run", f"{command} of {found.out}"), ("State", found.condition)]
    for driver in found.drivers:
        rows += _driver(driver)
    rows += [("Damaged", f"{name} is no record that can be read") for name in found.damaged]
    rows += [("" if number else "It ends with", line) for number, line in enumerate(found.log())]
    return _table(rows)


def of_scheduler(state: Mapping[str, Any]) -> str:
    """Describe what a scheduler's page shows."""
    blocks = [_table(list(_run(run))) for run in state["runs"]]
    workers = state["workers"]
    rows: list[Row] = [("Workers", str(len(workers)))]
    for worker in workers[:MAX_WORKERS]:
        pace = worker["entries_per_second"]
        rate = f", {_pace(pace)}" if pace is not None else ""
        rows.append(
            (
                "",
                f"{worker['address']}  {worker['status']}, {worker['memory'] / 2**20:.0f} MiB, "
                f"{worker['entries_done']} entries{rate}",
            )
        )
    if len(workers) > MAX_WORKERS:
        rows.append(("", f"and {len(workers) - MAX_WORKERS} more"))
    return "\n\n".join([*blocks, _table(rows)])


def _run(run: Mapping[str, Any]) -> Iterator[Row]:
    yield "Run", f"{run['what']} in {run['out']}"
    yield "State", run["status"] + (f": {run['reason']}" if run.get("reason") else "")
    if run["shards"]:
        share = 100 * run["entries_done"] // max(1, run["entries"])
        yield (
            "Done",
            f"{run['entries_done']} of {run['entries']} entries ({share} %), "
            f"{run['shards_done']} of {run['shards']} shards",
        )
    yield from _rates(run)
    counts = sorted(run["counts"].items(), key=lambda pair: -pair[1])
    if counts:
        yield "Entries", ", ".join(f"{count} {status}" for status, count in counts)
    for step in run.get("steps", ()):
        yield "Step", f"{step['what']}: {step['done']} of {step['total']}"
    for number, fault in enumerate(run["faults"]):
        yield "" if number else "Faults", f"{fault['status']}: {fault['key']}: {fault['sentence']}"
    if run.get("latest"):
        yield "Last shard", f"{_ago(run['latest'])} ago"


def _rates(run: Mapping[str, Any]) -> Iterator[Row]:
    now, mean, left = run["entries_per_second"], run["entries_per_second_mean"], run["remaining_seconds"]
    told = [
        f"{_pace(now)} in the last minutes" if now is not None else "",
        f"{_pace(mean)} in the mean" if mean is not None else "",
        f"{duration(left)} left" if left else "",
    ]
    if any(told):
        yield "Rate", ", ".join(filter(None, told))


def _driver(driver: Driver) -> Iterator[Row]:
    condition = driver.condition()
    yield "Driver", f"{driver.where()}: {condition}"
    if not driver.started:
        yield "", f"submitted {_at(driver.submitted)}, {_ago(driver.submitted)} ago, has not begun"
        if driver.state == SUBMITTED and driver.job:
            yield "", f"whether its job waits still, SLURM tells: squeue --name={driver.job_name}"
        if driver.state == SUBMITTED and driver.cluster:
            yield "", "it waits for a free worker; where that scheduler is gone, `ncdb-dask stop` withdraws it"
    else:
        yield "", f"since {_at(driver.started)}, last sign of life {_ago(driver.heartbeat)} ago"
    yield "", f"{shlex.join(driver.command)}  (in {driver.cwd})"
    if driver.said:
        yield "Said", driver.said
    if driver.error:
        yield "Why", driver.error
    if condition == DIED and driver.jobs:
        yield "", f"jobs of its workers may wait in the queue: scancel --name={driver.jobs}"
    if condition in (DIED, FAILED):
        yield "", "what is complete stays; the same command goes on from it"
    if driver.log:
        yield "Log", driver.log


def _at(when: float) -> str:
    return f"{datetime.fromtimestamp(when):%Y-%m-%d %H:%M:%S}"


def _ago(when: float) -> str:
    return duration(max(0.0, time.time() - when))


def _pace(rate: float) -> str:
    return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def _table(rows: list[Row]) -> str:
    return "\n".join(f"{name:<14}{_printable(value)}" for name, value in rows)


def _printable(text: str) -> str:
    """Return a line in which nothing steers the terminal: names of files and logs hold whatever others wrote."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
