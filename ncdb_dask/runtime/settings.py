"""What is set in Dask, and why it is not left as it comes."""

from typing import Any

LOOPBACK = "127.0.0.1"
DASHBOARD_PORT = 8787  # where Dask's users look for it
PRELOAD = "ncdb_dask.runtime.worker"

WORKER_SETTINGS: dict[str, Any] = {
    # Tasks leave nothing behind in a worker, so there is nothing to spill; a worker whose memory runs away is paused,
    # then ended, and its shard goes to another.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.80,
    "distributed.worker.memory.terminate": 0.95,
}
# Dask has glibc hand freed memory back at once, so every frame's arrays are mapped and zeroed anew (840 page faults
# a frame of 640 x 384, a quarter of its time). A worker may keep what the next frame needs again.
WORKER_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(2**25),  # glibc's largest
    "MALLOC_TRIM_THRESHOLD_": str(2**26),
}
SETTINGS: dict[str, Any] = {
    **WORKER_SETTINGS,
    **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in WORKER_ENVIRONMENT.items()},
    # A worker holds no task but the one that it runs: those that wait on a worker that dies are blamed with it.
    "distributed.scheduler.worker-saturation": 1.0,
}
LOCAL_SETTINGS: dict[str, Any] = {
    **SETTINGS,
    # A task whose worker died four times is suspected of killing it.
    "distributed.scheduler.allowed-failures": 3,
    # A worker that died comes back by its nanny, and another one takes its place if it has not come back by then: a
    # nanny gives up for good where the new worker dies, too, before it is up.
    "distributed.deploy.lost-worker-timeout": "15 seconds",  # Dask's own
    # Dask waits for ever by default when every worker is gone.
    "distributed.scheduler.no-workers-timeout": "10 minutes",
}
SLURM_SETTINGS: dict[str, Any] = {
    **SETTINGS,
    # Jobs end by their wall time, by preemption or with their node, and none of that is the task's doing.
    "distributed.scheduler.allowed-failures": 10,
    # Whether a job is lost tells SLURM's queue (`slurm_jobs.py`), and no clock: its nanny may bring the worker back.
    "distributed.deploy.lost-worker-timeout": "10000 days",
}


def preloads() -> dict[str, Any]:
    """Return what has workers import our preload, after those that the user's configuration names."""
    import dask

    theirs = dask.config.get("distributed.worker.preload") or []
    modules = [theirs] if isinstance(theirs, str) else list(theirs)
    each = dask.config.get("distributed.worker.preload-argv") or []
    nested = bool(each) and not isinstance(each[0], str)  # one list for each module, else one for all
    if PRELOAD not in modules:
        modules, each = [*modules, PRELOAD], [*each, []]
    return {
        "distributed.worker.preload": modules,
        **({"distributed.worker.preload-argv": each} if nested else {}),
    }


def as_environment() -> dict[str, str]:
    """Return what a worker that is started by a job's script needs in its environment, as Dask reads it."""
    dask = {
        f"DASK_{name.upper().replace('.', '__').replace('-', '_')}": str(value)
        for name, value in {**WORKER_SETTINGS, **preloads()}.items()
    }
    return {**dask, **WORKER_ENVIRONMENT}
