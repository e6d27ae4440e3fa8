"""Every way to say which cluster is meant, and every way to say it wrongly."""

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import dask
import pytest

import ncdb_dask
from ncdb_dask.cli.options import RunsOn
from ncdb_dask.errors import RunError
from ncdb_dask.runtime.specification import KINDS, AddressSpec, LocalSpec, SlurmSpec, fitted, read_spec

SHIPPED = Path(__file__).parents[2] / "cluster"


@pytest.fixture(autouse=True)
def unconfigured():
    with dask.config.set({"ncdb": {}}):
        yield


@pytest.fixture
def in_file(tmp_path):
    def read(text: str, **options: object):
        path = tmp_path / "spec.toml"
        path.write_text(text)
        return read_spec(str(path), **options)

    return read


def test_nothing_is_this_machine():
    assert read_spec() == read_spec("local") == LocalSpec()


@pytest.mark.parametrize(
    ("cluster", "spec"),
    [
        ("slurm", SlurmSpec()),
        ("tls://host:8786", AddressSpec("tls://host:8786")),
        ("tcp://[::1]:8786", AddressSpec("tcp://[::1]:8786")),
        (SlurmSpec(workers=9, directives=("-C avx2",)), SlurmSpec(workers=9, directives=("-C avx2",))),
        (SHIPPED / "local.toml", LocalSpec(2, "2 GiB", 8787)),
    ],
)
def test_a_name_an_address_an_object_or_a_path(cluster, spec):
    assert read_spec(cluster) == spec


def test_a_file_says_more(in_file):
    spec = in_file('kind = "slurm"\nworkers = 8\ndirectives = ["-C avx2"]\nmemory = "2 GiB"', workers=3)
    assert spec == SlurmSpec(workers=3, directives=("-C avx2",), memory="2 GiB")


