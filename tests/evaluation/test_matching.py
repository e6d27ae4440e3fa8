"""Which file is whose prediction: names in their order of trust, and refusals where a name would be a guess."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncdb_dask.errors import EvaluationError, StorageError
from ncdb_dask.evaluation import listing, matching
from ncdb_dask.evaluation.listing import Listed
from ncdb_dask.evaluation.matching import match
from ncdb_dask.exporting.manifest import ExportManifest
from ncdb_dask.exporting.names import file_names
from ncdb_dask.store.folder import LocalFolder

A1, A2, B1 = ("drive_a/synced", "0001"), ("drive_a/synced", "0002"), ("drive_b/synced", "0001")
KEYS = (A1, A2, B1)
NESTED = [f"{root}/{stem}.npy" for root, stem in KEYS]
FLAT = [f"{name}.npy" for name in file_names(KEYS)]
PAIR = ("integer_sigmoid", "fractional_sigmoid")


def folder(path: Path, names: Iterable[str]) -> LocalFolder:
    for name in names:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return LocalFolder(str(path))


def manifest(files: dict[tuple[str, str], str | None]) -> ExportManifest:
    frames = [{"dataset_root": root, "filename": stem, "file": file} for (root, stem), file in files.items()]
    empty: dict[str, Any] = dict.fromkeys(ExportManifest.__dataclass_fields__)
    return ExportManifest(**{**empty, "frames": frames})


def one_each(names: Iterable[str | None]) -> tuple[tuple[str, ...] | None, ...]:
    return tuple(None if name is None else (name,) for name in names)


@pytest.mark.parametrize("names", [NESTED, FLAT, [f"board/run 7/{name}" for name in FLAT]])
@pytest.mark.parametrize("suffix", [".npy", ".NPZ", ".Png"])
def test_names_that_tell_the_whole_key(tmp_path, names, suffix):
    names = [name.replace(".npy", suffix) for name in names]

    found = match(folder(tmp_path, names), KEYS)

    assert found.files == one_each(names)
    assert found.extra == ()


def test_a_bare_stem_of_one_frame(tmp_path):
    assert match(folder(tmp_path, ["0002.npy", "0001.png"]), [A2, A1]).files == (("0002.npy",), ("0001.png",))


def test_a_frame_of_the_root_itself(tmp_path):
    assert match(folder(tmp_path, ["0001.npy"]), [(".", "0001")]).files == (("0001.npy",),)


def test_a_frame_of_an_allowed_folder(tmp_path):
    assert match(folder(tmp_path, ["mnt/x/0001.npy"]), [("/mnt/x", "0001")]).files == (("mnt/x/0001.npy",),)


def test_a_stem_with_dots(tmp_path):
    assert match(folder(tmp_path, ["s/1.5.left.npy"]), [("s", "1.5.left")]).files == (("s/1.5.left.npy",),)


def test_the_names_of_an_export(tmp_path):
    exported = manifest({A1: "one.jpg", A2: "two.v2.jpg", B1: None, ("other", "9"): "nine.jpg"})

    found = match(folder(tmp_path, ["out/one.npy", "two.v2.npy", NESTED[2], "nine.npy"]), KEYS, manifest=exported)

    assert found.files == (("out/one.npy",), ("two.v2.npy",), (NESTED[2],))
    assert found.extra == ("nine.npy",)


def test_the_more_trusted_name_counts_and_the_other_is_named(tmp_path):
    files = folder(tmp_path, ["one.npy", NESTED[0], FLAT[0], NESTED[1], FLAT[1], "0002.npy"])

    found = match(files, KEYS, manifest=manifest({A1: "one.raw"}))

    assert found.files == (("one.npy",), (NESTED[1],), None)
    assert found.extra == ("0002.npy", NESTED[0], FLAT[0], FLAT[1])


def test_the_folder_itself_counts_before_its_sub_folders(tmp_path):
    found = match(folder(tmp_path, [FLAT[0], f"pictures/{FLAT[0][:-4]}.png"]), [A1])

    assert found.files == ((FLAT[0],),)
    assert found.extra == (f"pictures/{FLAT[0][:-4]}.png",)


@pytest.mark.parametrize("name", ["deeper/0002.npy", f"deeper/{NESTED[1]}"])
def test_a_name_without_the_whole_key_counts_in_the_folder_only(tmp_path, name):
    found = match(folder(tmp_path, [name, NESTED[0]]), KEYS)

    assert found.files == one_each([NESTED[0], None, None])
    assert found.extra == (name,)


def test_files_of_other_frames_are_named(tmp_path):
    found = match(folder(tmp_path, [*NESTED, "drive_c/0001.npy"]), [A2, B1])

    assert found.files == one_each(NESTED[1:])
    assert found.extra == (NESTED[0], "drive_c/0001.npy")


def test_other_files_are_no_predictions(tmp_path):
    assert match(folder(tmp_path, [*NESTED, "log.txt", "x.npy.tmp", "manifest.json", "npy"]), KEYS).extra == ()


def test_no_frames(tmp_path):
    found = match(folder(tmp_path, NESTED), [])

    assert (found.files, found.extra) == ((), tuple(NESTED))


# What would be a guess


@pytest.mark.parametrize("others", [[], [NESTED[0]]])
def test_a_bare_stem_that_fits_several_frames(tmp_path, others):
    with pytest.raises(EvaluationError) as error:
        match(folder(tmp_path, ["0001.npy", *others]), KEYS)

    assert str(error.value) == (
        f"{tmp_path}: 0001.npy fits 2 frames: drive_a/synced/0001, drive_b/synced/0001; "
        "name each prediction by its dataset_root and stem, such as drive_a/synced/0001.npy"
    )


def test_a_bare_stem_of_frames_that_have_their_own(tmp_path):
    assert match(folder(tmp_path, ["0001.npy", *NESTED]), KEYS).extra == ("0001.npy",)


def test_a_name_that_two_keys_make(tmp_path):
    with pytest.raises(EvaluationError, match=r"a__1\.npy fits 2 frames: x/a__1, a/1;"):
        match(folder(tmp_path, ["a__1.npy"]), [("x", "a__1"), ("a", "1")])


def test_a_manifest_with_a_name_twice(tmp_path):
    with pytest.raises(EvaluationError, match=r"one\.npy fits 2 frames"):
        match(folder(tmp_path, ["one.npy"]), KEYS, manifest=manifest({A1: "one.jpg", B1: "one.png"}))


@pytest.mark.parametrize(
    "names", [[NESTED[0], NESTED[0].replace("npy", "png")], [f"x/{FLAT[0]}", f"y/{FLAT[0]}"], ["0001.npy", "0001.NPY"]]
)
def test_two_files_for_a_frame(tmp_path, names):
    with pytest.raises(EvaluationError) as error:
        match(folder(tmp_path, names), [A1])

    listed = ", ".join(sorted(names))
    assert str(error.value) == (
        f"{tmp_path}: {listed} all fit the frame drive_a/synced/0001; keep one of them in the folder"
    )


def test_nothing_fits(tmp_path):
    with pytest.raises(EvaluationError) as error:
        match(folder(tmp_path, [f"{number}.npy" for number in range(5)]), KEYS, manifest=manifest({A1: "one.jpg"}))

    assert str(error.value) == (
        f"{tmp_path}: none of the 5 prediction files fits one of the 3 frames: found 0.npy, 1.npy, 2.npy and 2 more; "
        "looked for 'one' or 'drive_a/synced/0001' or 'drive_a__synced__0001' or '0001' with suffix .npy, .npz, .png; "
        "give the folder in which the files have such names, or the manifest of the export that the tool got"
    )


def test_no_folder(tmp_path):
    with pytest.raises(EvaluationError, match="no such folder, or an empty one; expected a folder of predictions"):
        match(LocalFolder(str(tmp_path / "none")), KEYS)


def test_an_empty_folder(tmp_path):
    with pytest.raises(EvaluationError, match="or an empty one"):
        match(LocalFolder(str(tmp_path)), KEYS)


def test_a_folder_without_predictions(tmp_path):
    with pytest.raises(EvaluationError, match=r"holds no prediction; expected files with suffix \.npy, \.npz, \.png"):
        match(folder(tmp_path, ["log.txt"]), KEYS)


# Integer and fraction


@pytest.mark.parametrize("names", [NESTED, FLAT])
def test_two_outputs(tmp_path, names):
    found = match(folder(tmp_path, [f"{output}/{name}" for output in PAIR for name in names]), KEYS, PAIR)

    assert found.files == tuple((f"integer_sigmoid/{name}", f"fractional_sigmoid/{name}") for name in names)


def test_two_outputs_of_bare_stems(tmp_path):
    found = match(folder(tmp_path, ["/head/i:0/0001.npy"[1:], "_f/0001.npy"]), [A1], ("/head/i:0", "_f"))

    assert found.files == (("head/i:0/0001.npy", "_f/0001.npy"),)


def test_one_of_two_outputs_is_none(tmp_path):
    names = [f"{output}/{name}" for output in PAIR for name in NESTED][:-1]

    found = match(folder(tmp_path, [*names, NESTED[0]]), KEYS, PAIR)

    assert [files is None for files in found.files] == [False, False, True]
    assert found.extra == (NESTED[0], f"integer_sigmoid/{NESTED[2]}")


def test_an_output_without_its_folder(tmp_path):
    with pytest.raises(EvaluationError, match="or '0001' below fractional_sigmoid/ with suffix"):
        match(folder(tmp_path, [f"integer_sigmoid/{name}" for name in NESTED]), KEYS, PAIR)


def test_outputs_of_different_frames(tmp_path):
    with pytest.raises(EvaluationError, match="no frame has a file in each of integer_sigmoid/, fractional_sigmoid/"):
        match(folder(tmp_path, [f"integer_sigmoid/{NESTED[0]}", f"fractional_sigmoid/{NESTED[1]}"]), KEYS, PAIR)


def test_one_output_has_no_folder_of_its_own(tmp_path):
    assert match(folder(tmp_path, NESTED), KEYS, ("depth",)).files == one_each(NESTED)


# Walking


def test_hidden_and_underscored_names_are_left_out(tmp_path):
    hidden = [".old/x.npy", "_old/x.npy", ".x.npy", "_x.npy", "drive_a/_tmp/x.npy"]

    assert match(folder(tmp_path, [*NESTED, *hidden]), KEYS).extra == ()


def test_the_folder_itself_may_look_hidden(tmp_path):
    assert match(folder(tmp_path / "_predictions", NESTED), KEYS).files == one_each(NESTED)


@pytest.mark.parametrize("key", [("_a/.b", "1"), ("a", "_1"), ("-a", "1"), ("교차로", "1")])
@pytest.mark.parametrize("flat", [False, True])
def test_a_frame_may_be_called_like_a_hidden_file(tmp_path, key, flat):
    name = (file_names([key])[0] if flat else "/".join(key)) + ".npy"

    assert match(folder(tmp_path, [name]), [key]).files == ((name,),)


def test_links_count_as_what_they_lead_to(tmp_path):
    folder(tmp_path / "store", ["x.npy", "y/0002.npy"])
    links = tmp_path / "links"
    links.mkdir()
    (links / "0001.npy").symlink_to(tmp_path / "store" / "x.npy")
    (links / "drive_a").mkdir()
    (links / "drive_a/synced").symlink_to(tmp_path / "store" / "y")

    found = match(LocalFolder(str(links)), [A1, A2])

    assert found.files == (("0001.npy",), ("drive_a/synced/0002.npy",))


def test_circles_and_broken_links_end(tmp_path):
    files = folder(tmp_path / "files", NESTED)
    for name, target in [("synced", ".."), ("0001", "."), ("0002", "drive_a"), ("no.npy", "gone"), ("l.npy", "l.npy")]:
        (tmp_path / "files" / name).symlink_to(target)
    (tmp_path / "files/through.npy").symlink_to("drive_a/synced/0001.npy/x")
    os.mkfifo(tmp_path / "files" / "pipe.npy")

    found = match(files, KEYS)

    assert found.files == one_each(NESTED)
    assert found.extra == ()


def test_the_least_of_two_links_names_a_folder(tmp_path):
    folder(tmp_path / "store", ["0001.npy"])
    (tmp_path / "files").mkdir()
    for name in ("c", "b", "d"):
        (tmp_path / "files" / name).symlink_to(tmp_path / "store")

    found = listing.prediction_files(LocalFolder(str(tmp_path / "files")), {"b", "c", "d"})

    assert [file.path for file in found] == ["b/0001.npy"]


def test_a_link_to_any_other_folder_is_left_alone(tmp_path):
    folder(tmp_path, ["whole disk/0003.npy"])
    files = folder(tmp_path / "files", NESTED)
    (tmp_path / "files/data").symlink_to(tmp_path)

    assert match(files, KEYS).extra == ()


def test_a_folder_called_like_a_file(tmp_path):
    found = match(folder(tmp_path, ["0001.npy/deeper.npy", "0002.npy"]), [A1, A2])

    assert found.files == (None, ("0002.npy",))
    assert found.extra == ("0001.npy/deeper.npy",)


def test_a_name_that_is_no_text_is_extra(tmp_path):
    (tmp_path / os.fsdecode(b"\xff")).mkdir()
    (tmp_path / os.fsdecode(b"\xff") / FLAT[0]).touch()

    assert match(folder(tmp_path, [NESTED[1]]), KEYS).extra == (f"?/{FLAT[0]}",)


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    def denied(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    files = folder(tmp_path, NESTED)
    monkeypatch.setattr(LocalFolder, "holds_something", lambda self: True)
    monkeypatch.setattr(listing.os, "scandir", denied)

    with pytest.raises(StorageError, match=r"cannot list the predictions \(Permission denied"):
        match(files, KEYS)


def test_an_entry_that_may_not_be_read():
    def denied() -> None:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(PermissionError):
        listing._stat(SimpleNamespace(stat=denied))


# The digest


def test_the_digest_tells_replaced_files(tmp_path):
    files = folder(tmp_path, NESTED)
    before = match(files, KEYS).digest
    assert match(files, KEYS[:1]).digest == before

    about = (tmp_path / NESTED[0]).stat()
    os.utime(tmp_path / NESTED[0], ns=(about.st_atime_ns, about.st_mtime_ns + 1000))
    touched = match(files, KEYS).digest
    (tmp_path / NESTED[0]).write_bytes(b"xyz")
    os.utime(tmp_path / NESTED[0], ns=(about.st_atime_ns, about.st_mtime_ns))
    grown = match(files, KEYS).digest
    folder(tmp_path, ["more.npy"])

    assert len({before, touched, grown, match(files, KEYS).digest}) == 4


# What holds for every folder

PARTS = st.sampled_from(["a", "b", "a__1", "1", "2", "_1", "."])
SOME_KEYS = st.lists(st.tuples(PARTS, PARTS.filter(lambda part: part != ".")), min_size=1, max_size=5, unique=True)


@st.composite
def folders(draw: st.DrawFn) -> tuple[list[tuple[str, str]], list[str]]:
    """Draw keys, and files of which most could be one's."""
    keys = draw(SOME_KEYS)
    likely = [*("/".join(key).removeprefix("./") for key in keys), *file_names(keys), *(stem for _, stem in keys), "x"]
    name = st.builds(
        "{}{}{}".format, st.sampled_from(["", "", "sub/"]), st.sampled_from(likely), st.sampled_from([".npy", ".png"])
    )
    return keys, draw(st.lists(name, min_size=1, max_size=8, unique=True))


