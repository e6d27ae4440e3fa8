"""The script of a driver's job: one source with the shipped example, and whatever a user writes arrives as written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncdb_dask.errors import RunError
from ncdb_dask.runtime.driver_script import driver_script, escaped
from ncdb_dask.runtime.invocation import invoked
from ncdb_dask.runtime.specification import SlurmSpec

EXAMPLE = Path(__file__).parents[2] / "cluster" / "driver.sbatch"
ECHO = "#!{python}\nimport json, os, sys\nprint(json.dumps([os.getpid(), sys.argv[1:]]))\n"


def directives(script: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


def test_the_shipped_example_is_the_same_script():
    assert EXAMPLE.read_text() == driver_script(SlurmSpec())


def test_the_values_of_a_site():
    spec = SlurmSpec(
        partition="long",
        account="depth",
        driver_walltime="2-00:00:00",
        driver_memory="1.5 GiB",
        driver_directives=("--qos=unattended",),
        prologue=("module load python",),
        python="/shared/python",
    )
    script = driver_script(spec, ["scan", "data", "out"], name="ncdb-scan", log="/out/log", cwd="/work")
    expected = {
        "--job-name=ncdb-scan",
        "--partition=long",
        "--account=depth",
        "--time=2-00:00:00",
        "--mem=1536M",
        "--qos=unattended",
        "--signal=B:TERM@120",
        "--output=/out/log",
        "--open-mode=append",
        "--chdir=/work",
    }
    assert expected <= set(directives(script))
    assert script.endswith("\nmodule load python\nexec /shared/python -P -m ncdb_dask.cli scan data out\n")


def test_what_a_site_refuses_is_left_out():
    assert not [each for each in directives(driver_script(SlurmSpec(skip=("--mem",)))) if "--mem" in each]


def test_what_is_skipped_is_an_option_and_not_a_part_of_a_path():
    here = {"cwd": "/data/--mem/-n", "log": "/out/--time"}
    everything = directives(driver_script(SlurmSpec(), **here))
    left = directives(driver_script(SlurmSpec(skip=("-n", "--mem", "--time=1", "--job-name")), **here))
    assert set(everything) - set(left) == {"--mem=4096M", "--time=1-00:00:00"}


def test_sbatch_reads_no_options_after_the_first_command():
    lines = driver_script(SlurmSpec(prologue=("true",)), ["scan"]).splitlines()
    commands = [number for number, line in enumerate(lines) if not line.startswith("#")]
    assert max(number for number, line in enumerate(lines) if line.startswith("#SBATCH")) < min(commands)


def test_a_wall_time_that_is_none_is_a_clear_error():
    with pytest.raises(RunError, match="'for ever'"):
        driver_script(SlurmSpec(driver_walltime="for ever"))


def test_paths_with_blanks_and_signs_of_sbatch():
    script = driver_script(SlurmSpec(), ["scan"], log=escaped("/a b/100%j.log"), cwd="/a b")
    assert {'--output="/a b/100%%j.log"', '--chdir="/a b"'} <= set(directives(script))
    assert '--chdir="/it\'s #1 \\"q\\""' in directives(driver_script(SlurmSpec(), cwd='/it\'s #1 "q"'))


@pytest.mark.parametrize("path", ["/a\\b", "/a\nb", "/a\x1bb"])
@pytest.mark.parametrize("which", ["log", "cwd"])
def test_a_path_that_sbatch_would_read_as_another_one_is_refused(path, which):
    with pytest.raises(RunError, match="sbatch takes no path with a backslash"):
        driver_script(SlurmSpec(), ["scan"], **{which: path})


def test_no_file_of_the_folder_takes_the_place_of_a_package(tmp_path):
    (tmp_path / "click.py").write_text("raise SystemExit('not the package')")
    command = [*invoked(), "--version"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> str:
    """A program in the place of Python that prints its process and its arguments."""
    path = tmp_path_factory.mktemp("bin") / "my python"
    path.write_text(ECHO.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


arguments = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@settings(max_examples=20, deadline=None)
@given(st.lists(arguments, min_size=1, max_size=5))
def test_every_argument_arrives_as_it_was_given(python, words):
    script = driver_script(SlurmSpec(python=python), words)
    with subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ}) as process:
        said, _ = process.communicate(script.encode())
    # SLURM signals the process that it has started: the script must have become the driver.
    assert json.loads(said) == [process.pid, ["-P", "-m", "ncdb_dask.cli", *words]]