def test_shipped_files_are_the_defaults():
    assert read_spec(SHIPPED / "slurm.toml") == SlurmSpec()
    assert read_spec(SHIPPED / "address.toml") == AddressSpec(
        "tls://scheduler.example:8786", "~/.dask/ca.pem", "~/.dask/me.pem", "~/.dask/me-key.pem"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_shipped_files_show_every_value(kind, in_file):
    text = (SHIPPED / f"{kind}.toml").read_text()
    # What is commented out is an example, and has to be a valid one.
    lines = [line.removeprefix("# ") if " = " in line else line for line in text.splitlines()]
    lines = [line for line in lines if not line.startswith("# ")]
    shown = tomllib.loads("\n".join(line for line in lines if " = " in line))
    assert set(shown) == {"kind", *(each.name for each in fields(KINDS[kind]))}
    in_file("\n".join(line for line in lines if " = " in line))


def test_dasks_configuration_is_taken_where_nothing_else_is_said(in_file):
    settings = {"ncdb.cluster": "slurm", "ncdb.slurm": {"workers-per-job": 4, "partition": None, "account": 1234}}
    with dask.config.set(settings):
        assert read_spec() == SlurmSpec(workers_per_job=4, account="1234")
        assert read_spec(workers=2) == SlurmSpec(workers=2, workers_per_job=4, account="1234")
        assert in_file('kind = "slurm"\nworkers_per_job = 1') == SlurmSpec(account="1234")
        assert read_spec(SlurmSpec()) == SlurmSpec()  # an object is complete
        assert read_spec("local") == LocalSpec()
    with dask.config.set({"ncdb.cluster": None, "ncdb.local": None}):  # empty lines in YAML
        assert read_spec() == LocalSpec()
    with dask.config.set({"ncdb.address": {"ca-file": "ca.pem"}}):
        assert read_spec("tls://host:1") == AddressSpec("tls://host:1", ca_file="ca.pem")
    with dask.config.set({"ncdb.address.address": "tls://host:1"}):
        assert in_file('kind = "address"') == AddressSpec("tls://host:1")


def test_the_environment_is_taken_as_dask_reads_it():
    environment = {
        "DASK_NCDB__CLUSTER": "slurm",
        "DASK_NCDB__SLURM__WORKERS": "7",
        "DASK_NCDB__SLURM__MEMORY": "4000000000",
        "DASK_NCDB__SLURM__WALLTIME": "12:00:00",
        "DASK_NCDB__SLURM__LIFETIME_MARGIN": "0",
        "DASK_NCDB__SLURM__DIRECTIVES": "['--constraint=avx2']",
    }
    script = "from ncdb_dask.runtime.specification import read_spec; print(read_spec())"
    ran = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    expected = SlurmSpec(
        workers=7, memory="4000000000", walltime="12:00:00", lifetime_margin="0", directives=("--constraint=avx2",)
    )
    assert ran.stdout.strip() == str(expected), ran.stderr


def test_a_schedulers_file(tmp_path, monkeypatch):
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": "tcp://127.0.0.1:8786", "workers": {}}))
    assert read_spec(scheduler_file=file) == AddressSpec("tcp://127.0.0.1:8786")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_spec(scheduler_file="~/scheduler.json", insecure=True).insecure


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read (No such file or directory); expected what `dask scheduler --scheduler-file` writes"),
        ("", "is no complete JSON; expected what"),
        ('{"address": "tcp://127', "is no complete JSON; expected what"),
        ("[]", "holds no address; expected what"),
        ('{"workers": {}}', "holds no address; expected what"),
        ('{"address": "host"}', "scheduler.json: found address = 'host'; expected tls://host:8786"),
    ],
)
def test_a_schedulers_file_that_is_none(content, says, tmp_path):
    file = tmp_path / "scheduler.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RunError) as refused:
        read_spec(scheduler_file=str(file))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind = 'pbs'", "spec.toml: found kind = 'pbs'; expected kind = \"local\""),
        ("workers = 2", "found no kind; expected kind = "),
        ("kind =", "spec.toml is no TOML (Invalid value (at end of document)); expected a file such as"),
        ("kind = 'local'\nwrokers = 2", "found wrokers = 2; expected one of workers, memory, dashboard_port"),
        ("kind = 'local'\nworkers = '2'", "found workers = '2'; expected a whole number"),
        ("kind = 'local'\nworkers = true", "found workers = True; expected a whole number"),
        ("kind = 'local'\nworkers = 0", "found workers = 0; expected at least 1"),
        ("kind = 'local'\nmemory = 'much'", "found memory = 'much'; expected a size such as '2 GiB'"),
        ("kind = 'local'\nmemory = '4'", "found memory = '4'; expected a size such as '2 GiB', and at least 200 MB"),
        ("kind = 'local'\nmemory = '2 bananas'", "found memory = '2 bananas'; expected a size"),
        ("kind = 'local'\ndashboard_port = 99999", "found dashboard_port = 99999; expected a port, 0 to 65535"),
        ("kind = 'slurm'\nworkers_per_job = -1", "found workers_per_job = -1; expected at least 1"),
        ("kind = 'slurm'\nwalltime = 'soon'", "found walltime = 'soon'; expected HH:MM:SS or D-HH:MM:SS"),
        ("kind = 'slurm'\nwalltime = '00:00:00'", "found walltime = '00:00:00'; expected HH:MM:SS"),
        ("kind = 'slurm'\nlifetime_margin = '-1s'", "found lifetime_margin = '-1s'; expected a time such as"),
        ("kind = 'slurm'\nno_workers_timeout = 'x'", "found no_workers_timeout = 'x'; expected a time such as"),
        ("kind = 'slurm'\ndriver_memory = 'x'", "found driver_memory = 'x'; expected a size"),
        ("kind = 'slurm'\ndirectives = '-C avx2'", "found directives = '-C avx2'; expected a list of texts"),
        ("kind = 'slurm'\nskip = [1]", "found skip = [1]; expected a list of texts"),
        ("kind = 'address'", "spec.toml: address is missing, such as tls://host:8786"),
        ("kind = 'address'\naddress = 'tls://h:1'\ninsecure = 'yes'", "insecure = 'yes'; expected true or false"),
    ],
)
def test_a_wrong_file_says_what_was_found(text, says, in_file):
    with pytest.raises(RunError) as refused:
        in_file(text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ncdb.slurm.walltime": 43200}, "configuration: found walltime = 43200; expected text, in quotes"),
        ({"ncdb.slurm.wrokers": 1}, "ncdb.slurm in Dask's configuration: found wrokers = 1; expected one of workers"),
        ({"ncdb.slurm.workers": 0}, "ncdb.slurm in Dask's configuration: found workers = 0; expected at least 1"),
        ({"ncdb.slurm": "large"}, "found 'large'; expected names and values"),
        (
            {"ncdb.clutser": "slurm"},
            "Dask's configuration: found ncdb.clutser; expected cluster, local, slurm, address",
        ),
        ({"ncdb.cluster": ["slurm"]}, "found cluster ['slurm']; expected local, slurm"),
        ({"ncdb.cluster": "pbs"}, "found cluster 'pbs', and no such file; expected local, slurm"),
    ],
)
def test_a_wrong_configuration_says_where_it_is(settings, says):
    with dask.config.set(settings), pytest.raises(RunError) as refused:
        read_spec("slurm" if "ncdb.slurm" in str(settings) else None)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "http://host:8787/status",
        "ucx://host:8786",
        "tcp://host",
        "tcp://:8786",
        "tcp://host:port",
        "tcp://host:99999",
        "tcp://host:0",
        "tls://host:8786/status",
    ],
)
def test_what_is_no_address(address):
    with pytest.raises(RunError, match=f"found address = '{address}'; expected tls://host:8786, or tcp://127.0.0.1"):
        read_spec(address)


