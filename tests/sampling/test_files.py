"""A set on disk: whole or not at all, and nobody's file replaced."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
from helpers.folders import InterruptedFolder
from helpers.scans import forge, row
from helpers.trees import write_tree

import ncdb_dask
from ncdb_dask.dataset.split import Roots, entries
from ncdb_dask.dataset.split_file import parse_split
from ncdb_dask.errors import SampleError, StorageError
from ncdb_dask.sampling.files import SetFiles
from ncdb_dask.store.folder import LocalFolder


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    rows = [row("a" if n % 2 else "b", f"{n // 2:010d}", 0.5 + n / 3) for n in range(60)]
    return forge(tmp_path_factory.mktemp("forged") / "scan", rows)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def write(scan: Path, target: Path, **options):
    return ncdb_dask.sample(scan, target, **{"size": 12, "picture": False, **options})


def test_the_split_is_the_guides_form_and_the_stems_stay_text(scan, tmp_path):
    chosen = write(scan, tmp_path / "set.json")
    items = json.loads((tmp_path / "set.json").read_text())
    assert [(item["dataset_root"], item["new_filename"]) for item in items] == list(chosen.keys)
    assert all(item.keys() == {"dataset_root", "new_filename"} for item in items)
    assert all(isinstance(item["new_filename"], str) and len(item["new_filename"]) == 10 for item in items)
    assert names(tmp_path) == {"set.json", "set.report.json"}


def test_equal_stems_of_two_scenes_are_two_frames(scan, tmp_path):
    write(scan, tmp_path / "set.json", size=60, strategy="first")
    split = parse_split((tmp_path / "set.json").read_bytes(), "set.json")
    found, duplicates = entries([split], Roots.of(LocalFolder("/nowhere")))
    assert (len({entry.key for entry in found}), len({entry.stem for entry in found}), duplicates) == (60, 30, 0)


def test_the_set_is_a_split_that_scans(tmp_path):
    write_tree(tmp_path / "data", 12)
    ncdb_dask.scan(tmp_path / "data", tmp_path / "scan")
    chosen = ncdb_dask.sample(tmp_path / "scan", tmp_path / "set.json", size=5, strategy="random", picture=False)
    ncdb_dask.scan(tmp_path / "data", tmp_path / "again", split=str(tmp_path / "set.json"))
    again = ncdb_dask.read_scan(tmp_path / "again")
    assert list(zip(again["dataset_root"], again["filename"], strict=True)) == list(chosen.keys)
    assert list(again["status"]) == ["ok"] * 5


def test_the_report_knows_the_split(scan, tmp_path):
    chosen = write(scan, tmp_path / "set.json")
    report = json.loads((tmp_path / "set.report.json").read_text())
    assert report["sha256"] == hashlib.sha256((tmp_path / "set.json").read_bytes()).hexdigest()
    assert report["split"] == "set.json"
    assert report["scan"] == str(scan)
    assert report["size"] == 12
    assert report["strata"] == [stratum.as_dict() for stratum in chosen.report.strata]


def test_without_a_name_nothing_is_written(scan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in scan.rglob("*")}
    ncdb_dask.sample(scan, size=3)
    assert names(tmp_path) == set()
    assert {path: path.stat().st_mtime_ns for path in scan.rglob("*")} == before


PICTURES = {".png": b"one", ".sheet.png": b"two"}


@pytest.mark.parametrize("done", range(4))
def test_a_failure_leaves_nothing(done, scan, tmp_path):
    chosen = ncdb_dask.sample(scan, size=3)
    with pytest.raises(StorageError, match=r"cannot write \(Input/output error\)"):
        SetFiles(InterruptedFolder(str(tmp_path), [done]), "set.json").write(chosen, PICTURES)
    assert names(tmp_path) == set()


def test_all_files_are_written(scan, tmp_path):
    chosen = ncdb_dask.sample(scan, size=3)
    files = SetFiles(InterruptedFolder(str(tmp_path), [4]), "set.json")
    files.write(chosen, PICTURES)
    assert names(tmp_path) == {"set.png", "set.sheet.png", "set.report.json", "set.json"}
    places = files.places(picture=True, contact_sheet=True)
    assert list(places) == ["split", "report", "picture", "contact_sheet"]
    assert all(Path(path).is_file() for path in places.values())


@pytest.mark.parametrize("done", range(4))
def test_a_failure_leaves_an_earlier_set_as_it_was(done, scan, tmp_path):
    folder = LocalFolder(str(tmp_path))
    SetFiles(folder, "set.json").write(ncdb_dask.sample(scan, size=5), PICTURES)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(StorageError):
        SetFiles(InterruptedFolder(str(tmp_path), [done]), "set.json").write(ncdb_dask.sample(scan, size=3), PICTURES)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_split_takes_its_name_last(scan, tmp_path, monkeypatch):
    renamed = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (renamed.append(Path(new).name), replace(old, new)))
    SetFiles(LocalFolder(str(tmp_path)), "set.json").write(ncdb_dask.sample(scan, size=3), PICTURES)
    assert renamed == ["set.png", "set.sheet.png", "set.report.json", "set.json"]


def test_an_own_set_is_replaced(scan, tmp_path):
    write(scan, tmp_path / "set.json")
    chosen = write(scan, tmp_path / "set.json", seed=7)
    assert json.loads((tmp_path / "set.json").read_text()) == chosen.items()
    assert json.loads((tmp_path / "set.report.json").read_text())["settings"]["seed"] == 7


@pytest.mark.parametrize("report", [None, "{}", "no JSON", "[]", '{"sha256": "00"}'])
def test_a_foreign_split_is_not_replaced(report, scan, tmp_path):
    target = tmp_path / "train_split.json"
    target.write_text('[{"dataset_root": "a", "new_filename": "1"}]')
    if report is not None:
        (tmp_path / "train_split.report.json").write_text(report)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        SampleError,
        match=r"exists and is of no set that was chosen here, or was changed since; choose another name, or",
    ):
        write(scan, target)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write(scan, target, overwrite=True)
    assert len(json.loads(target.read_text())) == 12


@pytest.mark.parametrize("name", ["set.png", "set.report.json", "set.sheet.png"])
def test_a_foreign_file_beside_the_split_is_not_replaced(name, scan, tmp_path):
    (tmp_path / name).write_bytes(b"mine")
    options = {"picture": name == "set.png", "contact_sheet": name == "set.sheet.png"}
    with pytest.raises(SampleError, match=rf"{re.escape(name)} exists and is of no set that was chosen here"):
        write(scan, tmp_path / "set.json", **options)
    assert names(tmp_path) == {name}
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_set_whose_split_is_gone_is_made_again(scan, tmp_path):
    first = write(scan, tmp_path / "set.json")
    (tmp_path / "set.json").unlink()
    assert write(scan, tmp_path / "set.json").keys == first.keys


def test_an_own_set_that_someone_has_changed_is_theirs(scan, tmp_path):
    write(scan, tmp_path / "set.json")
    (tmp_path / "set.json").write_text((tmp_path / "set.json").read_text().replace('"a"', '"b"'))
    with pytest.raises(SampleError, match="is of no set that was chosen here"):
        write(scan, tmp_path / "set.json")


@pytest.mark.parametrize("name", ["set", "set.txt", ".json", "set.JSON", "sub/"])
def test_a_name_that_is_no_split(name, scan, tmp_path):
    with pytest.raises(SampleError, match=r"expected the name of a split to write, such as calibration\.json"):
        write(scan, f"{tmp_path}/{name}")
    assert names(tmp_path) == set()


def test_a_target_that_cannot_be_written(scan, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(StorageError, match=r"cannot write \(Not a directory|cannot write \(File exists"):
        write(scan, tmp_path / "file" / "set.json")
    with pytest.raises(SampleError, match=r"folder\.json is a folder"):
        write(scan, tmp_path / "folder.json", overwrite=True)
    assert names(tmp_path) == {"file", "folder.json"}


def test_folders_are_made_and_the_home_folder_is_understood(scan, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(scan, "~/sets/of/mine.json")
    assert names(tmp_path / "sets" / "of") == {"mine.json", "mine.report.json"}
    monkeypatch.chdir(tmp_path)
    write(scan, "here.json")
    assert (tmp_path / "here.report.json").exists()


def test_pictures_of_the_set_before_do_not_stay_beside_the_new_one(scan, tmp_path):
    pytest.importorskip("matplotlib")
    write(scan, tmp_path / "set.json", picture=True)
    assert names(tmp_path) == {"set.json", "set.report.json", "set.png"}
    write(scan, tmp_path / "set.json", seed=7)
    assert names(tmp_path) == {"set.json", "set.report.json"}


def test_pictures_that_are_not_of_the_set_before_stay(scan, tmp_path):
    write(scan, tmp_path / "set.json")
    (tmp_path / "set.png").write_bytes(b"mine")
    write(scan, tmp_path / "set.json", seed=7)
    assert (tmp_path / "set.png").read_bytes() == b"mine"


def test_names_that_look_like_mathematics_are_drawn_as_they_are(scan, tmp_path):
    pytest.importorskip("matplotlib")
    write(scan, tmp_path / "a$^$b.json", picture=True, names=r"$\q$,mid,far,$_x$")
    assert (tmp_path / "a$^$b.png").exists()


def test_pictures_of_a_report_go_where_they_are_asked_to(scan, tmp_path):
    pytest.importorskip("matplotlib")
    fsspec = pytest.importorskip("fsspec")
    write(scan, tmp_path / "set.json")
    ncdb_dask.sample_report(tmp_path / "set.json", scan, picture="memory://reports/set.png")
    assert fsspec.filesystem("memory").cat_file("/reports/set.png").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "options", [{"size": 2.5}, {"size": "10"}, {"size": True}, {"min_gap": "3"}, {"seed": None}, {"seed": 1.0}]
)
def test_numbers_of_another_type(options, scan):
    with pytest.raises(SampleError, match=r"expected a (number|difference|whole number)"):
        ncdb_dask.sample(scan, **({"size": 3} | options))


def test_nothing_is_excluded_by_none(scan):
    assert len(ncdb_dask.sample(scan, size=3, exclude=None).keys) == 3
