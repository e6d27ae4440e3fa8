"""A scheduler that runs already: when it is safe to talk to it, and what is said where that does not work."""

import contextlib
import http.server
import re
import socket
import sys
import threading
from collections.abc import Iterator

import dask
import pytest
from helpers.clusters import certificates, distribution, scheduler, tls_options, worker
from helpers.terminals import CTRL_C, Terminal
from helpers.watching import until

import ncdb_dask
from ncdb_dask.errors import RunError
from ncdb_dask.runtime import address
from ncdb_dask.runtime.address import require_safe
from ncdb_dask.runtime.greeting import require_greeting
from ncdb_dask.runtime.specification import AddressSpec
from ncdb_dask.runtime.versions import require_same

LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Iterator[str]:
    """The address of a scheduler without workers."""
    with scheduler(tmp_path_factory.mktemp("bare")) as started:
        yield started


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory, files) -> Iterator[str]:
    """The address of a scheduler with a worker that asks for certificates."""
    folder, options = tmp_path_factory.mktemp("encrypted"), tls_options(files)
    with scheduler(folder, "--protocol", "tls", *options) as started, worker(started, folder, *options):
        yield started


@contextlib.contextmanager
def listening(greeting: bytes = b"") -> Iterator[tuple[int, threading.Event]]:
    """Yield the port of somebody who accepts one connection, and what tells that it came."""
    came = threading.Event()
    with socket.create_server((LOOPBACK, 0)) as server, contextlib.ExitStack() as accepted:

        def accept() -> None:
            with contextlib.suppress(OSError):
                connection = accepted.enter_context(server.accept()[0])
                connection.sendall(greeting)
                came.set()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1], came
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def refused(spec: str | AddressSpec, **options: object) -> str:
    opening = ncdb_dask.open_client(spec, **options)
    with pytest.raises(RunError) as error, opening:
        pass
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("host", [LOOPBACK, "127.8.8.8", "localhost", "[::1]"])
def test_this_machine_needs_no_encryption(host):
    require_safe(AddressSpec(f"tcp://{host}:8786"))


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "[2001:db8::1]", "[::]"])
def test_beyond_it_encryption_is_asked_for(host):
    told = refused(f"tcp://{host}:8786")
    name = host.strip("[]")
    assert f"tcp://{host}:8786 is not encrypted" in told
    assert f"Use tls://, or a tunnel (ssh -L 8786:127.0.0.1:8786 {name}, then tcp://127.0.0.1:8786), or say" in told
    require_safe(AddressSpec(f"tcp://{host}:8786", insecure=True))
    require_safe(AddressSpec(f"tls://{host}:8786"))


@pytest.mark.parametrize(("addresses", "safe"), [(["127.0.0.1", "::1"], True), (["127.0.0.1", "192.0.2.1"], False)])
def test_all_addresses_of_a_name_count(addresses, safe, monkeypatch):
    infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0)) for each in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port: infos)
    with contextlib.nullcontext() if safe else pytest.raises(RunError, match="is not encrypted"):
        require_safe(AddressSpec("tcp://somebody:8786"))


@pytest.mark.parametrize("host", ["nowhere.invalid", "x" * 64])
def test_a_name_that_nobody_has(host):
    assert f"'{host}' is no machine that is known here" in refused(f"tcp://{host}:8786")


def test_nobody_is_there(monkeypatch):
    monkeypatch.setattr(address, "CONNECT_SECONDS", 0.2)
    with socket.socket() as held:  # so that nobody else takes the port
        held.bind((LOOPBACK, 0))
        told = refused(f"tcp://{LOOPBACK}:{held.getsockname()[1]}")
    assert "no Dask scheduler answers (Timed out" in told
    assert "does it run, and is the address right?" in told


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\0\0\0"])
def test_somebody_else_is_there(greeting):
    with listening(greeting) as (port, _):
        told = refused(f"tcp://{LOOPBACK}:{port}")
    assert f"expected a Dask scheduler at tcp://{LOOPBACK}:{port}; found something else that listens there" in told


