"""SLURM's commands, played by this machine: a job is a process of its own, and its number that of its process.

Files beside the commands change what they do: ``limit`` holds how many jobs may be there at a time, ``prologue`` shell
lines that every job begins with, and ``down`` makes squeue fail.
This file is run by the commands, too, so it needs nothing but Python.
"""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path


def write_slurm_here(folder: Path) -> str:
    """Write the commands into a new folder and return what PATH has to be."""
    folder.mkdir()
    for command in ("sbatch", "squeue", "scancel"):
        program = folder / command
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {__file__} {folder} {command} "$@"\n')
        program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def jobs(folder: Path) -> dict[int, str]:
    """Return the jobs that run, with their names."""
    return {int(path.stem): path.read_text().strip() for path in folder.glob("*.job") if _alive(int(path.stem))}


def _alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def cancel(number: int) -> None:
    """End a job with all of its processes."""
    try:
        os.killpg(number, signal.SIGKILL)
    except ProcessLookupError:
        return


def _read(path: Path, otherwise: str) -> str:
    return path.read_text() if path.exists() else otherwise


LIMIT = (
    "sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy "
    "(job submit limit, user's size and/or time limits)"
)


def sbatch(folder: Path, script: str) -> str:
    text = Path(script).read_text()
    options = dict(re.findall(r"^#SBATCH (-[Jeo]) (.+)$", text, re.MULTILINE))
    # Written by the job itself, so that there is none without, whenever sbatch is killed.
    begins = [
        f"echo {options['-J']} >{folder}/$$.job",
        f'exec >"{options["-o"]}" 2>"{options["-e"]}"'.replace("%J", "$$"),
        _read(folder / "prologue", ""),
    ]
    command = ["bash", "-c", "\n".join([*begins, text])]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # or two that submit at once would both be within the limit
        if len(jobs(folder)) >= int(_read(folder / "limit", "1000")):
            sys.exit(LIMIT)
        job = subprocess.Popen(command, process_group=0, stdin=-3, stdout=-3, stderr=-3)
        while not (folder / f"{job.pid}.job").exists() and job.poll() is None:
            time.sleep(0.005)
    return f"Submitted batch job {job.pid}\n"


def squeue(folder: Path, *arguments: str) -> str:
    if (folder / "down").exists():
        sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    name = next(each.partition("=")[2] for each in arguments if each.startswith("--name="))
    return "".join(f"{number}|RUNNING|None\n" for number, job in jobs(folder).items() if job == name)


def scancel(folder: Path, argument: str) -> str:
    name = argument.removeprefix("--name=")
    for number, job in jobs(folder).items():
        if name in {job, str(number)}:
            cancel(number)
    return ""


if __name__ == "__main__":
    sys.stdout.write(globals()[sys.argv[2]](Path(sys.argv[1]), *sys.argv[3:]))
