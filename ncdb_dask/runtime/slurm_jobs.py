"""The jobs of one cluster while it is open: which wait, which were refused, which ended before their worker came up."""

import asyncio
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ncdb_dask.errors import RunError
from ncdb_dask.runtime.slurm_tools import Job, called, number_of, queued

if TYPE_CHECKING:
    from dask_jobqueue import SLURMCluster
    from dask_jobqueue.slurm import SLURMJob
    from distributed import Scheduler

LOOK_SECONDS = 5.0  # between looks at the queue, which every user of the site shares
# So many jobs that end without any worker having come up are no accident.
MAX_STILLBORN = 3
# What was refused is asked for again after so long: a limit of jobs a user is free again when one ends.
RETRY_SECONDS = 60.0
# The reasons for which jobs wait come and go with every look.
REPEAT_SECONDS = 60.0
LOG_LINES = 8


class Jobs:
    """Watches the jobs of one cluster, in a thread of its own.

    dask-jobqueue asks for lost jobs again by itself, but takes a job for alive once it was submitted: one that is
    refused, or that ends before its worker came up, would be waited for without end.

    Parameters
    ----------
    name : str
        Of all of its jobs, and of no other.
    logs : path
        Where their logs are.
    report : callable
        Gets sentences.
    """

    def __init__(self, name: str, logs: Path, report: Callable[[str], None]) -> None:
        self.name, self.logs, self._report = name, logs, report
        self._held: dict[str, tuple[str, float]] = {}  # places without a job: why, and since when
        self._arrived: set[str] = set()  # workers that have come up, were it for a second
        self._missing: set[str] = set()  # jobs that were not in the queue at the last look
        self._stillborn: list[str] = []  # the ends of their logs
        self._accepted = False  # there was a job, as far as sbatch said
        self._working = False  # there was a worker
        self._last: dict[str, Hashable] = {}  # what was told last of a topic
        self._told: dict[tuple[str, Hashable], float] = {}  # and when each was
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ncdb-slurm-jobs", daemon=True)
        self._cluster: SLURMCluster

    def job_class(self) -> "type[SLURMJob]":
        """Return the class of these jobs: one that is refused holds its place, until it is due again."""
        from dask_jobqueue.slurm import SLURMJob
        from distributed.core import Status

        jobs = self

        class WatchedJob(SLURMJob):  # type: ignore[misc]
            async def start(self) -> None:
                try:
                    with self.job_file() as script:
                        told = await asyncio.to_thread(called, self.submit_command, script, given_up=jobs._ended)
                    self.job_id, jobs._accepted = number_of(told), True
                except (RunError, OSError) as error:
                    jobs._held[self.name] = (str(error), time.monotonic())
                self.status = Status.running

            async def close(self) -> None:
                if self.job_id and not jobs._ended.is_set():  # at the end all are cancelled at once
                    with suppress(RunError):  # it is gone, or found by its name at the end
                        await asyncio.to_thread(called, self.cancel_command, self.job_id)
                self.status = Status.closed

        return WatchedJob

    def watch(self, cluster: "SLURMCluster") -> None:
        """Begin to look."""
        from distributed import SchedulerPlugin

        arrived = self._arrived

        class Arrivals(SchedulerPlugin):  # type: ignore[misc]
            def add_worker(self, scheduler: "Scheduler", worker: str) -> None:
                arrived.add(str(scheduler.workers[worker].name))

        async def listen() -> None:
            cluster.scheduler.add_plugin(Arrivals())

        self._cluster = cluster
        cluster.sync(listen)
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and submit no more."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def wait_for_worker(self, number: int) -> None:
        """Wait until the first worker of so many jobs is there.

        Raises
        ------
        RunError
            Where no job is accepted, or all have ended without their worker having come up.
        """
        while not self._connected():
            none_is_left = len(self._held) >= number
            if none_is_left and len(self._stillborn) >= MAX_STILLBORN:
                raise RunError(
                    f"{len(self._stillborn)} jobs ended before their worker came up; {self._stillborn[-1]}\ndoes every "
                    "node see this Python and the folder `shared`, is `interface` a network to this machine, and does "
                    "`prologue` say what the site wants?"
                )
            if none_is_left:
                raise RunError(f"SLURM accepts no job: {self._reasons()}")
            time.sleep(0.1)
        self._working = True

    def cancel(self) -> None:
        """Cancel all that are left, also those that SLURM accepted although sbatch seemed to fail."""
        try:
            called("scancel", f"--name={self.name}")
        except RunError as error:
            if self._accepted:
                self._say(f"{error}; look for jobs that are left: scancel --name={self.name}")

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._look(queued(self.name, self._ended))
            except RunError as error:
                if self._accepted:
                    self._tell("squeue", f"{error}; what became of the jobs is not known until it answers")
            except Exception as error:  # nothing else replaces jobs: whatever it is, look again
                self._tell("fault", f"looking after the jobs failed ({error!r}); trying again", type(error).__name__)
            self._ended.wait(LOOK_SECONDS)

    def _look(self, queue: list[Job]) -> None:
        """Take out what is gone, so that it is asked for again, and tell of what waits."""
        self._last.pop("squeue", None)
        planned, connected = dict(self._cluster.workers), self._connected()
        alive = {job.id for job in queue}
        missing = {name for name, job in planned.items() if job.job_id not in alive} - set(self._held)
        missing -= _jobs_of(connected, missing)
        gone, self._missing = missing & self._missing, missing - self._missing
        lost = _jobs_of(set(self._arrived), gone)
        for name in gone - lost:
            self._note_stillborn(name, planned[name].job_id)
        if lost:
            self._say(f"jobs that ended, asked for again: {len(lost)}")
        due = {name for name, (_, since) in list(self._held.items()) if time.monotonic() - since > RETRY_SECONDS}
        self._take_out((gone - set(self._held)) | due)
        if self._held and (queue or self._working):  # where none is accepted, `wait_for_worker` says so
            self._tell("held", f"jobs that are asked for again in a while: {self._reasons()}")
        # Counts change with every look, and are no news by themselves.
        reasons = frozenset(job.reason for job in queue if job.state == "PENDING")
        if queue and not connected:
            self._tell("queue", f"waiting for a worker; jobs: {_states(queue)}", ("waiting", reasons))
        elif reasons:
            self._tell("queue", f"jobs: {_states(queue)}", reasons)
        else:
            self._last.pop("queue", None)

    def _note_stillborn(self, name: str, number: str) -> None:
        said = self._log_of(number)
        self._stillborn.append(said)
        # Before the first worker is up, one message at the end says it once.
        self._say(f"a job ended before its worker came up{f'; {said}' if self._working else ''}")
        # The others go on, and this one may meet the same bad node again.
        if self._working or len(self._stillborn) >= MAX_STILLBORN:
            self._held[name] = ("a job ended before its worker came up", time.monotonic())

    def _take_out(self, names: set[str]) -> None:
        if names:
            self._cluster.sync(self._cluster.scale_down, list(names))
            for name in names:
                self._held.pop(name, None)
            self._arrived -= {worker for worker in set(self._arrived) if _jobs_of({worker}, names)}

    def _connected(self) -> set[str]:
        """Return the names of the workers that are there."""

        async def names() -> set[str]:  # in the thread that alone changes them
            return {str(worker.name) for worker in self._cluster.scheduler.workers.values()}

        found: set[str] = self._cluster.sync(names)
        return found

    def _reasons(self) -> str:
        return "; ".join(dict.fromkeys(reason for reason, _ in list(self._held.values())))

    def _log_of(self, number: str) -> str:
        """Return the end of what a job has said."""
        for path in self.logs.glob(f"*-{number}.err"):
            # Of a traceback the last line says what happened.
            lines: list[str] = []
            with suppress(OSError):  # it lies on a network's disk
                lines = [line for line in path.read_text(errors="replace").splitlines() if re.match(r"[^\s^]", line)]
            if lines:
                return "\n".join([f"{path} ends with:", *(f"    {line}" for line in lines[-LOG_LINES:])])
        return f"it left no log in {self.logs}"

    def _tell(self, topic: str, text: str, news: Hashable = None) -> None:
        """Report what is news of this topic (the text itself if left out), and none of it again within a minute."""
        news, now = news or text, time.monotonic()
        told = self._told.get((topic, news), -math.inf)
        if news != self._last.get(topic) and now - told >= REPEAT_SECONDS and not self._ended.is_set():
            self._last[topic], self._told[topic, news] = news, now
            self._say(text)

    def _say(self, text: str) -> None:
        with suppress(Exception):  # a reader that is gone must not keep jobs from being replaced
            self._report(text)


def _jobs_of(workers: set[str], jobs: set[str]) -> set[str]:
    """Return the jobs that these workers are of; several workers in one job are numbered."""
    return jobs & (workers | {worker.rpartition("-")[0] for worker in workers})


def _states(queue: Iterable[Job]) -> str:
    counts = Counter(
        f"{job.state} ({job.reason})" if job.state == "PENDING" and job.reason != "None" else job.state for job in queue
    )
    return ", ".join(f"{count} {state}" for state, count in counts.items())