def test_somebody_who_hangs_up():
    with socket.create_server((LOOPBACK, 0)) as server:

        def hang_up() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        told = refused(f"tcp://{LOOPBACK}:{server.getsockname()[1]}")
        thread.join()
    assert "found something else that listens there (is it tls://, or the port of the dashboard?)" in told


def test_somebody_is_there_who_says_nothing(monkeypatch):
    monkeypatch.setattr(address, "CONNECT_SECONDS", 0.2)
    with listening() as (port, _):
        told = refused(f"tcp://{LOOPBACK}:{port}")
    assert "found nobody who speaks within 0 s (is it tls://, or the port of the dashboard?)" in told


def test_ctrl_c_while_nobody_answers(tmp_path, data):
    with listening() as (port, came):
        words = ("-m", "ncdb_dask.cli", "scan", data, "out", "--cluster", f"tcp://{LOOPBACK}:{port}")
        terminal = Terminal(sys.executable, *words, folder=tmp_path)
        assert came.wait(60)
        terminal.press(CTRL_C)
        code, shown = terminal.ended()
    assert code == 130, shown
    assert shown.replace("^C", "").startswith("interrupted; ")


def test_the_users_certificates(encrypted, files):
    told: list[str] = []
    with ncdb_dask.open_client(AddressSpec(encrypted, **files), report=told.append) as client:
        assert client.submit(sum, [3, 4]).result() == 7
    assert told[-1].startswith("dashboard: http://127.0.0.1:")
    assert told[-1].endswith("/ncdb")
    configured = {"ncdb.address": {name.replace("_", "-"): value for name, value in files.items()}}
    with dask.config.set(configured), ncdb_dask.open_client(encrypted) as client:
        assert client.nthreads()


def test_certificates_of_another_ca(encrypted, files, tmp_path):
    others = certificates(tmp_path)
    told = refused(AddressSpec(encrypted, **others))
    assert "that both sides trust each other's certificates; found CERTIFICATE_VERIFY_FAILED" in told
    # Only the scheduler does not trust this one.
    told = refused(AddressSpec(encrypted, **{**others, "ca_file": files["ca_file"]}))
    assert "that both sides trust each other's certificates; found TLSV1_ALERT_" in told


def test_the_wrong_protocol(encrypted, bare, files, monkeypatch):
    assert "found WRONG_VERSION_NUMBER (is it tls://" in refused(AddressSpec(bare.replace("tcp", "tls"), **files))
    monkeypatch.setattr(address, "CONNECT_SECONDS", 0.2)
    assert "found nobody who speaks within" in refused(encrypted.replace("tls", "tcp"))


