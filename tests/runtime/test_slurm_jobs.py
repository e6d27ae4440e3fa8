"""Jobs that are refused, that wait, that die and that are lost, and what is told of them."""

import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import dask
import pytest
from helpers.clusters import distribution
from helpers.fake_slurm import REFUSALS, UNCLEAR, WORKERLESS, Answer, write_fake_slurm
from helpers.slurm_here import cancel, jobs, write_slurm_here
from helpers.watching import until

import ncdb_dask
from ncdb_dask.errors import RunError
from ncdb_dask.runtime import slurm, slurm_jobs, slurm_tools
from ncdb_dask.runtime.slurm_jobs import Jobs
from ncdb_dask.runtime.slurm_tools import Job
from ncdb_dask.runtime.specification import SlurmSpec
from ncdb_dask.runtime.tls import temporary_security

MEMORY = "500 MiB"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(slurm_jobs, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(slurm, "ADAPT_INTERVAL", "100ms")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put commands on the path that answer as told and start nothing."""

    def write(answer: Answer):
        written = write_fake_slurm(tmp_path / "bin", answer)
        monkeypatch.setenv("PATH", written.path)
        return written

    return write


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Put commands on the path that run jobs on this machine; yield their folder."""
    folder = tmp_path / "bin"
    monkeypatch.setenv("PATH", write_slurm_here(folder))
    yield folder
    for number in jobs(folder):
        cancel(number)


@pytest.fixture
def spec(tmp_path):
    def make(workers: int = 2, **options: object) -> SlurmSpec:
        return SlurmSpec(workers=workers, memory=MEMORY, shared=str(tmp_path / "shared"), dashboard_port=0, **options)

    return make


def refused(spec: SlurmSpec, report: Callable[[str], None] = print) -> str:
    opening = ncdb_dask.open_client(spec, report=report)
    with pytest.raises(RunError) as error, opening:
        pass
    return str(error.value)


def printed(code: str) -> str:
    """Run a program that says nothing else, and return what it prints."""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    return ran.stdout


def assert_nothing_left(shared: Path, fake=None) -> None:
    assert not list(shared.glob("tls-*"))
    if fake is not None:
        assert fake.left() == []
        assert any(words[0].startswith("--name=ncdb-") for words in fake.calls("scancel"))


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_what_sbatch_says(name, fake, spec, tmp_path, capfd):
    commands = fake(REFUSALS[name])
    told = refused(spec())
    said = REFUSALS[name].err.replace("sbatch: error: ", "").strip().replace("\n", "; ")
    assert told == f"SLURM accepts no job: sbatch failed ({said})"
    assert_nothing_left(tmp_path / "shared", commands)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("timed out", "sbatch failed (Batch job submission failed: Socket timed out on send/recv operation)"),
        ("timed out, accepted", "sbatch failed (Batch job submission failed: Socket timed out on send/recv operation)"),
        ("no number", "sbatch told no job number; expected 'Submitted batch job 123', found 'The job was queued.'"),
        ("hangs", "sbatch did not answer within 1 s; is SLURM's controller up?"),
    ],
)
def test_whatever_became_of_the_job_it_is_cancelled(name, says, fake, spec, tmp_path, capfd, monkeypatch):
    commands = fake(UNCLEAR[name])
    if name == "hangs":
        monkeypatch.setattr(slurm_tools, "COMMAND_SECONDS", 0.9)
    assert refused(spec()) == f"SLURM accepts no job: {says}"
    assert_nothing_left(tmp_path / "shared", commands)
    assert capfd.readouterr().err == ""


def test_scancel_that_fails_says_what_may_be_left(fake, spec):
    commands = fake(WORKERLESS["pends"])
    (commands.folder / "scancel").write_text("#!/bin/sh\necho 'scancel: error: no controller' >&2; exit 1\n")
    told: list[str] = []
    interrupted(spec(1), lambda: bool(told), told.append)
    assert told[-1].startswith("scancel failed (no controller); look for jobs that are left: scancel --name=ncdb-")


def test_a_controller_that_nobody_reaches_is_told_once(fake, spec):
    commands = fake(REFUSALS["no controller"])
    for command in ("scancel", "squeue"):
        (commands.folder / command).write_text(f"#!/bin/sh\necho '{command}: error: no controller' >&2; exit 1\n")
    told: list[str] = []
    assert refused(spec(), told.append).startswith("SLURM accepts no job: sbatch failed (")
    assert told == []