def outcome(keys: list[tuple[str, str]], names: list[str]) -> Any:
    """Match a listing that no disk needs to hold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "_walk", lambda folder, called: iter([Listed(name, 1, 1) for name in names]))
        patch.setattr(LocalFolder, "holds_something", lambda self: True)
        try:
            return match(LocalFolder("/memory"), keys)
        except EvaluationError as error:
            return str(error)


@settings(max_examples=300)
@given(folders(), st.randoms())
def test_the_order_of_the_listing_decides_nothing(drawn, random):
    keys, names = drawn
    shuffled = random.sample(names, len(names))

    assert outcome(keys, names) == outcome(keys, shuffled)


@settings(max_examples=300)
@given(folders(), st.randoms())
def test_the_order_of_the_frames_decides_nothing(drawn, random):
    keys, names = drawn
    shuffled = random.sample(keys, len(keys))
    one, other = outcome(keys, names), outcome(shuffled, names)

    if isinstance(one, str):
        assert isinstance(other, str)
    else:
        assert dict(zip(keys, one.files, strict=True)) == dict(zip(shuffled, other.files, strict=True))


@settings(max_examples=300)
@given(folders())
def test_every_file_is_one_frames_or_extra(drawn):
    keys, names = drawn
    found = outcome(keys, names)

    if not isinstance(found, str):
        used = [path for files in found.files if files for path in files]
        assert sorted([*used, *found.extra]) == sorted(names)


@settings(max_examples=300)
@given(folders())
def test_a_file_is_never_another_frames(drawn):
    keys, names = drawn
    found = outcome(keys, names)

    if not isinstance(found, str):
        own = dict(zip(keys, file_names(keys), strict=True))
        for key, files in zip(keys, found.files, strict=True):
            for path in files or ():
                name = os.path.splitext(path)[0]
                root, stem = key
                assert name in ("/".join(key).removeprefix("./"), own[key], f"sub/{own[key]}", stem)
                assert name != stem or root == "." or sum(other[1] == stem for other in keys) == 1


def test_many_files_take_little_time():
    keys = [(f"drive_{number // 1000}/synced", f"{number % 1000:010d}") for number in range(100_000)]
    names = [f"{root}/{stem}.npy" for root, stem in keys]
    start = time.perf_counter()

    assert outcome(keys, names).files == one_each(names)
    assert time.perf_counter() - start < 10  # one to two seconds on an idle machine


def test_a_long_list_is_cut():
    assert matching._some(list("abcde")) == "a, b, c and 2 more"