def test_an_address_without_its_protocol():
    with pytest.raises(RunError, match=r"found cluster 'host:8786'; expected a protocol before it: tls://host:8786"):
        read_spec("host:8786")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(RunError, match=r"cannot be read \(Is a directory\); expected local, slurm"):
        read_spec(tmp_path)


@pytest.mark.parametrize("cluster", [LocalSpec(workers="2"), LocalSpec(workers=0), AddressSpec("host"), object()])
def test_a_wrong_object(cluster):
    with pytest.raises(RunError, match=r"found .*expected "):
        read_spec(cluster)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cluster": "local", "scheduler_file": "s.json"}, "--cluster local and --scheduler-file s.json: expected one"),
        ({"cluster": "local", "insecure": True}, "--insecure is for the address of a scheduler"),
        ({"cluster": "tls://h:1", "workers": 2}, "tls://h:1 has the workers that it has; leave --workers 2 out"),
        ({"cluster": "slurm", "workers": -1}, "--workers: found workers = -1; expected at least 1"),
    ],
)
def test_options_that_do_not_go_together(options, says):
    with pytest.raises(RunError) as refused, ncdb_dask.open_client(**options):
        pass
    assert says in str(refused.value)


def test_no_more_workers_than_tasks():
    assert fitted(LocalSpec(workers=8), 3) == LocalSpec(workers=3)
    assert fitted(SlurmSpec(workers=2), 3) == SlurmSpec(workers=2)
    assert fitted(LocalSpec(), 1) == LocalSpec(workers=1)
    assert fitted(SlurmSpec(workers=2), 0) == SlurmSpec(workers=1)
    assert fitted(AddressSpec("tls://h:1"), 1) == AddressSpec("tls://h:1")


def test_no_workers_are_this_process():
    with RunsOn(workers=0).client() as client:
        assert client is None


def test_no_workers_on_a_cluster():
    runs_on = RunsOn(cluster="tls://h:1", workers=0, insecure=True)
    with pytest.raises(RunError, match="leave it out, or --cluster and --insecure"), runs_on.client():
        pass