def test_jobs_that_die_at_once_are_no_accident_the_third_time(here, spec, tmp_path, capfd):
    (here / "prologue").write_text("echo 'Traceback:\n  File x\nModuleNotFoundError: No module named dask' >&2; exit 1")
    told: list[str] = []
    message = refused(spec(1), told.append)
    assert message.startswith("3 jobs ended before their worker came up; ")
    first, *rest = message.splitlines()
    assert first.endswith(".err ends with:")
    assert rest[:2] == ["    Traceback:", "    ModuleNotFoundError: No module named dask"]
    assert rest[2].startswith("does every node see this Python")
    assert len([text for text in told if text == "a job ended before its worker came up"]) >= 3
    # Who looks for the cause finds the logs.
    assert len(list(tmp_path.glob("shared/logs/*/*.err"))) >= 3
    assert_nothing_left(tmp_path / "shared")
    assert capfd.readouterr().err == ""


def test_a_node_that_kills_jobs_does_not_end_a_run_whose_other_jobs_wait(here, spec, tmp_path, capfd):
    # All but one die until three have, and that one then comes up.
    go = tmp_path / "go"
    lines = (
        f"mkdir {tmp_path}/first 2>&- || {{ echo 'bad node' >&2; exit 1; }}\nwhile [ ! -e {go} ]; do sleep 0.1; done"
    )
    (here / "prologue").write_text(lines)
    told: list[str] = []

    def release() -> None:
        until(lambda: "jobs that are asked for again in a while: a job ended before its worker came up" in told)
        go.touch()

    thread = threading.Thread(target=release)
    thread.start()
    with ncdb_dask.open_client(spec(4), report=told.append) as client:
        assert len(client.nthreads()) == 1
    thread.join()
    assert len([text for text in told if text.startswith("a job ended before its worker came up")]) >= 3
    assert capfd.readouterr().err == ""


def test_other_versions_in_the_jobs_are_refused_and_the_jobs_cancelled(here, spec, tmp_path, capfd):
    other = f"export PYTHONPATH={distribution(tmp_path, 'ncdb-dask', '9.9')}"
    assert refused(spec(1, prologue=(other,))).startswith("not the same on both sides: ncdb-dask 9.9 on worker tls://")
    until(lambda: not jobs(here))
    assert_nothing_left(tmp_path / "shared")
    assert "Traceback" not in capfd.readouterr().err


def failing_once(real: Callable[..., object]) -> Callable[..., object]:
    faults = iter([OSError(116, "Stale file handle")])

    def call(*arguments: object) -> object:
        for fault in faults:
            raise fault
        return real(*arguments)

    return call


@pytest.mark.parametrize("broken", ["report", "queue", "cluster"])
def test_whatever_fails_jobs_that_are_lost_are_replaced(broken, here, spec, monkeypatch, capfd):
    told: list[str] = []

    def report(text: str) -> None:
        told.append(text)
        if broken == "report" and not text.startswith("dashboard: "):
            raise BrokenPipeError

    with ncdb_dask.open_client(spec(1), report=report) as client:
        (first,) = jobs(here)
        if broken != "report":
            place, name = {"queue": (slurm_jobs, "queued"), "cluster": (client.cluster, "scale_down")}[broken]
            monkeypatch.setattr(place, name, failing_once(getattr(place, name)))
        cancel(first)
        until(lambda: jobs(here).keys() - {first})
        client.wait_for_workers(1, timeout=60)
    assert len([text for text in told if text.startswith("looking after the jobs failed (")]) == (broken != "report")
    assert capfd.readouterr().err == ""


def test_a_log_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "ncdb-1-7.err").mkdir()
    assert Jobs("ncdb-1", tmp_path, print)._log_of("7") == f"it left no log in {tmp_path}"


