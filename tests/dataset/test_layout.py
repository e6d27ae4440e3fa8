"""Where frames lie: the order of variants, links, what is no file, and how often a folder is listed."""

import os
from pathlib import Path

import pytest
from helpers.folders import CountingFolder

from ncdb_dask.dataset import layout
from ncdb_dask.dataset.layout import DEFAULT_VARIANTS, FramePaths, Tree, depth_variants
from ncdb_dask.dataset.split import Roots
from ncdb_dask.errors import DataFault, NcdbError
from ncdb_dask.store.folder import LocalFolder


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def tree_of(root: Path, variants=("first", "second"), allowed=()) -> Tree:
    (root / "train_split.json").touch()  # a root without anything in it would count as gone
    folder = CountingFolder(str(root))
    return Tree(folder, Roots.of(folder, [LocalFolder(str(place)) for place in allowed]), variants)


def status_of(tree: Tree, dataset_root: str = "a", stem: str = "1") -> str:
    with pytest.raises(DataFault) as caught:
        tree.locate(dataset_root, stem)
    return caught.value.status


# The order of variants


@pytest.mark.parametrize(
    ("given", "environ", "order"),
    [
        (None, {}, DEFAULT_VARIANTS),
        (None, {"NCDB_DEPTH_VARIANT": ""}, DEFAULT_VARIANTS),
        (None, {"NCDB_DEPTH_VARIANT": " , ,"}, DEFAULT_VARIANTS),
        (None, {"NCDB_DEPTH_VARIANT": "x"}, ("x",)),
        (None, {"NCDB_DEPTH_VARIANT": " x , y,,x"}, ("x", "y")),
        ("a,b", {"NCDB_DEPTH_VARIANT": "x"}, ("a", "b")),
        (["b", " a ", "b", ""], {"NCDB_DEPTH_VARIANT": "x"}, ("b", "a")),
        ("", {"NCDB_DEPTH_VARIANT": "x"}, ("x",)),
        ([], {"NCDB_DEPTH_VARIANT": "x"}, ("x",)),
        (",", {}, DEFAULT_VARIANTS),
        ("a/b", {}, ("a/b",)),
    ],
)
def test_the_argument_outranks_the_variable_and_the_variable_the_default(given, environ, order):
    assert depth_variants(given, environ) == order


def test_the_default_order_is_the_guides():
    assert DEFAULT_VARIANTS == ("newest_depth_maps", "newest_synthetic_depth_maps", "new_depth_maps", "depth_maps")


@pytest.mark.parametrize("name", ["..", "../a", "a/../../b", "/abs"])
@pytest.mark.parametrize("by_variable", [True, False])
def test_a_variant_that_leaves_the_scene_is_an_error(name, by_variable):
    with pytest.raises(NcdbError, match="leaves the scene's folder"):
        depth_variants(*((None, {"NCDB_DEPTH_VARIANT": f"ok,{name}"}) if by_variable else (["ok", name], {})))


# Looking up


def test_the_first_variant_that_has_the_frame_wins_frame_by_frame(tmp_path):
    put(tmp_path, "a/image_a6/1.png", "a/image_a6/2.png", "a/first/1.png", "a/second/1.png", "a/second/2.png")
    tree = tree_of(tmp_path)
    assert tree.locate("a", "1") == FramePaths("a/image_a6/1.png", "a/first/1.png", "first")
    assert tree.locate("a", "2") == FramePaths("a/image_a6/2.png", "a/second/2.png", "second")


def test_the_given_order_decides_and_not_the_alphabet(tmp_path):
    put(tmp_path, "a/image_a6/1.png", "a/first/1.png", "a/second/1.png")
    assert tree_of(tmp_path, ("second", "first")).locate("a", "1").variant == "second"


def test_the_same_stem_in_two_scenes_is_two_frames(tmp_path):
    put(tmp_path, "a/image_a6/1.png", "a/first/1.png", "b/image_a6/1.png", "b/second/1.png")
    tree = tree_of(tmp_path)
    assert tree.locate("a", "1").depth == "a/first/1.png"
    assert tree.locate("b", "1").depth == "b/second/1.png"


def test_a_jpg_serves_where_there_is_no_png(tmp_path):
    put(tmp_path, "a/image_a6/1.jpg", "a/image_a6/2.jpg", "a/image_a6/2.png", "a/first/1.png", "a/first/2.png")
    tree = tree_of(tmp_path)
    assert tree.locate("a", "1").image == "a/image_a6/1.jpg"
    assert tree.locate("a", "2").image == "a/image_a6/2.png"