def test_the_dashboards_port(files):
    server = http.server.HTTPServer((LOOPBACK, 0), http.server.BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *words: None
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    told = refused(AddressSpec(f"tls://{LOOPBACK}:{server.server_port}", **files))
    assert "found WRONG_VERSION_NUMBER" in told
    with pytest.raises(RunError, match=r"the port of the dashboard\?"):
        require_greeting(f"tcp://{LOOPBACK}:{server.server_port}", None, 0.2)
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_scheduler_without_workers(bare, monkeypatch):
    monkeypatch.setattr(address, "WORKER_SECONDS", 0.2)
    told: list[str] = []
    assert refused(bare, report=told.append) == f"{bare} has no workers; start some (dask worker {bare} ...)"
    assert told == [f"{bare} has no workers; waiting up to 0.2 s for the first"]


def test_a_worker_that_comes_late_is_waited_for(bare, tmp_path):
    with worker(bare, tmp_path), ncdb_dask.open_client(bare) as client:
        assert list(client.nthreads().values()) == [1]


def test_the_package_is_missing_on_a_worker(bare, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata\n"
        "real = metadata.version\n"
        "def version(name):\n"
        "    if name == 'ncdb-dask': raise metadata.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "metadata.version = version\n"
    )
    with worker(bare, tmp_path, PYTHONPATH=str(tmp_path)):
        told = refused(bare)
    version = re.escape(ncdb_dask.__version__)
    assert re.match(rf"ncdb-dask is not installed on worker tcp://127\S+; install version {version} where they", told)


def test_the_package_is_another_one_on_a_worker(bare, tmp_path):
    with worker(bare, tmp_path, PYTHONPATH=distribution(tmp_path, "ncdb-dask", "9.9")):
        told = refused(bare)
    here = re.escape(ncdb_dask.__version__)
    assert re.match(rf"not the same on both sides: ncdb-dask 9.9 on worker tcp://127\S+, {here} here; expected", told)


def test_libraries_that_differ_are_told(bare, tmp_path):
    told: list[str] = []
    with (
        worker(bare, tmp_path, PYTHONPATH=distribution(tmp_path, "pillow", "9.9")),
        ncdb_dask.open_client(bare, report=told.append),
    ):
        pass
    assert any(line.startswith("other versions on the cluster") and "pillow 9.9 there" in line for line in told)


class Versions:
    """A client that knows versions only."""

    def __init__(self, scheduler: dict[str, str | None], workers: int = 0, **worker: str | None) -> None:
        here = {"python": "3.11.4.final.0", "ncdb-dask": "1", "dask": "2", "distributed": "2", "numpy": "2.0"}
        self.found = {
            "client": {"packages": here},
            "scheduler": {"packages": here | scheduler},
            "workers": {f"tcp://10.0.0.{number}:1": {"packages": here | worker} for number in range(workers)},
        }

    def get_versions(self, packages: list[str]) -> dict[str, object]:
        assert {"ncdb-dask", "dask", "distributed", "numpy"} <= {*packages}
        return self.found


def test_versions_that_may_differ():
    told: list[str] = []
    require_same(Versions({"python": "3.11.9.final.0", "msgpack": "0"}), told.append)
    assert told == []
    require_same(Versions({}, 5, numpy="2.1"), told.append)
    assert told == ["other versions on the cluster, figures may differ in their last digits: numpy 2.1 there, 2.0 here"]


@pytest.mark.parametrize(
    ("client", "says"),
    [
        (Versions({"ncdb-dask": None}), "ncdb-dask is not installed on the scheduler; install version 1"),
        (Versions({}, 5, **{"ncdb-dask": None}), "worker tcp://10.0.0.2:1 and 2 more; install version 1"),
        (Versions({"dask": "3"}), "not the same on both sides: dask 3 on the scheduler, 2 here; expected equal"),
        (Versions({"python": "3.12.1.final.0"}), "python 3.12 on the scheduler, 3.11 here"),
        (Versions({}, 1, distributed=None), "distributed None on worker tcp://10.0.0.0:1, 2 here"),
    ],
)
def test_versions_that_must_not_differ(client, says):
    with pytest.raises(RunError) as error:
        require_same(client, lambda text: None)
    assert says in str(error.value)


def test_workers_that_leave_are_told_of(bare, tmp_path, monkeypatch):
    monkeypatch.setattr(address, "LOOK_SECONDS", 0.05)
    told: list[str] = []
    with contextlib.ExitStack() as opened:
        with worker(bare, tmp_path):
            opened.enter_context(ncdb_dask.open_client(bare, report=told.append))
            before = len(told)
        until(lambda: len(told) > before)
        with worker(bare, tmp_path):
            until(lambda: len(told) > before + 1)
    assert told[before : before + 2] == ["all workers have left; waiting for new ones", "workers are there again"]


def test_the_scheduler_goes_away(tmp_path, monkeypatch):
    monkeypatch.setattr(address, "LOOK_SECONDS", 0.05)
    with contextlib.ExitStack() as opened:
        with scheduler(tmp_path) as there, worker(there, tmp_path):
            client = opened.enter_context(ncdb_dask.open_client(there))
        until(lambda: client.status != "running")
