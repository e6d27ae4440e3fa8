"""One contract for local folders and for those behind fsspec, and what only local ones promise."""

import errno
import os
import threading
import uuid
from pathlib import Path

import pytest

from ncdb_dask.errors import StorageError
from ncdb_dask.store.folder import Folder, LocalFolder, open_folder, reported
from ncdb_dask.store.remote import RemoteFolder


@pytest.fixture(params=["local", "remote"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return (
        LocalFolder(str(tmp_path / "out")) if request.param == "local" else open_folder(f"memory://{uuid.uuid4().hex}")
    )


# The contract


def test_what_was_written_is_read(folder):
    folder.write("a.bin", b"one")
    folder.write("sub/deep/b.bin", b"two")
    assert folder.read("a.bin") == b"one"
    assert folder.read("sub/deep/b.bin") == b"two"


def test_a_file_is_replaced_whole(folder):
    folder.write("a", b"a long content")
    folder.write("a", b"short")
    assert folder.read("a") == b"short"


def test_an_empty_file_is_a_file(folder):
    folder.write("a", b"")
    assert folder.read("a") == b""
    assert folder.head("a", 5) == (b"", 0)


@pytest.mark.parametrize("limit", [1, 3, 6, 100])
def test_the_head_is_the_first_bytes_and_the_whole_size(folder, limit):
    folder.write("a", b"abcdef")
    assert folder.head("a", limit) == (b"abcdef"[:limit], 6)


def test_an_opened_file_can_be_read_at_any_place(folder):
    folder.write("a", b"abcdef")
    with folder.open("a") as file:
        file.seek(-2, os.SEEK_END)
        assert file.read() == b"ef"
        file.seek(0)
        assert file.read(1) == b"a"


@pytest.mark.parametrize("read", ["read", "open"])
def test_a_file_that_is_not_there_is_not_found(folder, read):
    with pytest.raises(FileNotFoundError):
        getattr(folder, read)("nothing")
    with pytest.raises(FileNotFoundError):
        folder.head("nothing", 5)


def test_a_listing_has_the_files_of_one_folder_and_their_sizes(folder):
    for name, data in (("a", b"1"), ("b", b"22"), ("sub/c", b"333")):
        folder.write(name, data)
    assert dict(folder.list(sizes=True).sizes) == {"a": 1, "b": 2}
    assert dict(folder.list("sub", sizes=True).sizes) == {"c": 3}
    assert set(folder.list().sizes) == {"a", "b"}


def test_a_folder_that_is_not_there_lists_as_empty(folder):
    assert not folder.list("nothing").sizes
    assert not folder.holds_something()


def test_a_file_lists_as_no_folder(folder):
    folder.write("a", b"1")
    assert "a" not in folder.list("a/b").sizes


def test_a_folder_with_a_file_holds_something(folder):
    folder.write("a", b"1")
    assert folder.holds_something()


def test_removing_is_final_and_may_be_repeated(folder):
    folder.write("a", b"1")
    folder.remove("a")
    folder.remove("a")
    assert not folder.list().sizes


def test_a_write_leaves_nothing_but_the_file(folder):
    folder.write("sub/a", b"1")
    assert set(folder.list("sub").sizes) == {"a"}


def test_an_absolute_name_stands_for_itself(folder):
    folder.write("a", b"1")
    other = open_folder(folder.url.rpartition("/")[0] + "/elsewhere")
    assert other.read(f"{folder.url}/a") == b"1"


def test_two_folders_of_one_place_are_equal_and_hash_alike(folder):
    twin = open_folder(folder.url)
    assert twin == folder
    assert hash(twin) == hash(folder)


# Local folders


def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    folder = LocalFolder(str(tmp_path))
    folder.write("a", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        folder.write("a", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


def test_the_bytes_are_on_disk_before_the_name_is(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (steps.append("sync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *names: (steps.append("rename"), replace(*names)))
    LocalFolder(str(tmp_path)).write("a", b"1")
    assert steps == ["sync", "rename", "sync"]


def test_the_half_written_file_is_hidden_and_beside_its_target(tmp_path, monkeypatch):
    seen = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *names: (seen.append(names), replace(*names)))
    LocalFolder(str(tmp_path)).write("sub/a.parquet", b"1")
    ((temporary, target),) = seen
    assert os.path.dirname(temporary) == os.path.dirname(target) == str(tmp_path / "sub")
    assert os.path.basename(temporary).startswith(".a.parquet.")
    assert temporary.endswith(".tmp")


def test_readers_beside_a_writer_see_one_content_or_the_other(tmp_path):
    folder = LocalFolder(str(tmp_path))
    contents = [bytes([letter]) * 50_000 for letter in b"ab"]
    folder.write("x", contents[0])
    writer = threading.Thread(target=lambda: [folder.write("x", contents[n % 2]) for n in range(30)])
    writer.start()
    seen = {folder.read("x")}
    while writer.is_alive():
        seen.add(folder.read("x"))
    writer.join()
    assert seen <= set(contents)


def test_a_listing_tells_links_and_passes_over_what_is_no_file(tmp_path):
    (tmp_path / "file").write_bytes(b"12")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for link, target in (("good", "file"), ("dangling", "none"), ("loop", "loop"), ("to-folder", "folder")):
        (tmp_path / link).symlink_to(target)
    listing = LocalFolder(str(tmp_path)).list(sizes=True)
    assert dict(listing.sizes) == {"file": 2, "good": 2}
    assert listing.links == {"good"}


@pytest.mark.parametrize("name", ["file/x", "loop", "x" * 300, "a/" * 3000])
def test_what_can_be_no_folder_lists_as_empty(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    assert not LocalFolder(str(tmp_path)).list(name).sizes


def test_a_listing_that_fails_raises(tmp_path, monkeypatch):
    def failing(path: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(OSError, match="Input/output"):
        LocalFolder(str(tmp_path)).list()


def test_real_resolves_links(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    folder = LocalFolder(str(tmp_path / "link"))
    assert folder.real() == str(tmp_path / "real")
    assert folder.real("x") == str(tmp_path / "real" / "x")


# Opening


@pytest.mark.parametrize("form", ["{path}", "{path}/", "file://{path}", "{path}/x/.."])
def test_a_local_folder_has_one_absolute_spelling(tmp_path, form):
    assert open_folder(form.format(path=tmp_path)) == LocalFolder(str(tmp_path))


def test_a_relative_folder_is_taken_from_where_the_process_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_folder("x") == open_folder(Path("x")) == LocalFolder(str(tmp_path / "x"))


def test_opening_touches_nothing(tmp_path):
    open_folder(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_protocol_is_an_error_that_says_what_to_install():
    with pytest.raises(StorageError, match="nosuch://"):
        open_folder("nosuch://bucket/x")


def test_options_never_show_in_a_print():
    folder = open_folder("memory://x", {"secret": "hunter2"})
    assert isinstance(folder, RemoteFolder)
    assert folder.options["secret"] == "hunter2"
    assert "hunter2" not in repr(folder)


def test_an_error_of_a_client_library_is_an_os_error(monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("endpoint unreachable")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", broken)
    with pytest.raises(OSError, match="endpoint unreachable") as caught:
        open_folder("memory://x").read("a")
    assert caught.value.errno == errno.EIO


def test_a_failure_is_reported_with_the_folder_and_the_reason(tmp_path):
    folder = LocalFolder(str(tmp_path))
    with pytest.raises(StorageError) as caught, reported(folder, "write"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert f"{tmp_path}: cannot write (No space left on device)" in str(caught.value)
    with pytest.raises(ValueError, match="mine"), reported(folder, "write"):
        raise ValueError("mine")