def test_of_jobs_that_wait_only_new_reasons_are_told():
    told: list[str] = []
    watched = Jobs("ncdb-1", Path(), told.append)
    watched._cluster = SimpleNamespace(workers={}, sync=lambda function, *arguments: {"ncdb-1-0"})

    def look(*reasons: str) -> None:
        watched._look([Job("1", "RUNNING", "None"), *(Job("2", "PENDING", reason) for reason in reasons)])

    for count in range(20, 0, -1):
        look(*["Priority"] * count)
    assert told == ["jobs: 1 RUNNING, 20 PENDING (Priority)"]
    # Reasons that come and go with every look are told once each.
    for _ in range(5):
        look("Priority", "Resources")
        look("Priority")
        look()
    assert told[1:] == ["jobs: 1 RUNNING, 1 PENDING (Priority), 1 PENDING (Resources)"]


def test_jobs_that_leave_no_log(fake, spec, tmp_path):
    commands = fake(WORKERLESS["dies"])
    assert f"it left no log in {tmp_path}/shared/logs/ncdb-" in refused(spec())
    assert_nothing_left(tmp_path / "shared", commands)


def interrupted(spec: SlurmSpec, when: Callable[[], object], report: Callable[[str], None]) -> None:
    """Open a cluster and press Ctrl-C when it is time."""

    def press() -> None:
        until(when)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt), ncdb_dask.open_client(spec, report=report):
        pass
    thread.join()


@pytest.mark.parametrize("name", ["pends", "another cluster"])
def test_jobs_that_wait_are_told_once_and_cancelled_by_ctrl_c(name, fake, spec, tmp_path, capfd):
    commands = fake(WORKERLESS[name])
    told: list[str] = []
    interrupted(spec(1), lambda: told and len(commands.calls("squeue")) > 5, told.append)
    assert told == [f"waiting for a worker; jobs: 1 PENDING ({WORKERLESS[name].reason})"]
    assert_nothing_left(tmp_path / "shared", commands)
    assert not list(tmp_path.glob("shared/logs/*"))
    assert capfd.readouterr().err == ""


