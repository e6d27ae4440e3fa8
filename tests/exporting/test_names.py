"""File names of frames: different, harmless everywhere, and telling the scene."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ncdb_dask.exporting.names import file_names

SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
HASHED = re.compile(r"-[0-9a-f]{12}$")
# The longest suffix, and what an atomic write puts around a name: ".", ".", 32 hexadecimal digits, ".tmp".
ROOM = len(".npy") + 1 + 1 + 32 + len(".tmp")

# Few characters, so that names meet each other.
PART = st.text("aAbB_-. é", min_size=1, max_size=5)
SCENE = st.lists(PART, min_size=1, max_size=3).map("/".join)
KEYS = st.lists(st.tuples(st.one_of(SCENE, SCENE.map("/{}".format), st.just(".")), PART), unique=True, max_size=12)


@settings(max_examples=500)
@given(KEYS)
@example([("a__b", "c"), ("a", "b__c"), ("a/b", "c")])
@example([("a", "b"), ("A", "b"), ("a", "B")])
@example([("a b", "c"), ("a_b", "c"), ("a-b", "c")])
@example([("é", "1"), ("ü", "1"), ("_", "1")])
@example([("/data/a", "1"), ("data/a", "1")])
@example([(".", "1"), ("1", "1")])
@example([("-x", "1"), ("_-x", "1"), ("x", "1")])
@example([("x" * 300, "1"), ("y" * 300, "1"), ("x" * 299, "1")])
@example([("/x", "1"), ("./x", "1"), ("x/", "1"), ("x", "1")])
def test_different_frames_have_different_harmless_names(keys):
    names = file_names(keys)
    assert len({name.casefold() for name in names}) == len(keys)
    for name, key in zip(names, keys, strict=True):
        assert SAFE.fullmatch(name)
        assert len(name.encode()) + ROOM <= 255
        if not HASHED.search(name):
            assert tuple(name.replace("__", "/").rpartition("/")[::2]) == key


def test_a_name_tells_scene_and_stem():
    assert file_names([("synced_data/a", "0000000001"), ("2025-07-11_B/synced_data", "0000000001")]) == [
        "synced_data__a__0000000001",
        "2025-07-11_B__synced_data__0000000001",
    ]


@pytest.mark.parametrize("scene", ["drive 1", "drive.é", "/data/drive", "__drive", ".", "x" * 400 + "drive"])
def test_what_cannot_be_told_apart_by_itself_ends_with_a_hash_that_stays(scene):
    (alone,) = file_names([(scene, "0001")])
    assert HASHED.search(alone)
    assert "0001-" in alone
    assert scene == "." or "drive" in alone
    # Another set names the frame alike: an export of more frames is no other one.
    assert file_names([("other", "0002"), (scene, "0001")])[1] == alone


def test_a_name_that_looks_hashed_cannot_meet_one_that_is():
    first, second = file_names([("a", "b"), ("A", "b")])
    forged = [("a", first.removeprefix("a__")), ("A", second.removeprefix("A__"))]
    names = file_names([("a", "b"), ("A", "b"), *forged])
    assert len(set(names)) == 4
