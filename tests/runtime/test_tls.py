"""Certificates: who may read them, how long they live, and whom they keep out."""

import asyncio
import builtins
import os
import re
import signal
import subprocess
import sys

import dask
import pytest
from distributed import Client, LocalCluster
from helpers.clusters import certificates

from ncdb_dask.errors import RunError
from ncdb_dask.runtime.tls import security_of, temporary_security
from ncdb_dask.store.processes import begun_at


def test_only_their_owner_can_read_them(tmp_path):
    before = os.umask(0)
    try:
        with temporary_security(tmp_path / "shared") as security:
            (folder,) = (tmp_path / "shared").iterdir()
            assert {path.name for path in folder.iterdir()} == {"driver", "certificate.pem", "key.pem"}
            for path, mode in {tmp_path / "shared": 0o700, folder: 0o700}.items():
                assert path.stat().st_mode & 0o777 == mode
            assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
            assert security.require_encryption
            assert security.tls_worker_key == str(folder / "key.pem")
    finally:
        os.umask(before)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_they_are_removed_however_it_ends(error, tmp_path):
    def use():
        with temporary_security(tmp_path):
            assert list(tmp_path.iterdir())
            if error is not None:
                raise error

    if error is None:
        use()
    else:
        with pytest.raises(error):
            use()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_driver_has_left_is_removed_and_nothing_else(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from ncdb_dask.runtime.tls import temporary_security\n"
        "with temporary_security(Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    machine, _, begun = (left / "driver").read_text().splitlines()
    me = os.getpid()
    others = {
        "logs": None,
        "tls-just-made": None,
        "tls-at-work": (machine, me, begun_at(me)),
        "tls-of-another-machine": (f"another {machine}", me, begun),  # a container's numbers are its own
        "tls-not-told": ("", me, begun),
    }
    for name, owner in others.items():
        (tmp_path / name).mkdir()
        if owner is not None:
            (tmp_path / name / "driver").write_text("\n".join(map(str, owner)))
    (tmp_path / "tls-number-given-again").mkdir()
    (tmp_path / "tls-number-given-again/driver").write_text(f"{machine}\n{me}\n{begun}\n")
    with temporary_security(tmp_path):
        assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == set(others)


@pytest.mark.parametrize("name", ["file/shared", "file"])
def test_a_folder_that_cannot_be_written_says_what_to_do(name, tmp_path):
    (tmp_path / "file").touch()
    says = r"cannot hold the cluster's certificates \(.+\); name another folder that all nodes see: shared = "
    with pytest.raises(RunError, match=says), temporary_security(tmp_path / name):
        pass


def test_a_full_disk_leaves_no_half_written_key(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ncdb_dask.runtime.tls._written", full)
    with pytest.raises(RunError, match=r"\(No space left on device\)"), temporary_security(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_missing_package_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RunError, match=re.escape("pip install 'ncdb-dask[slurm]'")), temporary_security(tmp_path):
        pass


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    with (
        temporary_security(tmp_path_factory.mktemp("shared")) as security,
        LocalCluster(
            n_workers=0, protocol="tls", host="127.0.0.1", security=security, dashboard_address="127.0.0.1:0"
        ) as cluster,
    ):
        yield cluster.scheduler_address, security


def test_who_has_them_is_let_in(encrypted):
    address, security = encrypted
    with Client(address, security=security, timeout=10) as client:
        assert client.status == "running"


def test_who_has_others_is_kept_out(encrypted, tmp_path):
    address, _ = encrypted
    with temporary_security(tmp_path) as other, pytest.raises(OSError, match=r"TLS|CERTIFICATE|SSL|Timed out"):
        Client(address, security=other, timeout=1)


def test_who_has_none_is_kept_out(encrypted):
    address, _ = encrypted
    from distributed.comm import connect

    async def knock():
        comm = await asyncio.wait_for(connect(address.replace("tls", "tcp"), timeout=1), 1)
        await comm.close()

    with pytest.raises((OSError, asyncio.TimeoutError)):
        asyncio.run(knock())


def test_the_users_own(tmp_path, monkeypatch):
    files = certificates(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert security_of("~/ca_file.pem", files["cert_file"], files["key_file"]).tls_ca_file == files["ca_file"]
    configured = {
        "distributed.comm.tls.ca-file": files["ca_file"],
        "distributed.comm.tls.client.cert": "~/cert_file.pem",
        "distributed.comm.tls.client.key": files["key_file"],
    }
    with dask.config.set(configured):
        assert security_of(None, None, None).tls_client_cert == files["cert_file"]


def test_one_of_the_users_own_is_not_said(tmp_path):
    files = certificates(tmp_path)
    with pytest.raises(RunError, match=r"tls:// needs key_file: .* or there as distributed.comm.tls.client.key"):
        security_of(files["ca_file"], files["cert_file"], None)


def test_one_of_the_users_own_is_not_there(tmp_path):
    files = certificates(tmp_path)
    with pytest.raises(RunError, match=r"~/nowhere.pem cannot be read; expected the cert_file for tls://"):
        security_of(files["ca_file"], "~/nowhere.pem", files["key_file"])


def test_a_key_of_another_certificate(tmp_path):
    files, others = certificates(tmp_path / "mine"), certificates(tmp_path / "other")
    with pytest.raises(RunError, match=r"no certificates, or not the certificate's key \(.*expected PEM files"):
        security_of(files["ca_file"], files["cert_file"], others["key_file"])


def test_a_file_that_is_no_certificate(tmp_path):
    files = certificates(tmp_path)
    with pytest.raises(RunError, match="no certificates, or not the certificate's key"):
        security_of(__file__, files["cert_file"], files["key_file"])
