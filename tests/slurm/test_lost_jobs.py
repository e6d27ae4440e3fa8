"""Jobs that end in mid-run, of whatever: others take their place, and the table is that of an undisturbed scan."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.real_slurm import IMPATIENT, Running, Site, running, told
from helpers.trees import assert_complete

SINCE = "0000000004"  # in four of the six shards


@contextmanager
def held_scan(site: Site, data: Path, **spec: object) -> Iterator[Running]:
    """Run a scan whose workers are held in mid-run."""
    scan = ("scan", data, site.folder / "scan", "--shard-size", 4, "--cluster", site.write(since=SINCE, **spec))
    with running(site.folder / "log", *scan, command=IMPATIENT) as driver:
        yield driver


def cancelled(job: str) -> None:
    told("scancel", job)


def over_its_time(job: str) -> None:
    """Have SLURM find at its next look, within 30 s, that a job's time is up; the shortest there is are 60 s."""
    told("scontrol", "update", f"JobId={job}", "EndTime=now+5")


@pytest.mark.parametrize(
    ("end", "jobs", "spec"),
    [
        (cancelled, 2, {"workers": 2}),
        (cancelled, 1, {"workers": 2, "workers_per_job": 2}),
        (over_its_time, 1, {"workers": 1}),
    ],
    ids=["cancelled", "cancelled, of two workers", "killed at its wall time"],
)
def test_a_job_that_is_ended_is_replaced(end, jobs, spec, site, data, expected):
    with held_scan(site, data, **spec) as driver:
        end(min(site.jobs_held(jobs)))
        site.jobs_held(jobs + 1)
        site.go()
        assert "jobs that ended, asked for again: 1" in driver.ends()
    assert_complete(site.folder / "scan", expected)


def test_workers_that_end_before_their_wall_time_are_replaced(site, data, expected):
    # They have about 5 s to live, of which they wait the rest.
    with held_scan(site, data, workers=1, walltime="00:01:00", lifetime_margin="54.7 seconds") as driver:
        site.jobs_held(2)
        site.go()
        assert "jobs that ended, asked for again" in driver.ends()
    assert_complete(site.folder / "scan", expected)
