"""A real SLURM of one node for the tests of this folder.

- ``slurm``: the folder it lives in; SLURM's commands find it by ``SLURM_CONF``, which is set for all tests here
- ``nothing_left``: fails every test here that leaves jobs, processes of jobs, or certificates
- ``site``: a cluster's specification, and a hold of its workers
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from helpers.real_slurm import Site, missing_programs, one_node, processes, queue, told
from helpers.watching import until

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("slurm")
            item.add_marker(pytest.mark.xdist_group("slurm"))  # one instance for all of them


@pytest.fixture(scope="session", autouse=True)
def slurm() -> Iterator[Path]:
    if missing := missing_programs():
        # Where nobody looks at what was skipped, it must not be skipped.
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse(f"{', '.join(missing)} not found: install slurm-wlm and munge")
    # The paths of pytest's own folders are too long for sockets.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        # The tests themselves may run in a job of another SLURM.
        for name in [name for name in os.environ if name.startswith(("SLURM", "SBATCH", "SQUEUE", "SCANCEL"))]:
            patch.delenv(name)
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        try:
            started = one_node("start", folder)
            assert started.returncode == 0, started.stderr
            yield folder
        finally:
            stopped = one_node("stop", folder)
            shutil.rmtree(folder)
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(autouse=True)
def nothing_left(slurm: Path, tmp_path: Path) -> Iterator[None]:
    yield
    try:
        until(lambda: not queue() and not processes())
    except AssertionError:
        jobs, left = queue(), processes()
        for job in jobs:
            told("scancel", job.partition("|")[0])
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        pytest.fail(f"jobs are left (number, state, name): {jobs}, and processes: {left}")
    assert not list(tmp_path.rglob("*.pem"))


@pytest.fixture
def site(nothing_left: None, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.go()  # where the test failed: a worker that waits ends late
