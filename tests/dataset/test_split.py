"""Split files: what becomes an entry, what a faulty item, and what refuses the file."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncdb_dask.dataset.split import Entry, Roots, entries, parse_item
from ncdb_dask.dataset.split_file import SplitFile, parse_split
from ncdb_dask.errors import DataFault, SplitError
from ncdb_dask.store.folder import LocalFolder

ROOTS = Roots(("/data", "/mnt/real/data"), ("/other",))


def items_of(*items: object, name: str = "train_split.json") -> tuple[list[Entry], int]:
    return entries([parse_split(json.dumps(items).encode(), name)], ROOTS)


def fault_of(item: object) -> Entry:
    """Return the entry of an item that follows a sound one."""
    (_, entry), _ = items_of({"dataset_root": "a", "new_filename": "0"}, item)
    return entry


def split_or_refusal(data: bytes) -> SplitFile | str:
    """Return what a file holds, or the sentence that refuses it."""
    try:
        return parse_split(data, "any.json")
    except SplitError as error:
        return str(error)


# Items that name a frame


def test_leading_zeros_of_a_stem_survive():
    found, _ = items_of({"dataset_root": "synced_data/a", "new_filename": "0000000567"})
    assert [entry.key for entry in found] == [("synced_data/a", "0000000567")]


def test_an_entry_knows_its_split_and_its_place():
    found, _ = items_of(*({"dataset_root": "a", "new_filename": str(n)} for n in range(3)), name="val_split.json")
    assert [(entry.split, entry.index, entry.stem) for entry in found] == [
        ("val_split.json", 0, "0"),
        ("val_split.json", 1, "1"),
        ("val_split.json", 2, "2"),
    ]
    assert {entry.status for entry in found} == {None}


@pytest.mark.parametrize(
    ("image_path", "key"),
    [
        ("synced_data/a/image_a6/0000000567.png", ("synced_data/a", "0000000567")),
        ("synced_data/a/image_a6/0000000567.jpg", ("synced_data/a", "0000000567")),
        ("a/image_a6/0001.left.png", ("a", "0001.left")),
        ("image_a6/7.png", (".", "7")),
        ("./image_a6/7.png", (".", "7")),
        ("a//image_a6//7.png", ("a", "7")),
        ("a/image_a6/./7.png", ("a", "7")),
        ("a/image_a6/7.png/", ("a", "7")),
        ("/data/a/image_a6/7.png", ("a", "7")),
        ("/mnt/real/data/a/image_a6/7.png", ("a", "7")),
        ("/other/a/image_a6/7.png", ("/other/a", "7")),
    ],
)
def test_an_image_path_gives_folder_and_stem(image_path, key):
    assert parse_item({"image_path": image_path}, ROOTS) == key


def test_an_image_path_may_be_a_url():
    assert parse_item({"image_path": "s3://bucket/a/image_a6/7.png"}, Roots(("s3://bucket",))) == ("a", "7")


def test_the_guides_form_outranks_an_image_path():
    item = {"dataset_root": "a", "new_filename": "1", "image_path": "b/image_a6/2.png"}
    assert parse_item(item, ROOTS) == ("a", "1")


@pytest.mark.parametrize(
    ("dataset_root", "stored"),
    [
        ("synced_data/a", "synced_data/a"),
        ("synced_data//a/", "synced_data/a"),
        ("./a", "a"),
        ("a/../b", "b"),
        (".", "."),
        ("/data/synced_data/a", "synced_data/a"),
        ("/data", "."),
        ("/data/", "."),
        ("//data/a", "a"),
        ("/data/x/../a", "a"),
        ("/mnt/real/data/a", "a"),
        ("/other/a", "/other/a"),
        ("/other", "/other"),
        ("/other/x/../a/", "/other/a"),
        ("...", "..."),
        ("..a", "..a"),
    ],
)
def test_a_dataset_root_is_relative_inside_the_root_and_absolute_in_an_allowed_one(dataset_root, stored):
    assert parse_item({"dataset_root": dataset_root, "new_filename": "1"}, ROOTS) == (stored, "1")


@pytest.mark.parametrize(
    ("root", "dataset_root", "stored"),
    [
        ("s3://bucket/ncdb", "s3://bucket/ncdb/a", "a"),
        ("s3://bucket/ncdb", "s3://bucket/ncdb/x/../a", "a"),
        ("s3://bucket", "s3://bucket/a", "a"),
        ("/", "/a", "a"),
    ],
)
def test_roots_may_be_urls_or_the_whole_file_system(root, dataset_root, stored):
    assert Roots((root,)).relative(dataset_root) == stored


@pytest.mark.parametrize(
    "dataset_root",
    ["..", "../a", "a/../..", "a/../../b", "/database/a", "/dat", "/", "/data/../etc", "/otherwise", "s3://data/a"],
)
def test_a_dataset_root_outside_the_roots_is_unsafe(dataset_root):
    with pytest.raises(DataFault) as caught:
        parse_item({"dataset_root": dataset_root, "new_filename": "1"}, ROOTS)
    assert caught.value.status == "unsafe_path"
    assert repr(dataset_root) in caught.value.detail


@pytest.mark.parametrize("root", ["s3://bucket/ncdb", "s3://bucket/nc"])
def test_another_bucket_or_prefix_is_unsafe(root):
    with pytest.raises(DataFault, match="outside the root"):
        Roots((root,)).relative("s3://bucket/ncdb-2/a")


@pytest.mark.parametrize("stem", ["..", "../1", "a/../../1", "/etc/passwd", "/1"])
def test_a_stem_that_leaves_its_folder_is_unsafe(stem):
    entry = fault_of({"dataset_root": "a", "new_filename": stem})
    assert entry.status == "unsafe_path"
    assert "entry 1 has a stem that leaves its folder" in entry.detail
    assert repr(stem) in entry.detail


def test_the_message_for_an_outside_root_names_the_option_that_allows_it():
    assert "--allow-root" in fault_of({"dataset_root": "/elsewhere", "new_filename": "1"}).detail


def test_roots_know_the_folder_behind_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    roots = Roots.of(LocalFolder(str(tmp_path / "link")))
    assert roots.relative(str(tmp_path / "link" / "a")) == "a"
    assert roots.relative(str(tmp_path / "real" / "a")) == "a"


@pytest.mark.parametrize(
    ("real", "held"), [("/data/a", True), ("/data", True), ("/other/a", True), ("/database", False), ("/", False)]
)
def test_roots_hold_what_lies_in_them(real, held):
    assert ROOTS.holds(real) is held


# Duplicates


def test_a_repeated_key_is_kept_once_and_counted():
    frame = {"dataset_root": "a", "new_filename": "1"}
    found, duplicates = items_of(frame, frame, {"dataset_root": "b", "new_filename": "1"}, frame)
    assert [entry.key for entry in found] == [("a", "1"), ("b", "1")]
    assert [entry.index for entry in found] == [0, 2]
    assert duplicates == 2


def test_the_same_key_in_other_spellings_is_a_duplicate():
    found, duplicates = items_of(
        {"dataset_root": "a", "new_filename": "1"},
        {"dataset_root": "/data/a/", "new_filename": "1"},
        {"image_path": "./a/image_a6/1.png"},
    )
    assert [entry.key for entry in found] == [("a", "1")]
    assert duplicates == 2


def test_a_key_that_a_later_split_repeats_is_kept_once():
    def split(name: str, *stems: str) -> SplitFile:
        return parse_split(json.dumps([{"dataset_root": "a", "new_filename": stem} for stem in stems]).encode(), name)

    found, duplicates = entries([split("train.json", "1", "2"), split("val.json", "2", "3")], ROOTS)
    assert [(entry.split, entry.stem) for entry in found] == [
        ("train.json", "1"),
        ("train.json", "2"),
        ("val.json", "3"),
    ]
    assert duplicates == 1


def test_faulty_items_are_never_duplicates():
    found, duplicates = items_of({}, {}, None, None)
    assert len(found) == 4
    assert duplicates == 0
    assert [entry.index for entry in found] == [0, 1, 2, 3]


def test_a_faulty_item_is_told_apart_by_what_it_holds_and_never_taken_for_a_frame():
    found, _ = items_of(1, 2, 1, {"dataset_root": "a", "new_filename": "1"})
    assert found[0].key == found[2].key != found[1].key
    assert found[3].key not in {entry.key for entry in found[:3]}


# Faulty items


@pytest.mark.parametrize(
    ("item", "found"),
    [
        (None, "is a JSON null, not an object: null"),
        (True, "is a JSON boolean, not an object: true"),
        (17, "is a JSON number, not an object: 17"),
        (0.5, "is a JSON number, not an object: 0.5"),
        ("frame", 'is a JSON string, not an object: "frame"'),
        ([1, 2], "is a JSON list, not an object: [1, 2]"),
        ({}, "has neither 'new_filename' nor 'image_path' (keys: none)"),
        ({"stem": "1", "root": "a"}, "(keys: stem, root)"),
        ({"dataset_root": "a"}, "has no 'new_filename' (keys: dataset_root)"),
        ({"new_filename": "1"}, "has no 'dataset_root' (keys: new_filename)"),
        ({"dataset_root": "a", "new_filename": 567}, "has the number 567 as 'new_filename'"),
        ({"dataset_root": "a", "new_filename": 567.0}, "has the number 567.0 as 'new_filename'"),
        ({"dataset_root": 1, "new_filename": "1"}, "has the number 1 as 'dataset_root'"),
        ({"dataset_root": "a", "new_filename": ""}, "has an empty string as 'new_filename'"),
        ({"dataset_root": "", "new_filename": "1"}, "has an empty string as 'dataset_root'"),
        ({"dataset_root": None, "new_filename": "1"}, "has a JSON null as 'dataset_root'"),
        ({"dataset_root": "a", "new_filename": True}, "has a JSON boolean as 'new_filename'"),
        ({"dataset_root": "a", "new_filename": ["1"]}, "has a JSON list as 'new_filename'"),
        ({"dataset_root": "a", "new_filename": {}}, "has a JSON object as 'new_filename'"),
        ({"dataset_root": "a", "new_filename": "b/1"}, "has folders in its stem 'b/1'"),
        ({"image_path": 3}, "has the number 3 as 'image_path'"),
        ({"image_path": ""}, "has an empty string as 'image_path'"),
        ({"image_path": "a/rgb/1.png"}, "has an 'image_path' outside an image_a6 folder: 'a/rgb/1.png'"),
        ({"image_path": "1.png"}, "has an 'image_path' outside an image_a6 folder: '1.png'"),
    ],
)
def test_a_faulty_item_is_a_bad_entry_that_says_where_and_what(item, found):
    entry = fault_of(item)
    assert entry.status == "bad_entry"
    assert entry.detail.startswith("train_split.json: entry 1 ")
    assert found in entry.detail
    assert (entry.dataset_root, entry.stem) == (None, None)
    assert json.loads(entry.item) == item


@pytest.mark.parametrize("name", ["dataset_root", "new_filename", "image_path"])
@pytest.mark.parametrize("bad", ["\0", "a\0b", "\ud800", "a\udfffb"], ids=ascii)
def test_characters_that_no_file_name_can_hold_make_a_bad_entry(name, bad):
    item = {"image_path": bad} if name == "image_path" else {"dataset_root": "a", "new_filename": "1"} | {name: bad}
    entry = fault_of(item)
    assert entry.status == "bad_entry"
    assert f"has characters in '{name}' that no file name can hold" in entry.detail


@pytest.mark.parametrize(
    "item",
    [
        {"x" * 100_000: 1},
        {"dataset_root": "a", "new_filename": ["y" * 100_000]},
        {"dataset_root": "../" + "z" * 100_000, "new_filename": "1"},
        {"dataset_root": "a", "new_filename": "../" + "z" * 100_000},
        {"image_path": "z" * 100_000},
        "s" * 100_000,
    ],
    ids=lambda item: str(item)[:20],
)
def test_a_huge_item_makes_a_short_message(item):
    entry = fault_of(item)
    assert len(entry.detail) < 600
    assert len(entry.item) < 300


def test_an_item_nested_deeply_is_one_faulty_entry_or_no_json():
    for depth in (10, 500, 900, 980, 5000, 200_000):
        data = b"[" + b"[" * depth + b"]" * depth + b', {"dataset_root": "a", "new_filename": "1"}]'
        split = split_or_refusal(data)
        if isinstance(split, str):
            assert split.startswith("any.json: is no JSON (nested too deeply)")
        else:
            assert [entry.status for entry in entries([split], ROOTS)[0]] == ["bad_entry", None]


def test_an_item_nested_too_deeply_to_be_printed_is_still_described():
    item: list[object] = []
    for _ in range(100_000):
        item = [item]
    (entry,), _ = entries([SplitFile("deep.json", "", (item,))], ROOTS)
    assert entry.detail == "deep.json: entry 0 is a JSON list, not an object: a JSON list"


# Faulty files


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "is no JSON"),
        (b"\0\0\0\0", "is no JSON"),
        (b"[", "is no JSON"),
        (b'[{"dataset_root": "a"', "is no JSON"),
        (b"dataset_root,new_filename\na,1\n", "is no JSON"),
        (b"\xff\xfe\xfd", "is no JSON"),
        (b'["\xe9"]', "is no JSON"),
        (b"[1] [2]", "is no JSON"),
        (b"[" + b"9" * 5000 + b"]", "is no JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "is no JSON (nested too deeply)"),
        (b"{}", "holds a JSON object"),
        (b'{"train": []}', "holds a JSON object"),
        (b'"train"', "holds a JSON string"),
        (b"null", "holds a JSON null"),
        (b"true", "holds a JSON boolean"),
        (b"3", "holds a JSON number"),
        (b"[]", "is an empty list"),
        (b" [ ] \n", "is an empty list"),
    ],
    ids=lambda value: ascii(value[:24]),
)
def test_a_split_that_cannot_be_used_is_refused_with_its_name(data, found):
    with pytest.raises(SplitError) as caught:
        parse_split(data, "sub/my_split.json")
    message = str(caught.value)
    assert message.startswith("sub/my_split.json: ")
    assert found in message
    assert "expected a JSON list" in message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_changes_nothing_but_the_files_hash(encoding):
    text = '[{"dataset_root": "장면", "new_filename": "0000000567"}]'
    found, _ = entries([parse_split(text.encode(encoding), "bom.json")], ROOTS)
    assert [entry.key for entry in found] == [("장면", "0000000567")]


def test_the_hash_is_of_the_files_bytes():
    assert parse_split(b"[1]", "a").sha256 == "080a9ed428559ef602668b4c00f114f1a11c3f6b02a435f0bdc154578e4d7f22"
    assert parse_split(b"[1] ", "a").sha256 != parse_split(b"[1]", "a").sha256


# Whatever a file holds

TEXTS = st.text(st.characters() | st.sampled_from("\ud800\udfff\0/.\\"), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
PATHS = st.lists(st.sampled_from(["a", "b", "..", ".", "", "data", "other", "image_a6", "1.png"]), max_size=5).map(
    "/".join
)
VALUES = PATHS | TEXTS | JSON
ITEMS = (
    JSON
    | st.fixed_dictionaries({"dataset_root": VALUES, "new_filename": VALUES})
    | st.fixed_dictionaries({"image_path": VALUES})
)


def check_entries(split: SplitFile) -> None:
    found, duplicates = entries([split], ROOTS)
    assert len(found) + duplicates == len(split.items)
    assert [entry.index for entry in found] == sorted({entry.index for entry in found})
    for entry in found:
        for text in (entry.split, entry.dataset_root, entry.stem, entry.status, entry.detail, entry.item, *entry.key):
            (text or "").encode("utf-8")
        if entry.status is None:
            inside_root = not entry.dataset_root.startswith(("/", ".."))
            assert inside_root or entry.dataset_root.startswith("/other")
            assert "/" not in entry.stem
        else:
            assert entry.status in ("bad_entry", "unsafe_path")
            assert f"entry {entry.index} " in entry.detail


@settings(deadline=None, max_examples=150)
@given(st.lists(ITEMS, min_size=1, max_size=6))
def test_any_json_values_become_one_entry_or_one_duplicate_each(items):
    check_entries(parse_split(json.dumps(items).encode(), "any.json"))


WHOLE = json.dumps(
    [{"dataset_root": "synced_data/a", "new_filename": "0000000567"}, {"image_path": "b/image_a6/1.png"}, 3, None]
).encode()


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damaged_bytes_are_entries_or_a_split_error(data):
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    split = split_or_refusal(bytes(damaged))
    if isinstance(split, str):
        assert split.startswith("any.json: ")
    else:
        check_entries(split)
