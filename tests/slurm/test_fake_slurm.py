"""The fake of SLURM's commands says what SLURM says."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from helpers.fake_slurm import ACCEPTED, REFUSALS, UNCLEAR, Answer, write_fake_slurm
from helpers.real_slurm import queue, told
from helpers.watching import until

JOB = "#!/bin/sh\n#SBATCH -J ncdb-test\n#SBATCH -o /dev/null\n{directive}\nsleep 1000\n"


def said(command: list[str], path: str | None = None) -> tuple[int, str, str]:
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    return done.returncode, re.sub(r"\d+", "N", done.stdout), done.stderr


@pytest.fixture
def submit(tmp_path):
    """Give the same job to SLURM and to a fake, and return what both say."""

    def submit(answer: Answer, directive: str = "") -> tuple[tuple[int, str, str], tuple[int, str, str]]:
        script = tmp_path / "job.sh"
        script.write_text(JOB.format(directive=directive))
        fake = write_fake_slurm(tmp_path / "bin", answer)
        return said(["sbatch", str(script)]), said(["sbatch", str(script)], fake.path)

    return submit


@pytest.mark.parametrize(
    ("refusal", "directive"),
    [
        ("partition", "#SBATCH -p nosuch"),
        ("time limit", "#SBATCH -p short -t 2"),
        ("memory", "#SBATCH --mem=1000G"),
    ],
)
def test_refusals(refusal, directive, submit):
    real, fake = submit(REFUSALS[refusal], directive)
    assert fake == real


def test_a_job_that_waits_and_is_cancelled(submit, tmp_path):
    real, fake = submit(Answer(ACCEPTED, state="PENDING", reason="JobHeldUser"), "#SBATCH --hold")
    assert fake == real
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    for command in (
        ["squeue", "--noheader", "--name=ncdb-test", "--format=%i|%T|%r|%j"],
        ["squeue", "--noheader", "--name=another", "--format=%i|%T|%r|%j"],
        ["scancel", "99999"],
        ["scancel", "--name=another"],
        ["squeue", "--noheader", "--format=%i"],
        ["scancel", "--name=ncdb-test"],
        ["squeue", "--noheader", "--format=%i"],
    ):
        assert said(command, path) == said(command)


def client_of(conf: Path, **settings: str) -> None:
    """Write a configuration for clients that differs."""
    text = Path(os.environ["SLURM_CONF"]).read_text()
    for name, value in settings.items():
        text = re.sub(rf"^{name}=.*\n", "", text, flags=re.MULTILINE) + f"{name}={value}\n"
    conf.write_text(text)


def test_no_controller(submit, tmp_path, monkeypatch):
    client_of(tmp_path / "slurm.conf", SlurmctldPort="1", MessageTimeout="2")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    real, fake = submit(REFUSALS["no controller"])
    assert fake == real


def test_a_busy_controller_does_it_later(slurm, submit, tmp_path, monkeypatch):
    client_of(tmp_path / "slurm.conf", MessageTimeout="2")
    controller = int((slurm / "slurmctld.pid").read_text())
    with monkeypatch.context() as patch:
        patch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
        os.kill(controller, signal.SIGSTOP)
        try:
            real, fake = submit(UNCLEAR["timed out, accepted"], "#SBATCH --hold")
        finally:
            os.kill(controller, signal.SIGCONT)
    assert fake == real
    assert [job.partition("|")[2] for job in until(queue)] == ["PENDING|ncdb-test"]
    told("scancel", "--name=ncdb-test")