def test_ctrl_c_ends_an_sbatch_that_hangs(fake, spec, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(slurm_tools, "COMMAND_SECONDS", math.inf)
    commands = fake(UNCLEAR["hangs"])
    interrupted(spec(1), lambda: commands.calls("sbatch"), print)
    assert_nothing_left(tmp_path / "shared", commands)
    assert capfd.readouterr().err == ""


def test_what_is_refused_is_asked_for_again(here, spec, monkeypatch, capfd):
    monkeypatch.setattr(slurm_jobs, "RETRY_SECONDS", 0.5)
    (here / "limit").write_text("1")
    told: list[str] = []
    with ncdb_dask.open_client(spec(), report=told.append) as client:
        until(lambda: any("QOSMaxSubmitJobPerUserLimit" in text for text in told))
        assert len(client.nthreads()) == 1
        (here / "limit").write_text("9")
        client.wait_for_workers(2, timeout=60)
    # Told once, however often it was asked for.
    assert len([text for text in told if "QOSMaxSubmitJobPerUserLimit" in text]) == 1
    until(lambda: not jobs(here))
    assert capfd.readouterr().err == ""


def test_jobs_that_are_lost_are_replaced(here, spec, capfd, monkeypatch):
    monkeypatch.setattr(slurm_jobs, "RETRY_SECONDS", 0.5)
    told: list[str] = []
    with ncdb_dask.open_client(spec(4, workers_per_job=2), report=told.append) as client:
        client.wait_for_workers(4, timeout=60)
        first, second = jobs(here)
        assert set(jobs(here).values()) == {client.cluster.name}  # by which whoever looks for them finds them
        # The one that takes its place dies before its worker comes up, and is asked for again in its turn.
        (here / "prologue").write_text("echo 'bad node' >&2; exit 1")
        cancel(first)
        until(lambda: any("bad node" in text for text in told))
        (here / "prologue").unlink()
        until(lambda: len(client.nthreads()) == 2)
        client.wait_for_workers(4, timeout=60)
        assert second in jobs(here)
    assert told.count("jobs that ended, asked for again: 1") == 1
    until(lambda: not jobs(here))
    assert capfd.readouterr().err == ""


def test_a_queue_that_cannot_be_asked_means_nothing(here, spec, monkeypatch):
    looks: list[str] = []
    real = slurm_jobs.queued

    def queued(*arguments):
        looks.append("")
        return real(*arguments)

    monkeypatch.setattr(slurm_jobs, "queued", queued)
    told: list[str] = []
    with ncdb_dask.open_client(spec(1), report=told.append) as client:
        before = jobs(here)
        (here / "down").touch()
        until(lambda: any(text.startswith("squeue failed (") for text in told))
        seen = len(looks)
        until(lambda: len(looks) > seen + 4)
        assert jobs(here) == before
        assert len(client.nthreads()) == 1
    assert len([text for text in told if text.startswith("squeue failed (")]) == 1


def test_an_error_in_the_block_cancels_the_jobs(here, spec, tmp_path):
    def use():
        with ncdb_dask.open_client(spec(1)):
            assert len(jobs(here)) == 1
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        use()
    until(lambda: not jobs(here))
    assert_nothing_left(tmp_path / "shared")
    assert list(tmp_path.glob("shared/logs/*"))


SCRIPT = """#!/usr/bin/env bash

#SBATCH -J ncdb-1
#SBATCH -e LOGS/ncdb-1-%J.err
#SBATCH -o LOGS/ncdb-1-%J.out
#SBATCH -p cpu
#SBATCH -A depth
#SBATCH -n 1
#SBATCH --cpus-per-task=2
#SBATCH -t 02:00:00
#SBATCH --constraint=avx2
export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False
export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False
export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=0.8
export DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE=0.95
export DASK_DISTRIBUTED__WORKER__PRELOAD='['"'"'ncdb_dask.runtime.worker'"'"']'
export MALLOC_MMAP_THRESHOLD_=33554432
export MALLOC_TRIM_THRESHOLD_=67108864
module load python
'/opt/my python' -P -m distributed.cli.dask_worker tls://192.0.2.1:8786 --name ncdb-1-0 --nthreads 1 \
--memory-limit 3.00GiB --nworkers 2 --nanny --death-timeout 60 --dashboard-address 127.0.0.1:0 --lifetime 6800s \
--lifetime-stagger 340s --interface ib0 --protocol tls:// --tls-ca-file TLS/certificate.pem \
--tls-cert TLS/certificate.pem --tls-key TLS/key.pem
"""
FULL = SlurmSpec(
    workers=4,
    workers_per_job=2,
    memory="3 GiB",
    walltime="02:00:00",
    partition="cpu",
    account="depth",
    interface="ib0",
    directives=("--constraint=avx2",),
    skip=("--mem",),
    prologue=("module load python",),
    python="/opt/my python",
)


def script(spec: SlurmSpec, folder: Path) -> str:
    slurm._imported()
    made = Jobs("ncdb-1", folder, print).job_class()
    with temporary_security(folder) as security:
        options = slurm.job_options(spec, "ncdb-1", spec.workers_per_job, folder / "logs")
        job = made("tls://192.0.2.1:8786", "ncdb-1-0", protocol="tls://", security=security, **options)
        text = job.job_script()
        key = Path(security.tls_worker_key)
        assert not {line for line in key.read_text().splitlines() if line in text}
    return text.replace(str(key.parent), "TLS").replace(str(folder / "logs"), "LOGS")


def test_the_script_of_a_job(tmp_path):
    assert script(FULL, tmp_path).split() == SCRIPT.split()
    assert script(FULL, tmp_path).splitlines()[:20] == SCRIPT.splitlines()[:20]


def test_a_job_asks_for_more_memory_than_its_workers_may_use(tmp_path):
    made = script(SlurmSpec(workers_per_job=2, memory="2 GiB"), tmp_path)
    assert "#SBATCH --mem=4711M\n" in made  # 2 * 2048 * 1.15
    assert "--memory-limit 2.00GiB " in made
    assert f"\n{sys.executable} -P -m distributed.cli.dask_worker" in made


def test_no_margin_lets_slurm_end_the_workers(tmp_path):
    assert "--lifetime" not in script(SlurmSpec(lifetime_margin="0"), tmp_path)


def test_dasks_configuration_of_jobs_holds_where_nothing_is_said(tmp_path):
    theirs = {
        "jobqueue.slurm.queue": "theirs",
        "jobqueue.slurm.local-directory": "/scratch",
        "jobqueue.slurm.job-extra-directives": ["--theirs"],
        "jobqueue.slurm.job-script-prologue": ["source theirs"],
        "jobqueue.slurm.worker-extra-args": ["--resources", "theirs=1", "--dashboard-address", ":8787"],
        "jobqueue.slurm.job-directives-skip": None,
        "jobqueue.slurm.python": "apptainer exec image.sif python",
    }
    with dask.config.set(theirs):
        made = script(SlurmSpec(directives=("--ours",)), tmp_path)
        ours = script(SlurmSpec(partition="ours", python="/ours/python"), tmp_path)
    assert "#SBATCH -p theirs\n" in made
    assert "--local-directory /scratch" in made
    assert made.index("#SBATCH --theirs\n") < made.index("#SBATCH --ours\n")
    assert "\nsource theirs\n" in made
    assert "--resources theirs=1" in made
    assert made.rindex("--dashboard-address 127.0.0.1:0") > made.rindex("--dashboard-address :8787")  # the last counts
    assert "\napptainer exec image.sif python -m" in made
    assert "#SBATCH -p ours\n" in ours
    assert "\n/ours/python -P -m" in ours


def test_a_wall_time_within_the_margin(fake, spec):
    fake(WORKERLESS["pends"])
    told = refused(spec(walltime="00:01:00"))
    assert told.startswith("walltime 00:01:00 leaves nothing of lifetime_margin 1 minute; expected a longer wall time")


def test_a_folder_that_sbatch_would_not_read_as_it_is(fake, tmp_path):
    fake(WORKERLESS["pends"])
    told = refused(SlurmSpec(shared=str(tmp_path / "my %x folder")))
    assert "my %x folder'; expected a path of letters, digits" in told


def test_a_missing_package_says_what_to_install(fake, spec, monkeypatch):
    fake(WORKERLESS["pends"])
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    assert refused(spec()) == "--cluster slurm needs the package dask-jobqueue; pip install 'ncdb-dask[slurm]'"


def test_no_slurm_at_all(spec, monkeypatch, tmp_path):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert refused(spec()).startswith("sbatch was not found: this is no machine that submits SLURM jobs")
    assert not (tmp_path / "shared").exists()


def test_dask_jobqueue_does_not_keep_ctrl_c():
    code = (
        "import signal\n"
        "from ncdb_dask.runtime.slurm import _imported\n"
        "before = signal.getsignal(signal.SIGINT)\n"
        "_imported()\n"
        "assert signal.getsignal(signal.SIGINT) is before\n"
    )
    assert printed(code) == ""


def test_another_thread_is_told_that_it_cannot():
    code = (
        "import threading\n"
        "from ncdb_dask.errors import RunError\n"
        "from ncdb_dask.runtime.slurm import _imported\n"
        "def attempt():\n"
        "    try: _imported()\n"
        "    except RunError as error: print(error)\n"
        "thread = threading.Thread(target=attempt); thread.start(); thread.join()\n"
    )
    assert printed(code) == "a SLURM cluster must be opened by the main thread\n"


def test_settings_that_were_there_for_a_while_take_no_defaults_with_them():
    code = (
        "from dask import config\n"
        "from ncdb_dask.runtime.slurm import _imported\n"
        "with config.set({'jobqueue.slurm.queue': 'theirs'}): _imported(); print(config.get('jobqueue.slurm.queue'))\n"
        "_imported(); print(config.get('jobqueue.slurm.queue'), config.get('jobqueue.slurm.name'))\n"
    )
    assert printed(code) == "theirs\nNone dask-worker\n"


@pytest.mark.parametrize(
    ("configured", "seen"),
    [
        ({}, "['ncdb_dask.runtime.worker'] []"),
        ({"preload": "theirs.py"}, "['theirs.py', 'ncdb_dask.runtime.worker'] []"),
        (
            {"preload": ["theirs.py"], "preload-argv": [["--more"]]},
            "['theirs.py', 'ncdb_dask.runtime.worker'] [['--more'], []]",
        ),
    ],
)
def test_the_shell_reads_the_settings_as_dask_does(configured, seen, tmp_path):
    with dask.config.set({f"distributed.worker.{name}": value for name, value in configured.items()}):
        made = script(FULL, tmp_path)
    exports = [line for line in made.splitlines() if line.startswith("export ")]
    code = (
        "import distributed, dask\n"
        "print(*map(dask.config.get, ('distributed.worker.preload', 'distributed.worker.preload-argv')))"
    )
    lines = "\n".join([*exports, f'{sys.executable} -c "{code}"'])
    ran = subprocess.run(["bash", "-c", lines], stdout=subprocess.PIPE, text=True, check=True)
    assert ran.stdout.strip() == seen
