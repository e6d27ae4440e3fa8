"""`submit`, `status`, `stop` and `slurm-script` as a user meets them; SLURM's commands are played."""

import json
import re
import shlex
import subprocess
import sys
import time
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner, Result
from helpers.fake_slurm import FIRST_JOB, REFUSALS, UNCLEAR, UNUSABLE, WORKERLESS, FakeSlurm, write_fake_slurm

from ncdb_dask.cli.main import ARGUMENTS, ENDING, main
from ncdb_dask.cli.options import RunsOn
from ncdb_dask.cli.places import place_of
from ncdb_dask.cli.running import running
from ncdb_dask.runtime import stopping
from ncdb_dask.runtime.heartbeat import Heartbeat
from ncdb_dask.store.driver import FAILED, RUNNING, STOPPED, SUBMITTED, Driver, begun, new_driver
from ncdb_dask.store.driver_records import ask_to_stop, read_drivers, write_driver

SPEC = """\
kind = "slurm"
partition = "long"
shared = "{shared}"
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """The folder that the commands are given in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def spec(here) -> str:
    (here / "slurm.toml").write_text(SPEC.format(shared=here / "shared"))
    return "slurm.toml"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def failure(result: Result) -> str:
    """What a failed command says at its end."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr.strip().splitlines()[-1]


def usage(result: Result) -> str:
    assert result.exit_code == 2, result.output
    return result.stderr.strip().splitlines()[-1]


def the_driver(out: object = "out", command: str = "scan") -> Driver:
    drivers, damaged = read_drivers(place_of(command, str(out)).driver)
    assert len(drivers) == 1
    assert not damaged
    return drivers[0]


def slurm(here: Path, answer, monkeypatch) -> FakeSlurm:
    fake = write_fake_slurm(here / "fake", answer)
    monkeypatch.setenv("PATH", fake.path)
    return fake


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["submit"], "Missing argument"),
        (["submit", "--", "summary", "out"], "'summary' does not run long; expected one of scan, evaluate"),
        (["submit", "--", "nosuch", "out"], "'nosuch' does not run long"),
        (["submit", "--", "scan", "data"], "Missing argument 'OUT'"),
        (["submit", "--", "scan", "data", "out", "--nosuch"], "No such option"),
        (["submit", "scan", "data", "out", "--shard-size", "0"], "Invalid value for '--shard-size'"),
        (["submit", "--", "export", "set.json", "--root", "data"], "OUT is missing"),
        (["submit", "--", "scan", "data", "out", "--workers", "2"], "--workers goes before the command"),
        (["submit", "--", "scan", "data", "out", "--cluster", "local"], "--cluster goes before the command"),
        (["submit", "--", "scan", "data", "out", "--dry-run"], "--dry-run only prints"),
        (["submit", "--", "export", "--verify", "out"], "--verify only prints"),
        (["slurm-script", "--", "scan", "data"], "Missing argument 'OUT'"),
        (["status"], "expected one of OUT, an address, and --scheduler-file"),
        (["status", "out", "--scheduler-file", "s.json"], "expected one of OUT, an address, and --scheduler-file"),
    ],
)
def test_wrong_usage_is_told_at_once_and_makes_nothing(arguments, says, here):
    assert says in usage(run(*arguments))
    assert not list(here.iterdir())


def test_what_cannot_be_planned_is_told_by_submit_itself(data, here):
    assert "nowhere: no such folder" in failure(run("submit", "--", "scan", "nowhere", "out"))
    (here / "photos" / "a").mkdir(parents=True)
    assert "holds what is not of a scan (a, ...)" in failure(run("submit", "--", "scan", data, "photos"))
    assert "found cluster 'nosuch'" in failure(run("submit", "--cluster", "nosuch", "--", "scan", data, "out"))
    says = failure(run("submit", "--cluster", "tcp://127.0.0.1:1", "--workers", 0, "--", "scan", data, "out"))
    assert "--workers 0 has the driver do the work itself; leave it out" in says
    assert sorted(path.name for path in here.rglob("*")) == ["a", "photos"]


def test_a_job_is_submitted_with_the_command_and_its_cluster(data, here, spec, monkeypatch):
    fake = slurm(here, WORKERLESS["pends"], monkeypatch)
    result = run("submit", "--cluster", spec, "--workers", 3, "--", "scan", data, "my out", "--shard-size", 4)
    assert result.exit_code == 0, result.output
    driver = the_driver("my out")
    assert (driver.state, driver.job) == (SUBMITTED, str(FIRST_JOB))
    (script,) = fake.scripts()
    assert f"#SBATCH --job-name={driver.job_name}\n#SBATCH --partition=long\n" in script
    assert f'#SBATCH --output="{here}/my out/_driver/driver.log"\n' in script
    record = f"{here}/my out/_driver/{driver.id}.json"
    placed = ["--driver", record, "scan", "--cluster", spec, "--workers", "3", data, "my out", "--shard-size", "4"]
    run_line = shlex.split(script.splitlines()[-1])
    assert run_line == ["exec", sys.executable, "-P", "-m", "ncdb_dask.cli", *map(str, placed)]
    for line in (f"SLURM job {FIRST_JOB}", driver.log, "ncdb-dask status 'my out'", "ncdb-dask stop 'my out'"):
        assert line in result.stdout
    assert f"SLURM job {FIRST_JOB}: submitted" in run("status", "my out").stdout


def test_a_job_without_workers_does_the_work_itself(data, here, spec, monkeypatch):
    fake = slurm(here, WORKERLESS["pends"], monkeypatch)
    assert run("submit", "--cluster", spec, "--workers", 0, "--", "scan", data, "out").exit_code == 0
    arguments = shlex.split(fake.scripts()[0].splitlines()[-1])[5:]
    assert arguments[2:] == ["scan", "--workers", "0", str(data), "out"]
    began = run(*arguments, "--no-picture")
    assert began.exit_code == 0, began.output
    assert the_driver().state == "finished"
    script = run("slurm-script", "--cluster", spec, "--workers", 0, "--", "scan", data, "out").stdout
    assert script.endswith(f" scan --workers 0 {data} out\n")


def test_the_number_of_a_job_is_not_any_number_that_sbatch_says(data, here, spec, monkeypatch):
    slurm(here, replace(WORKERLESS["pends"], out="Welcome to cluster2\n" + WORKERLESS["pends"].out), monkeypatch)
    assert run("submit", "--cluster", spec, "--", "scan", data, "out").exit_code == 0
    assert the_driver().job == str(FIRST_JOB)


def test_a_job_without_a_number_is_cancelled_by_its_name(data, here, spec, monkeypatch):
    fake = slurm(here, replace(UNCLEAR["no number"], state="PENDING"), monkeypatch)
    assert "sbatch told no job number" in failure(run("submit", "--cluster", spec, "--", "scan", data, "out"))
    assert len(fake.scripts()) == 1
    assert not fake.left()


@pytest.mark.parametrize("name", [*REFUSALS, *UNUSABLE, "timed out", "timed out, accepted", "no number"])
def test_a_job_that_is_refused_leaves_no_driver(name, data, here, spec, monkeypatch):
    answer = (REFUSALS | UNUSABLE | UNCLEAR)[name]
    fake = slurm(here, answer, monkeypatch)
    says = failure(run("submit", "--cluster", spec, "--", "scan", data, "out"))
    assert "sbatch" in says
    assert all(line.removeprefix("sbatch: error: ") in says for line in answer.err.splitlines())
    assert not (here / "out").exists()
    assert not fake.left()


def test_a_second_driver_is_refused_and_names_the_first(data, here, spec, monkeypatch):
    fake = slurm(here, WORKERLESS["pends"], monkeypatch)
    assert run("submit", "--cluster", spec, "--", "scan", data, "out").exit_code == 0
    says = failure(run("submit", "--cluster", spec, "--", "scan", data, "out"))
    waits = rf"another driver is at work \(SLURM job {FIRST_JOB}, submitted \d{{4}}-\S+ \S+: scan --cluster slurm.toml"
    assert re.search(waits, says)
    assert len(fake.scripts()) == 1
    # What was cancelled by hand is in no one's way.
    subprocess.run(["scancel", str(FIRST_JOB)], check=True)
    text = run("status", "out").stdout
    assert "State         stopped" in text
    assert "its job has left the queue and has not begun; submit it again" in text
    assert f"the last one, SLURM job {FIRST_JOB}, stopped" in failure(run("stop", "out"))
    assert run("submit", "--cluster", spec, "--", "scan", data, "out").exit_code == 0
    assert len(fake.scripts()) == 2
    states = {driver.state for driver in read_drivers(place_of("scan", "out").driver)[0]}
    assert states == {SUBMITTED, STOPPED}


def test_a_job_that_waits_is_cancelled_by_stop(data, here, spec, monkeypatch):
    fake = slurm(here, WORKERLESS["pends"], monkeypatch)
    run("submit", "--cluster", spec, "--", "scan", data, "out")
    result = run("stop", "out")
    assert result.exit_code == 0, result.output
    assert f"SLURM job {FIRST_JOB} has ended: stopped, stopped before it began" in result.stdout
    assert not fake.left()
    assert the_driver().state == STOPPED
    assert "no driver runs; the last one, SLURM job" in failure(run("stop", "out"))


def test_stop_asks_a_busy_controller_again(data, here, spec, monkeypatch):
    fake = slurm(here, WORKERLESS["pends"], monkeypatch)
    run("submit", "--cluster", spec, "--", "scan", data, "out")
    squeue = here / "fake" / "squeue"
    working = squeue.read_text()
    asked = here / "asked"
    first_fails = f"if [ $(wc -l < {asked}) -eq 2 ]; then echo 'error: Socket timed out' >&2; exit 1; fi"
    squeue.write_text(working.replace("#!/bin/sh\n", f"#!/bin/sh\necho >> {asked}\n{first_fails}\n"))
    monkeypatch.setattr(stopping, "QUEUE_SECONDS", 0.0)
    result = run("stop", "out")
    assert result.exit_code == 0, result.output
    assert len(asked.read_text().splitlines()) == 3  # whether it is there, in vain, and once more
    assert not fake.left()


def test_a_driver_on_a_cluster_that_is_gone_is_withdrawn(data, here):
    place = place_of("scan", "out").driver
    week_ago = time.time() - 7 * 86400
    driver = new_driver(["scan", str(data), "out"], state=SUBMITTED, cluster="tls://gone:8786", submitted=week_ago)
    write_driver(place, driver)
    assert "`ncdb-dask stop` withdraws it" in run("status", "out").stdout
    says = failure(run("submit", "--", "scan", data, "out"))
    assert f"submitted {datetime.fromtimestamp(week_ago):%Y-%m-%d %H:%M}: scan" in says
    assert run("stop", "out").exit_code == 0
    assert the_driver().state == STOPPED


def left_behind(about: dict[str, object]) -> Driver:
    """A driver of which only the record is left."""
    driver = replace(begun(new_driver(["scan", "data", "out"])), begun="1", jobs="ncdb-0123abcd", **about)
    write_driver(place_of("scan", "out").driver, driver)
    return driver


def test_jobs_that_a_killed_driver_left_are_told_of_and_cancelled(data, here, monkeypatch):
    fake = slurm(here, WORKERLESS["pends"], monkeypatch)
    left_behind({"state": RUNNING})
    assert "jobs of its workers may wait in the queue: scancel --name=ncdb-0123abcd" in run("status", "out").stdout
    stopped = run("stop", "out")
    assert "no driver runs" in failure(stopped)
    assert "(ncdb-0123abcd)" in stopped.stderr
    assert run("scan", data, "out", "--workers", 0, "--no-picture").exit_code == 0
    assert fake.calls("scancel") == [["--name=ncdb-0123abcd"]] * 2
    assert the_driver().jobs == ""


def test_a_driver_that_is_begun_again_cancels_what_it_had_left(data, here, monkeypatch):
    fake = slurm(here, WORKERLESS["pends"], monkeypatch)
    driver = left_behind({"state": RUNNING, "machine": "another one"})  # which seems to live
    arguments = ("scan", data, "out", "--workers", 0, "--no-picture")
    assert run("--driver", f"out/_driver/{driver.id}.json", *arguments).exit_code == 0
    assert fake.calls("scancel") == [["--name=ncdb-0123abcd"]]


def test_jobs_of_who_has_ended_are_left_alone(data, here, monkeypatch):
    fake = slurm(here, WORKERLESS["pends"], monkeypatch)
    left_behind({"state": STOPPED})
    assert run("scan", data, "out", "--workers", 0, "--no-picture").exit_code == 0
    assert not fake.calls("scancel")


@pytest.mark.parametrize("options", [[], ["--fresh"]])
def test_a_command_beside_a_driver_that_lives_is_refused_and_does_nothing(options, data, here, monkeypatch):
    fake = slurm(here, WORKERLESS["pends"], monkeypatch)
    left_behind({"state": RUNNING, "machine": "another one"})
    before = sorted(path for path in here.joinpath("out").rglob("*"))
    result = run("scan", data, "out", "--workers", 0, *options)
    assert result.exit_code == 1
    assert "another driver is at work" in result.stderr
    assert "`ncdb-dask stop` ends it" in result.stderr
    assert sorted(path for path in here.joinpath("out").rglob("*")) == before
    assert not fake.calls("scancel")


def test_the_record_names_the_jobs_of_workers(data, here, monkeypatch):
    told = []
    monkeypatch.setattr(Heartbeat, "tell", lambda self, **about: told.append(about))
    client = SimpleNamespace(cluster=SimpleNamespace(name="ncdb-0123abcd"))
    monkeypatch.setattr(RunsOn, "client", lambda self, *rest: nullcontext(client))
    with click.Context(main).scope() as context, ExitStack() as context.meta[ENDING]:
        context.meta[ARGUMENTS] = ("scan", "data", "out")
        with running(RunsOn(), "scan", "out"):
            pass
    assert {"state": RUNNING, "jobs": "ncdb-0123abcd"} in told


def test_where_slurm_is_not_a_waiting_job_is_asked_and_not_taken_for_ended(data, here, spec, monkeypatch):
    with monkeypatch.context() as there:
        fake = slurm(here, WORKERLESS["pends"], there)
        run("submit", "--cluster", spec, "--", "scan", data, "out")
    monkeypatch.setenv("PATH", str(here))
    text = run("status", "out").stdout
    assert "State         submitted" in text
    assert f"SLURM tells: squeue --name={the_driver().job_name}" in text
    assert f"scancel {FIRST_JOB} where SLURM is; if it begins, it ends at once" in failure(run("stop", "out"))
    assert fake.left()
    assert the_driver().state == SUBMITTED
    began = run("--driver", f"out/_driver/{the_driver().id}.json", "scan", data, "out")
    assert began.exit_code == 143
    assert "stopped by `ncdb-dask stop`" in began.stderr
    assert the_driver().state == STOPPED
    assert not (here / "out" / "_plan").exists()


def test_a_driver_that_was_withdrawn_does_not_begin(data, here):
    says = failure(run("--driver", "out/_driver/0123.json", "scan", data, "out"))
    assert says == "Error: out/_driver/0123.json is gone: this driver was withdrawn; submit the command again"
    assert not (here / "out").exists()


def test_a_driver_that_has_nothing_to_do_says_so_in_its_record(data, here):
    run("scan", data, "out", "--workers", 0, "--no-picture")
    place = place_of("scan", "out").driver
    for driver in read_drivers(place)[0]:
        place.remove(f"{driver.id}.json")
    driver = new_driver(["scan", str(data), "out"], state=SUBMITTED, submitted=time.time())
    write_driver(place, driver)
    assert run("--driver", f"out/_driver/{driver.id}.json", "scan", data, "out").exit_code == 0
    assert (the_driver().state, the_driver().attempt) == ("finished", 1)


@pytest.mark.parametrize("planned", [True, False])
def test_a_driver_that_is_begun_again_does_not_start_over_again(planned, data, here):
    arguments = ("scan", data, "out", "--shard-size", 4, "--workers", 0, "--no-picture")
    run(*arguments)
    before = json.loads(Path("out/_plan/plan.json").read_bytes())["id"]
    Path("out/_manifest.json").unlink()
    Path("out/shard-000003.parquet").unlink()
    assert the_driver().planned
    driver = replace(begun(new_driver(["scan", str(data), "out"], submitted=1.0)), begun="1", planned=planned)
    write_driver(place_of("scan", "out").driver, driver)
    again = run("--driver", f"out/_driver/{driver.id}.json", *arguments, "--fresh")
    assert again.exit_code == 0, again.output
    assert ("continuing: 20 of 24 entries" in again.stderr) is planned
    assert (json.loads(Path("out/_plan/plan.json").read_bytes())["id"] == before) is planned
    assert (the_driver().attempt, the_driver().state) == (2, "finished")


def test_a_script_that_would_start_over_each_time_is_not_printed(data, here, spec):
    result = run("slurm-script", "--cluster", spec, "--", "scan", data, "out", "--fresh")
    assert "--fresh would wipe the run each time the script starts" in usage(result)
    assert result.stdout == ""


@pytest.mark.parametrize(("count", "goes_on"), [("0", False), ("1", True)])
def test_a_job_that_slurm_begins_again_does_not_start_over(count, goes_on, data, here, monkeypatch):
    arguments = ("scan", data, "out", "--shard-size", 4, "--workers", 0, "--no-picture")
    run(*arguments)
    before = json.loads(Path("out/_plan/plan.json").read_bytes())["id"]
    monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    again = run(*arguments, "--fresh")
    assert again.exit_code == 0, again.output
    assert ("--fresh is left out: SLURM has begun this job again" in again.stderr) is goes_on
    assert (json.loads(Path("out/_plan/plan.json").read_bytes())["id"] == before) is goes_on


@pytest.mark.parametrize(("command", "hidden"), [("export", "_export/_driver"), ("quantize", ".out.driver")])
def test_what_tools_read_holds_no_record(command, hidden, here):
    expected = here / "out" / hidden if command == "export" else here / hidden
    assert place_of(command, "out").driver.url == str(expected)


def test_the_script_is_printed_filled_in(data, here, spec):
    printed = run("slurm-script", "--cluster", spec, "--", "scan", data, "out").stdout
    assert "#SBATCH --job-name=ncdb-scan\n#SBATCH --partition=long\n" in printed
    assert f"#SBATCH --chdir={here}\n" in printed
    assert printed.endswith(f" -m ncdb_dask.cli scan --cluster slurm.toml {data} out\n")
    assert " scan --cluster slurm --workers 2 " in run("slurm-script", "--workers", 2, "scan", data, "out").stdout
    assert "local is no SLURM cluster" in failure(run("slurm-script", "--cluster", "local", "--", "scan", data, "out"))
    assert not (here / "out").exists()


def test_a_folder_that_holds_nothing_of_ours(here):
    (here / "photos" / "a").mkdir(parents=True)
    for place in ("photos", "nowhere"):
        for command in ("status", "stop"):
            assert f"{place}: nothing of ncdb-dask runs or ran there; expected the OUT of" in failure(
                run(command, place)
            )


def test_a_run_tells_of_itself_after_it(data, here):
    run("scan", data, "out", "--shard-size", 4, "--workers", 0, "--no-picture")
    told = json.loads(run("status", "out", "--json").stdout)
    assert (told["status"], told["damaged"], told["log"]) == ("finished", [], [])
    (scan,) = told["runs"]
    assert (scan["what"], scan["entries_done"], scan["shards_done"]) == ("scan", 24, 6)
    assert scan["counts"] == {"ok": 24}
    (driver,) = told["drivers"]
    assert driver["condition"] == "finished"
    assert driver["command"][:2] == ["scan", str(data)]
    assert driver["said"].startswith("scan: 24/24 (100 %)")
    text = run("status", "out").stdout
    for line in ("State         finished", "24 of 24 entries (100 %), 6 of 6 shards", "Entries       24 ok"):
        assert line in text


def test_a_run_without_any_record(data, here):
    from ncdb_dask import scan

    scan(data, "out")
    assert "State         finished" in run("status", "out").stdout
    Path("out/_manifest.json").unlink()
    assert "State         unfinished" in run("status", "out").stdout


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"state": FAILED, "error": "the disk is full"}, ["State         failed", "Why           the disk is full"]),
        ({"state": RUNNING, "begun": "1"}, ["State         died"]),
        ({"state": RUNNING, "machine": "other", "heartbeat": 0.0, "host": "node17"}, ["State         died", "node17"]),
        ({"state": FAILED, "error": "a\x1b[2Jb\u202ec"}, ["Why           a\\x1b[2Jb\\u202ec"]),
        ({"state": RUNNING, "said": "half of it"}, ["State         running", "Said          half of it", "0 s ago"]),
    ],
)
def test_how_a_driver_is(about, says, here):
    (here / "log").write_text("first\nlast words\n")
    driver = replace(begun(new_driver(["scan", "data", "out"])), log=str(here / "log"), **about)
    write_driver(place_of("scan", "out").driver, driver)
    text = run("status", "out").stdout
    assert all(line in text for line in (*says, f"Log           {here}/log", "scan data out"))
    assert ("last words" in text) == (driver.condition() in ("failed", "died"))
    if driver.condition() != "running":
        assert "no driver runs" in failure(run("stop", "out"))


def test_a_damaged_record_is_told_of(data, here):
    run("scan", data, "out", "--workers", 0, "--no-picture")
    Path("out/_driver/bad.json").write_text("{")
    assert "Damaged       bad.json is no record that can be read" in run("status", "out").stdout
    assert json.loads(run("status", "out", "--json").stdout)["damaged"] == ["bad.json"]


def test_stop_gives_up_in_the_end_and_says_what_is_left(here):
    driver = replace(begun(new_driver(["scan", "data", "out"])), machine="other", host="node17", pid=12)
    write_driver(place_of("scan", "out").driver, driver)
    says = failure(run("stop", "out", "--timeout", 1))
    assert "process 12 on node17 has not ended within 1 s (starting; last sign of life" in says
    assert says.endswith("or by force: kill 12 on node17")


def test_a_request_that_came_before_ends_the_command_before_its_cluster(data, here, monkeypatch):
    driver = new_driver(["scan"], state=SUBMITTED)
    place = place_of("scan", "out").driver
    write_driver(place, driver)
    ask_to_stop(place, driver, "me")
    monkeypatch.setattr("ncdb_dask.runtime.cluster.open_client", None)
    assert run("--driver", f"out/_driver/{driver.id}.json", "scan", data, "out").exit_code == 143


def test_a_table_behind_a_url(data):
    assert run("scan", data, "memory://submit/out", "--workers", 0, "--no-picture").exit_code == 0
    told = json.loads(run("status", "memory://submit/out", "--json").stdout)
    assert (told["status"], told["runs"][0]["entries_done"]) == ("finished", 24)
    assert told["drivers"][0]["condition"] == "finished"
