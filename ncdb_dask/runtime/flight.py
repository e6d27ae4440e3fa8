"""Tasks in flight: how many there are at once, how often each is tried, and what is said of one that fails."""

import errno
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ncdb_dask.errors import NcdbError

if TYPE_CHECKING:
    from distributed import Client

Item = TypeVar("Item")
Result = TypeVar("Result")

# Waits before the second, third and fourth try: a mount that fails over is back within seconds.
RETRY_DELAYS = (0.5, 2.0, 8.0)
# Faults that waiting does not cure; the run stops at the first.
HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# Tasks in flight per thread: enough that no worker waits for the driver, few enough to be forgotten cheaply. The next
# wave leaves when half are done; at three a thread it is large enough for Dask to queue it on the scheduler (it wants
# more than two), so that a worker that dies has no tasks waiting in it.
WINDOW = 6


def full_window(client: "Client") -> int:
    """Return how many tasks the cluster, as large as it is now, is given at once."""
    threads: int = sum(client.nthreads().values())
    return WINDOW * max(1, threads)


def attempt(task: Callable[[Item], Result], delays: Sequence[float], item: Item) -> Result | OSError | NcdbError:
    """Run a task with retries, on the worker; expected errors are values, which Dask does not log as crashes."""
    for delay in (*delays, None):
        try:
            return task(item)
        except NcdbError as error:
            return error
        except MemoryError:
            failure = OSError(errno.ENOMEM, "out of memory")
        except OSError as error:
            failure = error
        if failure.errno in HOPELESS or delay is None:
            return failure
        time.sleep(delay)
    raise AssertionError("the last try returns")


def reason_of(error: OSError) -> str:
    """Say in words what the environment did."""
    if error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) if error.errno is not None else f"{type(error).__name__}: {error}"
