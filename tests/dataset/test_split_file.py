"""Split files as files: where they are looked for, and what they are called."""

import hashlib
import os
from pathlib import Path

import pytest

from ncdb_dask.dataset.split_file import find_split, read_splits
from ncdb_dask.errors import SplitError
from ncdb_dask.store.folder import LocalFolder


def test_a_split_is_looked_for_as_given_and_then_under_the_root(tmp_path, monkeypatch):
    here, root = tmp_path / "here", tmp_path / "root"
    for folder in (here, root):
        folder.mkdir()
    monkeypatch.chdir(here)
    (root / "train.json").write_bytes(b"root")
    assert find_split("train.json", LocalFolder(str(root))) == b"root"
    (here / "train.json").write_bytes(b"here")
    assert find_split("train.json", LocalFolder(str(root))) == b"here"
    assert find_split(str(root / "train.json"), LocalFolder(str(here))) == b"root"


def test_a_split_that_is_nowhere_is_an_error_that_names_both_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SplitError) as caught:
        find_split("train.json", LocalFolder("/nowhere"))
    assert f"{tmp_path}/train.json" in str(caught.value)
    assert "/nowhere/train.json" in str(caught.value)


def test_a_folder_in_place_of_a_split_is_a_split_error(tmp_path):
    with pytest.raises(SplitError, match="cannot be read"):
        find_split(str(tmp_path), LocalFolder(str(tmp_path)))


def test_a_file_in_place_of_a_splits_folder_is_a_split_error(tmp_path):
    Path(tmp_path, "file").touch()
    with pytest.raises(SplitError, match="no such split file"):
        find_split(os.path.join(tmp_path, "file", "train.json"), LocalFolder(str(tmp_path)))


# Several files


def test_splits_are_read_once_each_in_the_order_given(tmp_path):
    for name, data in (("b.json", b"[2, 3]"), ("a.json", b"[1]")):
        (tmp_path / name).write_bytes(data)
    splits = read_splits(["b.json", "a.json", "b.json"], LocalFolder(str(tmp_path)))
    assert [(split.name, split.items) for split in splits] == [("b.json", (2, 3)), ("a.json", (1,))]
    assert splits[1].sha256 == hashlib.sha256(b"[1]").hexdigest()


def test_splits_that_share_a_file_name_are_called_as_they_were_given(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "val.json").write_bytes(b"[1]")
    (tmp_path / "train.json").write_bytes(b"[1]")
    splits = read_splits(["x/val.json", "y/val.json", "train.json"], LocalFolder(str(tmp_path)))
    assert [split.name for split in splits] == ["x/val.json", "y/val.json", "train.json"]


def test_a_name_that_is_no_utf_8_is_refused_before_anything_is_read():
    with pytest.raises(SplitError, match=r"tr\?\.json: the file's name is no UTF-8; rename it"):
        read_splits(["nowhere.json", os.fsdecode(b"tr\xff.json")], LocalFolder("/nowhere"))
