"""Workers in the jobs of a SLURM cluster, by dask-jobqueue: encrypted, replaced when they end, cancelled behind us."""

import logging
import math
import re
import shlex
import shutil
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ncdb_dask.errors import RunError
from ncdb_dask.runtime.interrupts import held_back, whole_end
from ncdb_dask.runtime.local import causes, free_or_any
from ncdb_dask.runtime.settings import LOOPBACK, SLURM_SETTINGS, as_environment, preloads
from ncdb_dask.runtime.slurm_jobs import Jobs
from ncdb_dask.runtime.slurm_tools import require_slurm, seconds_of
from ncdb_dask.runtime.specification import SlurmSpec
from ncdb_dask.runtime.tls import temporary_security
from ncdb_dask.runtime.versions import require_same

if TYPE_CHECKING:
    from dask_jobqueue import SLURMCluster
    from distributed import Client, Security

# SLURM's limit counts what Python, the libraries and the nanny take besides; at the same limit it would end the whole
# job when Dask is about to end one worker (dask-jobqueue issue 498).
MEMORY_MARGIN = 1.15
# Of a worker's life, so that not all of them end at once and wait in the queue together.
STAGGER = 0.05
# How often lost jobs are asked for again: each time is a call of sbatch.
ADAPT_INTERVAL = "5s"


@contextmanager
def slurm_cluster(spec: SlurmSpec, report: Callable[[str], None]) -> "Iterator[Client]":
    """Run workers in jobs until the end of the block; begin with the first one that comes up.

    Raises
    ------
    RunError
        Where this is no SLURM cluster, jobs are refused, or they end without their worker having come up.
    """
    import dask
    from distributed import Client

    require_slurm()
    name = f"ncdb-{uuid.uuid4().hex[:8]}"
    timeout = {"distributed.scheduler.no-workers-timeout": spec.no_workers_timeout}
    with dask.config.set({**SLURM_SETTINGS, **preloads(), **timeout}), whole_end() as stack:
        with held_back():
            shared = _shared(spec)
            security = stack.enter_context(temporary_security(shared))
            logs = _log_folder(shared / "logs" / name, stack)
            jobs = Jobs(name, logs, report)
            stack.callback(jobs.cancel)
            cluster = _started(spec, name, security, logs, jobs)
            stack.callback(cluster.close)
            client = Client(cluster)
            stack.callback(client.close)
            jobs.watch(cluster)
            stack.callback(jobs.stop)
            number = math.ceil(spec.workers / spec.workers_per_job)
            cluster.scale(jobs=number)  # at once, and not after the first interval; last, because all else waits for it
            cluster.adapt(minimum_jobs=number, maximum_jobs=number, interval=ADAPT_INTERVAL)
        jobs.wait_for_worker(number)
        require_same(client, report)  # `python`, a prologue or a node may bring another one
        yield client


def _shared(spec: SlurmSpec) -> Path:
    shared = Path(spec.shared).expanduser().absolute()
    if re.search(r"[^\w./+@=:,-]", str(shared)):
        raise RunError(
            f"found shared = {str(shared)!r}; expected a path of letters, digits and ./_-+ alone, because it stands in "
            "jobs' scripts, where sbatch reads spaces and % in its own way"
        )
    return shared


