"""SLURM's commands, played: ``sbatch`` answers as told, ``squeue`` and ``scancel`` go along, every call is recorded.

What they say is what SLURM 22.05 says; `tests/slurm/test_fake_slurm.py` compares where one node can be brought to it.
This file is run by the commands, too, so it needs nothing but Python.
"""

import argparse
import fcntl
import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

COMMANDS = ("sbatch", "squeue", "scancel")
FIRST_JOB = 4711


@dataclass(frozen=True)
class Answer:
    """What sbatch does, and where the job is after that."""

    out: str = ""
    err: str = ""
    code: int = 0
    hangs: bool = False
    state: str | None = None  # in the queue, until it is cancelled; None: it is not there
    reason: str = "None"
    program: Literal["there", "missing", "not executable"] = "there"


def _refused(*lines: str, state: str | None = None) -> Answer:
    return Answer(err="".join(f"sbatch: error: {line}\n" for line in lines), code=1, state=state)


def _violated(limit: str) -> Answer:
    policy = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    return _refused(limit, f"Batch job submission failed: {policy}")


ACCEPTED = "Submitted batch job {job}\n"

# sbatch says no.
REFUSALS = {
    "partition": _refused(
        "invalid partition specified: nosuch", "Batch job submission failed: Invalid partition name specified"
    ),
    "account": _refused(
        "Batch job submission failed: Invalid account or account/partition combination specified",
    ),
    "time limit": _refused(
        "Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)"
    ),
    "memory": _refused(
        "Memory specification can not be satisfied",
        "Batch job submission failed: Requested node configuration is not available",
    ),
    "user's limit": _violated("QOSMaxSubmitJobPerUserLimit"),
    "account's limit": _violated("AssocMaxSubmitJobLimit"),
    "no controller": _refused(
        "Batch job submission failed: Unable to contact slurm controller (connect failure)",
    ),
}

# It is unknown whether there is a job.
UNCLEAR = {
    "timed out": _refused("Batch job submission failed: Socket timed out on send/recv operation"),
    # A busy controller does what it was asked for after sbatch has given up.
    "timed out, accepted": _refused(
        "Batch job submission failed: Socket timed out on send/recv operation", state="PENDING"
    ),
    "no number": Answer("The job was queued.\n"),
    "hangs": Answer(hangs=True),
}

# It is no command.
UNUSABLE = {
    "missing": Answer(program="missing"),
    "not executable": Answer(program="not executable"),
}

# There is a job, and never a worker.
WORKERLESS = {
    "dies": Answer(ACCEPTED),
    "pends": Answer(ACCEPTED, state="PENDING", reason="Resources"),
    "another cluster": Answer(ACCEPTED.replace("\n", " on cluster foo\n"), state="PENDING", reason="Priority"),
}


@dataclass(frozen=True)
class FakeSlurm:
    """A folder of commands."""

    folder: Path
    answer: Answer

    @property
    def path(self) -> str:
        """Return what PATH has to be; where sbatch cannot be used, another one must not be found instead."""
        alone = self.answer.program != "there"
        return str(self.folder) if alone else f"{self.folder}{os.pathsep}{os.environ['PATH']}"

    def calls(self, command: str) -> list[list[str]]:
        """Return the arguments of every call of a command."""
        return [call["arguments"] for call in _calls(self.folder) if call["command"] == command]

    def scripts(self) -> list[str]:
        """Return the job scripts that sbatch was given."""
        return [call["script"] for call in _calls(self.folder) if call["command"] == "sbatch"]

    def left(self) -> list[int]:
        """Return the jobs that are still in the queue."""
        return list(_queue(self.folder))


def write_fake_slurm(folder: Path, answer: Answer) -> FakeSlurm:
    """Write the commands into a new folder."""
    folder.mkdir()
    (folder / "answer.json").write_text(json.dumps(asdict(answer)))
    (folder / "calls").touch()
    for command in COMMANDS:
        program = folder / command
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {__file__} {folder} {command} "$@"\n')
        program.chmod(0o755)
    if answer.program == "missing":
        (folder / "sbatch").unlink()
    if answer.program == "not executable":
        (folder / "sbatch").chmod(0o644)
    return FakeSlurm(folder, answer)


def sbatch(folder: Path, arguments: Sequence[str]) -> int:
    answer = _answer(folder)
    job = _record(folder, "sbatch", arguments, script=Path(arguments[-1]).read_text())
    while answer.hangs:
        signal.pause()
    sys.stdout.write(answer.out.format(job=job))
    sys.stderr.write(answer.err)
    return answer.code


def squeue(folder: Path, arguments: Sequence[str]) -> int:
    _record(folder, "squeue", arguments)
    parser = argparse.ArgumentParser("squeue")
    parser.add_argument("--noheader", action="store_true", required=True)
    parser.add_argument("--format", required=True)
    parser.add_argument("--name")
    options = parser.parse_args(arguments)
    answer = _answer(folder)
    for job, name in _queue(folder).items():
        if options.name in {None, name}:
            line = options.format
            for field, value in {"%i": str(job), "%j": name, "%T": str(answer.state), "%r": answer.reason}.items():
                line = line.replace(field, value)
            print(line)
    return 0


def scancel(folder: Path, arguments: Sequence[str]) -> int:
    """Cancel jobs; as SLURM's own, it is content with those that are not there."""
    _cancelled(arguments)
    _record(folder, "scancel", arguments)
    return 0


def _cancelled(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scancel")
    parser.add_argument("--name")
    parser.add_argument("jobs", nargs="*", type=int)
    return parser.parse_args(arguments)


def _queue(folder: Path) -> dict[int, str]:
    """Return the jobs in the queue with their names, of all that was called so far."""
    queue: dict[int, str] = {}
    jobs = FIRST_JOB
    for call in _calls(folder):
        if call["command"] == "sbatch":
            queue[jobs] = _name(call["script"])
            jobs += 1
        elif call["command"] == "scancel":
            gone = _cancelled(call["arguments"])
            queue = {job: name for job, name in queue.items() if job not in gone.jobs and name != gone.name}
    return queue if _answer(folder).state else {}


def _name(script: str) -> str:
    found = re.search(r"^#SBATCH (?:-J |--job-name[= ])(.+)$", script, re.MULTILINE)
    return found[1] if found else "sbatch"


def _answer(folder: Path) -> Answer:
    return Answer(**json.loads((folder / "answer.json").read_text()))


def _calls(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def _record(folder: Path, command: str, arguments: Sequence[str], script: str = "") -> int:
    """Write a call down and return the number of the last job."""
    with (folder / "calls").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # calls come at the same time
        file.write(json.dumps({"command": command, "arguments": list(arguments), "script": script}) + "\n")
        file.flush()
        return FIRST_JOB - 1 + sum(call["command"] == "sbatch" for call in _calls(folder))


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[2]](Path(sys.argv[1]), sys.argv[3:]))
