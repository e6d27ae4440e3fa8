"""The page: whole in itself, safe with any name, and with something to look at."""

import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers.evaluations import faulty, forge, pair, row
from PIL import Image

from ncdb_dask.comparison.comparison import compare_evaluations
from ncdb_dask.comparison.request import CompareRequest
from ncdb_dask.comparison.worst import WIDTH, worst_panels
from ncdb_dask.store.folder import LocalFolder

pytest.importorskip("matplotlib")
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Every tag closed in its order; all attributes and text by tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.attributes, self.words = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def draw(*folders, panels=None, **options) -> str:
    from ncdb_dask.comparison.page import page

    opened = [LocalFolder(str(folder)) for folder in folders]
    return page(compare_evaluations(opened, CompareRequest.of(**{"resamples": 100, **options})), panels)


def pictures(read: Reader) -> list[dict[str, str]]:
    return [attributes for tag, attributes in read.attributes if tag == "img"]


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluations")
    good, bad = pair()
    same = pair(loss=0.0)[1]
    for k, rows in enumerate(zip(good, bad, same, strict=True)):
        for one in rows:
            one["lighting"] = "night" if k % 2 else "day"
    return forge(out / "FP32", good), forge(out / "INT8", bad), forge(out / "W8A16", same)


def test_it_needs_nothing_from_elsewhere_and_is_the_same_each_time(three):
    html = draw(*three)
    assert html == draw(*three)
    read = Reader(html)
    assert not re.search(r"https?://|@import|url\(|<script|<link", html)
    assert all(each["src"].startswith("data:image/png;base64,") and each["alt"] for each in pictures(read))
    assert len(pictures(read)) == 8
    assert {tag for tag, _ in read.attributes} >= {"h1", "h2", "table", "figure", "figcaption"}


def test_it_says_what_the_comparison_says(three):
    text = Reader(draw(*three)).text
    for words in (
        "INT8, W8A16 against FP32",
        "most of it beyond 15 m",
        "no difference can be seen",
        "look at the NPU or change the strategy",
        "100 resamples of 9 blocks of up to 3 neighbouring frames from 3 recordings",
        "abs_rel by lighting",
        "Frames that lost most",
        "synced_data/scene0",
        "How to read this",
        "irmse 1/km, lower is better",
    ):
        assert words in text
    assert "abs_rel by depth variant" not in text  # one value is no grouping


def test_names_are_text(tmp_path):
    scene = '<script>alert("x")</script> & $a_1$'
    rows = [row(scene, f"{n}", [2.0, 20.0], [2.1, 21.0], lighting=f"<b>{n % 2}") for n in range(12)]
    lost = [row(scene, f"{n}", [2.0, 20.0], [2.1, 25.0], lighting=f"<b>{n % 2}") for n in range(12)]
    lost += [row("<i>", "1", [2.0], [2.0]), faulty("x", "y")]
    html = draw(forge(tmp_path / "a", rows), forge(tmp_path / "b", lost), labels=["<FP32>", '"INT8" $x$'])
    read = Reader(html)
    assert "<script" not in html
    assert {tag for tag, _ in read.attributes}.isdisjoint({"script", "i", "b"})
    assert scene in read.text
    assert "<FP32> (baseline)" in read.text


@pytest.mark.parametrize(("scenes", "frames"), [(1, 1), (9, 2), (33, 2), (2, 2600)])
def test_few_and_many(scenes, frames, tmp_path):
    rng = np.random.default_rng(0)
    first, second = (
        [
            row(f"a/long/name/of/a/recording/{n // frames:04d}", f"{n:06d}", [2, 20], [2, 20] * (1 + rng.random(2) / 9))
            for n in range(scenes * frames)
        ]
        for _ in range(2)
    )
    html = draw(forge(tmp_path / "a", first, 4096), forge(tmp_path / "b", second, 4096))
    text = Reader(html).text
    assert ("The 30 of 33 recordings that lost most" in text) == (scenes == 33)
    assert ("too few blocks for an interval" in text) == (scenes == 1)


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 50).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_worst_panels_come_first_and_small(tmp_path, three):
    folder = LocalFolder(str(tmp_path))
    for name in ("worst-10-x", "worst-2-b", "worst-1-a<b>", "median-1-c", "best-1-d"):
        folder.write(f"_panels/{name}.png", png(3 * WIDTH if "a" in name else 300, 90))
    folder.write("_panels/worst-3-damaged.png", b"no picture")
    found = worst_panels(folder)
    assert [(each.name, each.width) for each in found] == [("worst-1-a<b>", WIDTH), ("worst-2-b", 300)]
    read = Reader(draw(*three, panels={"INT8": found, "FP32": []}))
    shown = [each for each in pictures(read) if each["src"].startswith("data:image/jpeg;base64,")]
    assert [each["alt"] for each in shown] == ["INT8: worst-1-a<b>", "INT8: worst-2-b"]
    assert "The worst frames of each evaluation" in read.text
    assert worst_panels(LocalFolder(str(three[0]))) == []
