"""Runs on workers in jobs: what they give is what one process gives, encrypted, and nothing is left."""

import socket
import ssl
from pathlib import Path

import pandas as pd
import psutil
import pytest
from helpers.activations import assert_same, write_branches
from helpers.clusters import certificates, scheduler, tls_options, worker
from helpers.exports import contents
from helpers.networks import KNOWN
from helpers.real_slurm import call, processes, queue, running
from helpers.trees import assert_complete

import ncdb_dask
from ncdb_dask.runtime.settings import LOOPBACK


def test_the_same_table_on_this_machine_in_jobs_and_on_a_scheduler(site, data, tmp_path, expected):
    files = certificates(tmp_path / "tls")
    address = tmp_path / "address.toml"
    with (
        scheduler(tmp_path / "dask", *tls_options(files)) as at,
        worker(at, tmp_path / "worker", *tls_options(files)),
    ):
        given = {"kind": "address", "address": at, **files}
        address.write_text("".join(f'{name} = "{value}"\n' for name, value in given.items()))
        for name, where in {
            "local": ("--cluster", "local", "--workers", 1),
            "slurm": ("--cluster", site.write(), "--workers", 2),
            "address": ("--cluster", address),
        }.items():
            ran = call("scan", data, tmp_path / name, "--shard-size", 4, *where)
            assert ran.returncode == 0, ran.stderr
            assert_complete(tmp_path / name, expected)
    assert queue() == []
    assert site.certificates() == []
    for file in files.values():
        Path(file).unlink()


def open_to_others(process: psutil.Process) -> set[tuple[str, int]]:
    """Return the places where it can be reached from other machines."""
    found = [place.laddr for place in process.net_connections("inet") if place.status == psutil.CONN_LISTEN]
    anywhere = {"0.0.0.0": LOOPBACK, "::": LOOPBACK}
    return {(anywhere.get(place.ip, place.ip), place.port) for place in found if place.ip != LOOPBACK}


def talk_without_certificate(place: tuple[str, int]) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(place, timeout=20) as plain, context.wrap_socket(plain) as encrypted:
        encrypted.recv(1)  # a Dask server greets whoever it lets in


def test_a_stranger_is_told_nothing(site, data, tmp_path, expected):
    scan = ("scan", data, tmp_path / "scan", "--shard-size", 4, "--cluster", site.write(since="0000000004"))
    with running(tmp_path / "log", *scan) as driver:
        site.jobs_held(2)
        places = set().union(*map(open_to_others, [psutil.Process(driver.process.pid), *processes()]))
        assert len(places) == 5  # the scheduler, two workers and their nannies
        for place in places:
            with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                talk_without_certificate(place)
        [folder] = site.certificates()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
            "certificate.pem": 0o600,
            "key.pem": 0o600,
            "driver": 0o600,  # whose they are
        }
        site.go()
        driver.ends()
    assert_complete(tmp_path / "scan", expected)
    assert site.certificates() == []


def test_export_evaluation_and_statistics_in_jobs(site, data, tmp_path):
    net, branches = KNOWN["quarter"].write(tmp_path / "net.onnx"), write_branches(tmp_path / "branches.onnx")
    split = {"root": data, "split": "train_split.json"}

    def run(out: Path, **options: object):
        ncdb_dask.export("train_split.json", out / "export", root=data, format="images", shard_size=4, **options)
        figures = ncdb_dask.evaluate(net, out / "evaluation", shard_size=4, **split, **options).figures
        return figures, ncdb_dask.activation_statistics(branches, out / "statistics", **split, **options)

    figures, statistics = run(tmp_path / "here")
    with ncdb_dask.open_client(str(site.write())) as client:
        figures_of_jobs, statistics_of_jobs = run(tmp_path / "jobs", client=client)
    assert figures_of_jobs == figures
    assert_same(statistics_of_jobs, statistics)
    here, jobs = tmp_path / "here", tmp_path / "jobs"
    assert contents(jobs / "export" / "images") == contents(here / "export" / "images")
    tables = [ncdb_dask.read_evaluation(each / "evaluation") for each in (jobs, here)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
