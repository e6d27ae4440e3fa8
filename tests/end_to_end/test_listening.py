"""Whatever listens while a cluster is open listens on this machine only, or asks for a certificate."""

import socket
import ssl
import threading
from contextlib import ExitStack

import psutil
import pytest
from helpers.clusters import scheduler, worker
from helpers.slurm_here import jobs, write_slurm_here

import ncdb_dask
from ncdb_dask.runtime.specification import LocalSpec, SlurmSpec

LOOPBACK = "127.0.0.1"


def listening(*roots: psutil.Process) -> set[tuple[str, int]]:
    """Return where these processes, and those that they have started, accept connections."""
    processes = {each for root in roots for each in (root, *root.children(recursive=True))}
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in processes
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.fixture
def before() -> set[tuple[str, int]]:
    return listening(psutil.Process())


def beyond_this_machine(found: set[tuple[str, int]]) -> set[tuple[str, int]]:
    return {(LOOPBACK if ip in {"0.0.0.0", "::"} else ip, port) for ip, port in found if ip not in {LOOPBACK, "::1"}}


def answer(address: tuple[str, int], context: ssl.SSLContext | None, words: bytes) -> bytes:
    """Return the first bytes that are answered to these words."""
    with ExitStack() as opened:
        talk = opened.enter_context(socket.create_connection(address, timeout=10))
        if context is not None:
            talk = opened.enter_context(context.wrap_socket(talk))
        talk.sendall(words)
        return talk.recv(64)


def without_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def assert_refused(address: tuple[str, int], context: ssl.SSLContext | None) -> None:
    try:
        said = answer(address, context, b"GET / HTTP/1.0\r\n\r\n")
    except (ssl.SSLError, ConnectionError):
        return
    assert said[:1] in {b"", b"\x15"}  # hung up, or TLS's alert


def test_what_a_local_cluster_opens(before):
    with ncdb_dask.open_client(LocalSpec(workers=2, dashboard_port=0)):
        found = listening(psutil.Process()) - before
    assert len(found) >= 6  # the scheduler and its dashboard, two nannies and two workers
    assert not beyond_this_machine(found)


def test_what_a_slurm_cluster_opens(before, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", write_slurm_here(tmp_path / "bin"))
    spec = SlurmSpec(workers=2, memory="500 MiB", shared=str(tmp_path / "shared"), dashboard_port=0)
    with ncdb_dask.open_client(spec) as client:
        client.wait_for_workers(2, timeout=60)
        ours = listening(psutil.Process()) - before
        theirs = listening(*map(psutil.Process, jobs(tmp_path / "bin")))
        outside = [beyond_this_machine(found) for found in (ours, theirs)]
        assert [len(each) for each in outside] == [1, 4]  # the scheduler; two nannies and two workers
        certified = client.security.get_connection_args("client")["ssl_context"]
        for address in set.union(*outside):
            assert_refused(address, None)
            assert_refused(address, without_certificate())
            # The same question, asked by one who has the certificate, is answered.
            assert answer(address, certified, b"")[7] == 0
    assert len(ours - beyond_this_machine(ours)) >= 2


def test_a_client_of_a_scheduler_opens_nothing(before, tmp_path):
    with scheduler(tmp_path) as address, worker(address, tmp_path), ncdb_dask.open_client(address):
        found = {each.laddr for each in psutil.Process().net_connections() if each.status == psutil.CONN_LISTEN}
    assert {tuple(each) for each in found} <= before


def test_the_check_sees_an_open_door():
    with socket.create_server(("0.0.0.0", 0)) as server:
        (address,) = beyond_this_machine({server.getsockname()} | {("127.0.0.1", 1), ("::1", 1)})

        def welcome() -> None:
            with server.accept()[0] as guest:
                guest.sendall(b"welcome")
                guest.recv(64)

        thread = threading.Thread(target=welcome)
        thread.start()
        with pytest.raises(AssertionError):
            assert_refused(address, None)
        thread.join()
