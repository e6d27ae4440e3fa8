"""Ctrl-C and SIGTERM at any moment: one sentence, the right exit code, and no process left."""

import contextlib
import signal
import subprocess
import sys
import threading

import psutil
import pytest
from helpers.terminals import CTRL_C, Terminal
from helpers.trees import write_tree
from helpers.watching import until

import ncdb_dask
from ncdb_dask.runtime.interrupts import held_back, whole_end
from ncdb_dask.runtime.specification import LocalSpec

HELD = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def came():
    """Signals as they are delivered."""
    delivered: list[int] = []
    before = {signum: signal.signal(signum, lambda number, _: delivered.append(number)) for signum in HELD}
    yield delivered
    for signum, each in before.items():
        signal.signal(signum, each)


@pytest.mark.parametrize("signum", HELD)
def test_a_signal_is_delivered_once_and_at_the_end(signum, came):
    with held_back():
        for _ in range(3):
            signal.raise_signal(signum)
        assert not came
    assert came == [signum]


def test_a_signal_may_be_dropped(came):
    with held_back(delivered=False):
        signal.raise_signal(signal.SIGINT)
    assert not came


def test_an_error_of_the_block_does_not_lose_the_signal(came):
    def fail():
        signal.raise_signal(signal.SIGINT)
        raise ValueError

    with pytest.raises(ValueError), held_back():  # noqa: PT011 - it has no text
        fail()
    assert came == [signal.SIGINT]


def test_all_is_as_before():
    before = [signal.getsignal(signum) for signum in HELD]
    with held_back(), held_back():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert [signal.getsignal(signum) for signum in HELD] == before
    assert not set(HELD) & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_process_that_is_started_meanwhile_does_not_get_ctrl_c():
    with held_back():
        process = subprocess.Popen(["sleep", "1000"])
    process.send_signal(signal.SIGINT)
    process.terminate()
    assert process.wait() == -signal.SIGTERM


def test_the_end_is_whole(came):
    closed = []
    with whole_end() as stack:
        stack.callback(lambda: closed.append(list(came)))
        stack.callback(signal.raise_signal, signal.SIGINT)
    assert closed == [[]]
    assert came == [signal.SIGINT]


@pytest.mark.parametrize(("first", "again"), [(KeyboardInterrupt, 0), (SystemExit, 0), (ValueError, 1)])
def test_who_has_asked_for_the_end_has_asked_once(first, again, came):
    def use(stack):
        stack.callback(signal.raise_signal, signal.SIGINT)
        raise first

    with pytest.raises(first), whole_end() as stack:
        use(stack)
    assert len(came) == again


def test_what_is_closed_is_told_of_the_error():
    told = []

    def use(stack):
        stack.push(lambda kind, error, trace: told.append(error))
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"), whole_end() as stack:
        use(stack)
    assert str(told[0]) == "wrong"


def test_elsewhere_than_in_the_main_thread_nothing_is_held():
    before = [signal.getsignal(signum) for signum in HELD]
    answers = []

    def work():
        with ncdb_dask.open_client(LocalSpec(workers=1, dashboard_port=0)) as client:
            answers.append(client.submit(int, 7).result())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [7]
    assert [signal.getsignal(signum) for signum in HELD] == before


@pytest.fixture
def scan(tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_NCDB__LOCAL__DASHBOARD_PORT", "0")  # the usual one may be taken by another test
    write_tree(tmp_path / "data", 200)
    words = (sys.executable, "-m", "ncdb_dask.cli", "scan", "data", "out", "--shard-size", "1", "--workers", "2")
    return Terminal(*words, folder=tmp_path)


def worker_starts(terminal: Terminal) -> bool:
    return any("spawn_main" in " ".join(words(child)) for child in terminal.children())


def words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def press_until_it_ends(terminal: Terminal) -> tuple[int, str]:
    while terminal.process.poll() is None:
        terminal.press(CTRL_C)
        with contextlib.suppress(subprocess.TimeoutExpired):
            terminal.process.wait(timeout=0.1)
    return terminal.ended()


def test_ctrl_c_while_the_cluster_starts(scan):
    until(lambda: worker_starts(scan))
    code, shown = press_until_it_ends(scan)
    assert code == 130, shown
    assert shown.replace("^C", "").strip() == "interrupted; what is complete stays, the same command goes on from it"


def test_ctrl_c_again_and_again(scan, tmp_path):
    until(lambda: list(tmp_path.glob("out/_plan/receipts/*.json")))
    code, shown = press_until_it_ends(scan)
    assert code == 130, shown
    assert shown.count("interrupted; what is complete stays") == 1
    assert "Traceback" not in shown
    assert "Error" not in shown


def test_sigterm_while_the_cluster_starts(scan):
    until(lambda: worker_starts(scan))
    scan.process.terminate()
    code, shown = scan.ended()
    assert code == 143, shown
    assert shown.strip() == "terminated; what is complete stays, the same command goes on from it"