def test_depth_is_never_a_jpg(tmp_path):
    put(tmp_path, "a/image_a6/1.png", "a/first/1.jpg")
    assert status_of(tree_of(tmp_path)) == "missing_depth"


def test_a_frame_may_lie_in_the_root_itself(tmp_path):
    put(tmp_path, "image_a6/1.png", "first/1.png")
    assert tree_of(tmp_path).locate(".", "1") == FramePaths("image_a6/1.png", "first/1.png", "first")


def test_an_allowed_folder_is_looked_up_by_its_absolute_path(tmp_path):
    put(tmp_path, "other/a/image_a6/1.png", "other/a/first/1.png")
    (tmp_path / "root").mkdir()
    base = f"{tmp_path}/other/a"
    found = tree_of(tmp_path / "root", allowed=[tmp_path / "other"]).locate(base, "1")
    assert found == FramePaths(f"{base}/image_a6/1.png", f"{base}/first/1.png", "first")


def test_stems_are_text_and_not_numbers(tmp_path):
    put(tmp_path, "a/image_a6/0000000567.png", "a/first/0000000567.png")
    tree = tree_of(tmp_path)
    assert tree.locate("a", "0000000567").depth == "a/first/0000000567.png"
    assert status_of(tree, stem="567") == "missing_image"


@pytest.mark.parametrize(
    ("present", "status", "looked"),
    [
        ((), "missing_image", "a/image_a6/1"),
        (("a/first/1.png",), "missing_image", ".png or .jpg"),
        (("a/image_a6/1.png",), "missing_depth", "first, second"),
        (("a/image_a6/1.png", "a/third/1.png"), "missing_depth", "first, second"),
        (("a",), "missing_image", "a/image_a6/1"),
        (("a/image_a6",), "missing_image", "a/image_a6/1"),
    ],
)
def test_a_missing_file_says_where_it_was_looked_for(tmp_path, present, status, looked):
    put(tmp_path, *present)
    with pytest.raises(DataFault) as caught:
        tree_of(tmp_path).locate("a", "1")
    assert caught.value.status == status
    assert looked in caught.value.detail


@pytest.mark.parametrize(("dataset_root", "stem"), [("x" * 300, "1"), ("a", "x" * 300), ("a/" * 3000 + "a", "1")])
def test_a_name_that_is_too_long_is_missing(tmp_path, dataset_root, stem):
    assert status_of(tree_of(tmp_path), dataset_root, stem) == "missing_image"


# What is no file


