"""Options that several commands share."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ncdb_dask.errors import RunError

if TYPE_CHECKING:
    from distributed import Client

    from ncdb_dask.runtime.specification import Spec

# In click's `meta`: whether this driver has begun its run before.
STARTED_OVER = "ncdb_dask.started_over"

COMPLETE = "{} is complete already; nothing is left to do"

F = TypeVar("F", bound=Callable[..., Any])


def say(text: str) -> None:
    """Print a sentence on standard error."""
    click.echo(text, err=True)


@dataclass(frozen=True)
class RunsOn:
    """Where a command runs, as its options say.

    Attributes
    ----------
    cluster, workers, scheduler_file, insecure
        As `open_client` takes them; no workers are this process.
    """

    cluster: str | None = None
    workers: int | None = None
    scheduler_file: str | None = None
    insecure: bool = False

    def as_options(self) -> tuple[str, ...]:
        """Return the options again, as they were given."""
        given = {"--cluster": self.cluster, "--workers": self.workers, "--scheduler-file": self.scheduler_file}
        named = [each for name, value in given.items() if value is not None for each in (name, str(value))]
        return (*named, *(["--insecure"] if self.insecure else []))

    def of_driver(self, spec: "Spec") -> tuple[str, ...]:
        """Return the options of a driver that is started there.

        Raises
        ------
        RunError
            Where it would have to do the work itself beside workers that wait for work.
        """
        if self.workers != 0:
            return self.as_options()
        from ncdb_dask.runtime.specification import AddressSpec

        if isinstance(spec, AddressSpec):
            raise RunError("--workers 0 has the driver do the work itself; leave it out: the scheduler has workers")
        return ("--workers", "0")

    def spec(self) -> "Spec | None":
        """Return the cluster, or None where the command's own process does the work.

        Raises
        ------
        RunError
            Where the options, a file or the configuration do not say what a cluster is.
        """
        if self.workers == 0:
            if named := [word for word in self.as_options() if word.startswith("--") and word != "--workers"]:
                raise RunError(f"--workers 0 runs in this process; leave it out, or {' and '.join(named)}")
            return None
        from ncdb_dask.runtime.specification import read_spec

        return read_spec(self.cluster, self.workers, self.scheduler_file, self.insecure)

    @contextmanager
    def client(self, tasks: int | None = None, report: Callable[[str], None] = say) -> "Iterator[Client | None]":
        """Open the cluster, a local one with no more workers than tasks, and say where to watch it."""
        spec = self.spec()
        if spec is None:
            yield None
            return
        from ncdb_dask.runtime.cluster import open_client
        from ncdb_dask.runtime.specification import fitted

        with open_client(spec if tasks is None else fitted(spec, tasks), report=report) as client:
            yield client


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where a command runs; it gets them as one argument, ``runs_on``."""

    @wraps(command)
    def wrapped(
        cluster: str | None, workers: int | None, scheduler_file: str | None, insecure: bool, **rest: Any
    ) -> Any:
        return command(runs_on=RunsOn(cluster, workers, scheduler_file, insecure), **rest)

    options = (
        click.option(
            "--cluster",
            metavar="local|slurm|ADDRESS|SPEC.toml",
            help="Where to run: on this machine, in SLURM jobs, on a scheduler that runs already (tls://host:8786), or "
            "as a file such as cluster/slurm.toml says.  [default: ncdb.cluster in Dask's configuration, else local]",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=0),
            help="Worker processes; 0 runs in this process.  [default: as the file or the configuration says, else "
            "one a core]",
        ),
        click.option("--scheduler-file", help="What `dask scheduler --scheduler-file` wrote, instead of an address."),
        click.option("--insecure", is_flag=True, help="Connect to a tcp:// address beyond this machine."),
    )
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def fresh_option(stage: str) -> Callable[[F], F]:
    """Add ``--fresh``.

    A driver that is begun again, because its job or its worker was lost, goes on with the run that it has started.
    """
    text = f"Remove what an earlier {stage} left in OUT and start over."

    def unless_done(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
        # A driver without a record from `submit` has only SLURM's word for it.
        again = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
        if value and again and STARTED_OVER not in context.meta:
            say("--fresh is left out: SLURM has begun this job again, and the run goes on")
        return value and not context.meta.get(STARTED_OVER, again)

    return click.option("--fresh", is_flag=True, callback=unless_done, help=text)


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")(command)
