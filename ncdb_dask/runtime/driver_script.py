"""The script of the SLURM job that runs a driver, which asks for the jobs of its workers itself."""

import math
import re
import shlex
from collections.abc import Sequence

from ncdb_dask.errors import RunError
from ncdb_dask.runtime.invocation import invoked
from ncdb_dask.runtime.slurm_tools import seconds_of
from ncdb_dask.runtime.specification import SlurmSpec

# To cancel the workers' jobs and close takes seconds; a controller that is busy answers within a minute.
SECONDS_TO_END = 120
_HEAD = f"""\
# The driver of a run as a job of its own; it asks for the jobs of its workers itself.
# {SECONDS_TO_END} s before the end of its wall time SLURM tells it to end: it cancels them, and what is complete stays.
# The same job submitted again goes on from there."""
_EXAMPLE = """\
#
#     sbatch cluster/driver.sbatch scan ROOT OUT --cluster cluster/slurm.toml
#
# The site's partition, account and limits go below, or before the file's name: sbatch --partition=long --time=2-0 ...
# `ncdb-dask slurm-script` prints this for one command, filled in from a TOML file; `ncdb-dask submit` submits it."""


def driver_script(
    spec: SlurmSpec,
    command: Sequence[str] = (),
    *,
    name: str = "ncdb-driver",
    log: str = "%x-%j.log",
    cwd: str | None = None,
) -> str:
    """Return a script for sbatch.

    Parameters
    ----------
    spec : SlurmSpec
        Its ``driver_`` values, and what it says of the site.
    command : sequence of str
        Arguments of ``ncdb-dask``; left out, those of the script.
    name : str
        Of the job.
    log : str
        Where it says what it does, as sbatch takes it.
    cwd : str, optional
        Where it runs; where it is submitted, if left out.

    Raises
    ------
    RunError
        A wall time that is none, or a path that sbatch cannot be given.
    """
    from dask.utils import parse_bytes

    seconds_of(spec.driver_walltime)
    directives = [
        f"--job-name={name}",
        f"--partition={spec.partition}" if spec.partition else "",
        f"--account={spec.account}" if spec.account else "",
        "--nodes=1",
        "--ntasks=1",
        "--cpus-per-task=1",
        f"--mem={math.ceil(parse_bytes(spec.driver_memory) / 2**20)}M",
        f"--time={spec.driver_walltime}",
        f"--signal=B:TERM@{SECONDS_TO_END}",
        f"--output={_quoted(log)}",
        "--open-mode=append",
        f"--chdir={_quoted(cwd)}" if cwd else "",
    ]
    # Jobs are found again, and cancelled, by their name.
    skipped = {_option(each) for each in spec.skip} - {"--job-name"}
    asked = [each for each in directives if each and _option(each) not in skipped]
    # By `exec` the driver is the process that SLURM signals.
    run = f"exec {_run(spec, command)}" if command else 'exec ncdb-dask "$@"'
    lines = [
        "#!/bin/bash",
        _HEAD if command else f"{_HEAD}\n{_EXAMPLE}",
        *(f"#SBATCH {each}" for each in (*asked, *spec.driver_directives)),
        *spec.prologue,
        run,
    ]
    return "\n".join(lines) + "\n"


def escaped(path: str) -> str:
    """Return a path as sbatch takes it for a log, where ``%j`` would be the job's number."""
    return path.replace("%", "%%")


def _run(spec: SlurmSpec, command: Sequence[str]) -> str:
    return shlex.join([*invoked(spec.python or ""), *command])


def _option(directive: str) -> str:
    return directive.partition("=")[0].strip()


def _quoted(path: str) -> str:
    """Quote as sbatch reads: between double quotes, a backslash takes the next sign as it is."""
    if "\\" in path or not path.isprintable():  # in the name of a log, a backslash ends the meaning of all %
        raise RunError(
            f"found {path!r}; sbatch takes no path with a backslash, a line break or another control character: run "
            "elsewhere, or write elsewhere"
        )
    if re.fullmatch(r"[\w./+@=:,%-]+", path):
        return path
    return '"' + path.replace('"', '\\"') + '"'