@pytest.mark.parametrize("place", ["a/image_a6/1.png", "a/first/1.png"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_a_folder_or_a_pipe_in_place_of_a_file_is_missing(tmp_path, place, make):
    put(tmp_path, *{"a/image_a6/1.png", "a/first/1.png"} - {place})
    (tmp_path / place).parent.mkdir(exist_ok=True)
    make(tmp_path / place)
    assert status_of(tree_of(tmp_path)) == ("missing_image" if "image" in place else "missing_depth")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_a_variant_without_a_file_gives_way_to_the_next(tmp_path, make):
    put(tmp_path, "a/image_a6/1.png", "a/first/2.png", "a/second/1.png")
    make(tmp_path / "a/first/1.png")
    assert tree_of(tmp_path).locate("a", "1").variant == "second"


@pytest.mark.parametrize("target", ["nowhere.png", "1.png", "../image_a6/1.png"], ids=["nothing", "itself", "around"])
def test_a_link_to_nothing_or_to_itself_is_missing(tmp_path, target):
    put(tmp_path, "a/first/1.png", "a/image_a6/2.png")
    (tmp_path / "a/image_a6/1.png").symlink_to(target)
    assert status_of(tree_of(tmp_path)) == "missing_image"


def test_a_folder_that_links_to_itself_is_missing(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/image_a6").symlink_to("image_a6")
    assert status_of(tree_of(tmp_path)) == "missing_image"


# Links


def test_links_inside_the_root_are_followed(tmp_path):
    put(tmp_path, "store/1.png", "depth/1.png")
    for link, target in (("a/image_a6/1.png", "../../store/1.png"), ("a/first", "../depth"), ("b", "a")):
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(target)
    tree = tree_of(tmp_path)
    assert tree.locate("a", "1") == FramePaths("a/image_a6/1.png", "a/first/1.png", "first")
    assert tree.locate("b", "1") == FramePaths("b/image_a6/1.png", "b/first/1.png", "first")


@pytest.mark.parametrize(
    "link", ["a/image_a6/1.png", "a/first/1.png", "a/image_a6", "a/first", "a"], ids=lambda link: link.replace("/", "-")
)
def test_a_link_out_of_the_root_is_unsafe_unless_allowed(tmp_path, link):
    put(tmp_path, "outside/a/image_a6/1.png", "outside/a/first/1.png", "root/a/image_a6/1.png", "root/a/first/1.png")
    place = tmp_path / "root" / link
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "outside" / link)
    with pytest.raises(DataFault) as caught:
        tree_of(tmp_path / "root").locate("a", "1")
    assert caught.value.status == "unsafe_path"
    assert f"to {tmp_path}/outside" in caught.value.detail
    assert "--allow-root" in caught.value.detail
    assert tree_of(tmp_path / "root", allowed=[tmp_path / "outside"]).locate("a", "1").variant == "first"


def test_a_link_to_a_folder_with_the_roots_name_in_front_is_unsafe(tmp_path):
    put(tmp_path, "root2/1.png", "root/a/first/1.png")
    (tmp_path / "root/a/image_a6").symlink_to(tmp_path / "root2")
    assert status_of(tree_of(tmp_path / "root")) == "unsafe_path"


def test_an_unsafe_folder_stays_unsafe_for_every_frame(tmp_path):
    put(tmp_path, "outside/1.png", "outside/2.png", "root/a/first/1.png")
    (tmp_path / "root/a/image_a6").symlink_to(tmp_path / "outside")
    tree = tree_of(tmp_path / "root")
    assert [status_of(tree, stem=stem) for stem in "112"] == ["unsafe_path"] * 3


def test_a_root_that_is_itself_a_link_is_no_way_out(tmp_path):
    put(tmp_path, "real/a/image_a6/1.png", "real/a/first/1.png")
    (tmp_path / "root").symlink_to("real")
    assert tree_of(tmp_path / "root").locate("a", "1").variant == "first"


# Listings


def test_each_folder_is_listed_once_and_no_file_is_opened(tmp_path):
    stems = [f"{n:03d}" for n in range(40)]
    put(
        tmp_path,
        *(f"{scene}/{folder}/{stem}.png" for scene in "ab" for folder in ("image_a6", "second") for stem in stems),
    )
    tree = tree_of(tmp_path)
    for stem in stems:
        for scene in "ab":
            assert tree.locate(scene, stem).variant == "second"
    listed = [f"{scene}/{folder}" for scene in "ab" for folder in ("image_a6", "first", "second")]
    assert sorted(tree.root.calls) == sorted(("list", folder) for folder in listed)


def test_a_missing_folder_is_asked_for_once(tmp_path):
    tree = tree_of(tmp_path)
    assert [status_of(tree, stem=str(stem)) for stem in range(5)] == ["missing_image"] * 5
    assert tree.root.calls == [("list", "a/image_a6")]


def test_the_listings_used_longest_ago_are_forgotten_first(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "REMEMBERED_NAMES", 90)  # two scenes of 40 names, and not a third
    names = [f"{folder}/{n}.png" for folder in ("image_a6", "first") for n in range(20)]
    put(tmp_path, *(f"{scene}/{name}" for scene in "abc" for name in names))
    tree = tree_of(tmp_path)

    def listings(scene: str) -> int:
        tree.root.calls.clear()
        tree.locate(scene, "1")
        return len(tree.root.calls)

    assert [listings(scene) for scene in "ab"] == [2, 2]
    assert listings("a") == 0
    assert listings("c") == 2  # takes the place of b, although a came first
    assert [listings(scene) for scene in "ac"] == [0, 0]
    assert listings("b") == 2


def test_a_folder_larger_than_the_memory_for_names_is_still_looked_up(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "REMEMBERED_NAMES", 4)
    put(tmp_path, *(f"a/{folder}/{n}.png" for folder in ("image_a6", "first") for n in range(9)))
    tree = tree_of(tmp_path)
    assert [tree.locate("a", str(n)).depth for n in range(9)] == [f"a/first/{n}.png" for n in range(9)]


def test_missing_folders_are_forgotten_too(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "REMEMBERED_NAMES", 4)
    tree = tree_of(tmp_path)
    for scene in range(100):
        status_of(tree, str(scene))
    status_of(tree, "0")
    assert tree.root.calls.count(("list", "0/image_a6")) == 2
