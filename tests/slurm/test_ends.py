"""However a run in jobs ends, and before it has begun, too: no job, no certificate, one sentence, the right code."""

import os
import signal
from pathlib import Path

import pytest
from helpers.real_slurm import Site, call, queue, running
from helpers.trees import assert_complete
from helpers.watching import until

import ncdb_dask

HOLD = ["--hold"]  # jobs wait until somebody lets them go


def scan(site: Site, data: Path, **spec: object) -> tuple[object, ...]:
    return ("scan", data, site.folder / "scan", "--shard-size", 4, "--cluster", site.write(**spec))


def states() -> list[str]:
    return sorted(line.split("|")[1] for line in queue())


@pytest.mark.parametrize("waiting", [True, False], ids=["waiting", "running"])
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_jobs(signum, code, waiting, site, data, tmp_path):
    spec = {"directives": HOLD} if waiting else {"since": "0000000004"}
    with running(tmp_path / "log", *scan(site, data, **spec)) as driver:
        if waiting:
            until(lambda: states() == ["PENDING"] * 2)
        else:
            site.jobs_held(2)
        # A terminal sends Ctrl-C to every process of a command, a batch system its signal to the first.
        (os.killpg if signum == signal.SIGINT else os.kill)(driver.process.pid, signum)
        said = driver.ends(code)
    assert said.count("the same command goes on from it") == 1
    assert site.certificates() == []
    assert list(site.shared.glob("logs/*")) == []
    if waiting:
        assert queue() == []


def test_a_fault_of_a_script_cancels_jobs(site):
    with pytest.raises(ZeroDivisionError), ncdb_dask.open_client(str(site.write())):
        _ = 1 / 0
    assert site.certificates() == []


def test_jobs_of_a_killed_driver_end_and_its_certificates_go_with_the_next(site, data, tmp_path, expected):
    with running(tmp_path / "log", *scan(site, data, since="0000000004")) as driver:
        site.jobs_held(2)
        driver.process.kill()
        driver.process.wait()
    site.go()
    until(lambda: not queue(), 60)
    assert len(site.certificates()) == 1
    ran = call(*scan(site, data))
    assert ran.returncode == 0, ran.stderr
    assert site.certificates() == []
    assert_complete(tmp_path / "scan", expected)


def test_a_scan_works_with_the_jobs_that_run_while_others_wait(site, data, tmp_path, expected):
    spec = {"directives": ["--exclusive"], "since": "0000000004"}
    with running(tmp_path / "log", *scan(site, data, **spec)) as driver:
        site.jobs_held(1)
        assert states() == ["PENDING", "RUNNING"]
        site.go()
        driver.ends()
    assert_complete(tmp_path / "scan", expected)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"partition": "nosuch"}, "invalid partition specified: nosuch"),
        ({"memory": "100 GiB"}, "Memory specification can not be satisfied"),
    ],
)
def test_what_slurm_refuses_is_told_in_a_line(spec, reason, site, data):
    ran = call(*scan(site, data, **spec))
    assert ran.returncode == 1
    assert ran.stderr.startswith("Error: SLURM accepts no job: sbatch failed (")
    assert reason in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert site.certificates() == []
    assert list(site.shared.glob("logs/*")) == []