def _started(spec: SlurmSpec, name: str, security: "Security", logs: Path, jobs: Jobs) -> "SLURMCluster":
    SLURMCluster = _imported()  # noqa: N806 - a class
    import dask

    try:
        return SLURMCluster(
            job_cls=jobs.job_class(),
            scheduler_options={
                **(dask.config.get("jobqueue.slurm.scheduler-options") or {}),
                "protocol": "tls://",
                "security": security,
                "dashboard_address": f"{LOOPBACK}:{free_or_any(spec.dashboard_port)}",
            },
            silence_logs=logging.CRITICAL,  # what fails is told by `Jobs`
            security=security,
            name=name,
            **job_options(spec, name, min(spec.workers_per_job, spec.workers), logs),
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(f"the SLURM cluster did not start ({causes(error)})") from error


def job_options(spec: SlurmSpec, name: str, per_job: int, logs: Path) -> dict[str, Any]:
    """Return what dask-jobqueue makes a job's script of.

    What is None is taken from ``jobqueue.slurm`` in Dask's configuration; lists of ours come after those there.
    """
    import dask
    from dask.utils import parse_bytes

    theirs = dask.config.get("jobqueue.slurm")
    memory = parse_bytes(spec.memory) * per_job
    exports = [f"export {variable}={shlex.quote(value)}" for variable, value in as_environment().items()]
    # The worker's own HTTP server is not encrypted.
    extra = ["--dashboard-address", f"{LOOPBACK}:0", *_lifetime(spec)]
    return {
        "queue": spec.partition,
        "account": spec.account,
        "cores": per_job,
        "processes": per_job,
        "memory": f"{memory} B",
        "job_mem": f"{math.ceil(memory * MEMORY_MARGIN / 2**20)}M",
        "walltime": spec.walltime,
        "interface": spec.interface,
        "python": _python(spec.python, theirs["python"]),
        "job_name": name,
        "job_extra_directives": [*(theirs["job-extra-directives"] or ()), *spec.directives],
        "job_directives_skip": [*(theirs["job-directives-skip"] or ()), *spec.skip],
        "job_script_prologue": [*(theirs["job-script-prologue"] or ()), *exports, *spec.prologue],
        "worker_extra_args": [*(theirs["worker-extra-args"] or ()), *extra],
        "log_directory": str(logs),
    }


def _python(ours: str | None, theirs: str | None) -> str:
    """Return the interpreter; theirs may be several words, such as that of a container."""
    if theirs and not ours:
        return theirs
    return f"{shlex.quote(ours or sys.executable)} -P"  # as in `invocation.py`


def _lifetime(spec: SlurmSpec) -> list[str]:
    """Let workers end by themselves before SLURM ends them in mid-work."""
    from dask.utils import parse_timedelta

    margin, limit = parse_timedelta(spec.lifetime_margin), seconds_of(spec.walltime)
    if not margin:
        return []
    life = (limit - margin) / (1 + STAGGER)
    if life <= 0:
        raise RunError(
            f"walltime {spec.walltime} leaves nothing of lifetime_margin {spec.lifetime_margin}; expected a "
            "longer wall time, or a shorter margin (0 lets SLURM end the workers)"
        )
    return ["--lifetime", f"{life:.0f}s", "--lifetime-stagger", f"{life * STAGGER:.0f}s"]


def _imported() -> "type[SLURMCluster]":
    """Import dask-jobqueue, which takes SIGINT over when it is imported (0.9.0, its issue 667)."""
    if threading.current_thread() is not threading.main_thread() and "dask_jobqueue" not in sys.modules:
        raise RunError("a SLURM cluster must be opened by the main thread")
    import dask

    before = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue import SLURMCluster
        from dask_jobqueue.config import reconfigure
    except ImportError as error:
        raise RunError("--cluster slurm needs the package dask-jobqueue; pip install 'ncdb-dask[slurm]'") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
    # Its defaults are gone where it was imported inside of a `dask.config.set` that named a setting of it.
    if dask.config.get("jobqueue.slurm.name", None) is None:
        reconfigure()
    found: type[SLURMCluster] = SLURMCluster
    return found


def _log_folder(folder: Path, stack: ExitStack) -> Path:
    """Make a folder for the logs of jobs; they stay where the run fails, for whoever looks for the cause."""
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be made for the jobs' logs ({error.strerror})") from error

    def leave(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not isinstance(error, Exception) or not any(folder.glob("*")):  # Ctrl-C is no fault to look into
            shutil.rmtree(folder, ignore_errors=True)

    stack.push(leave)
    return folder
