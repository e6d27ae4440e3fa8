"""The page: whole in itself, safe with any name, and without figures that are none."""

import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from helpers.explaining import (
    budget,
    checked,
    cure,
    explanation,
    figure,
    findings,
    plan_of,
    remedy,
    step,
    suspect,
)

from ncdb_dask.explanation import tables
from ncdb_dask.explanation.budget import ALL, ORACLE, OUTPUT, TITLES
from ncdb_dask.explanation.cures import WIDE
from ncdb_dask.explanation.noise import Noise
from ncdb_dask.explanation.page import divided, page
from ncdb_dask.explanation.stretch import Stretch
from ncdb_dask.explanation.suspects import CONSTANT

pytest.importorskip("matplotlib")
VOID = {"meta", "img", "br", "wbr"}
EVIL = "<script>alert('$x_1$')</script>/&amp;\"quoted\""


class Reader(HTMLParser):
    """Every tag closed in its order; the text, headings and what stands in <pre>."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.tags, self.words, self.typed, self.titles = [], [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("td", "th", "br"):
            self.words.append(" ")  # what stands in two cells is no one word
        if tag in ("pre", "h2"):
            (self.typed if tag == "pre" else self.titles).append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        for tag, found in (("pre", self.typed), ("h2", self.titles)):
            if tag in self.open:
                found[-1] += data

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return plan_of(tmp_path_factory.mktemp("page"), "<b>net & co</b>")


@pytest.fixture
def undrawn(monkeypatch):
    """Without charts: they take most of the time, and are drawn by the tests of what may be missing."""
    for name in ("budget_chart", "suspects_chart", "cures_chart", "steps_chart"):
        monkeypatch.setattr(f"ncdb_dask.explanation.page.{name}", lambda *_: b"")


def draw(plan, found=None, **changes) -> Reader:
    html = page(explanation(plan, found, **changes))
    assert "http" not in html
    return Reader(html)


def test_verdict_then_what_to_do_then_the_evidence(plan, undrawn):
    done = explanation(plan)
    read = Reader(page(done))
    assert read.titles[0] == "What to do next"
    assert read.titles[1:4] == ["Where the loss comes from", "Which tensors carry it", "What cures it"]
    places = [read.text.index(text) for text in (done.verdict.sentence, done.steps[0].text, "RMSE (m)")]
    assert places == sorted(places)


def test_commands_can_be_pasted_as_they_stand(plan, undrawn):
    done = explanation(plan)
    commands = [step.command for step in done.steps if step.command]
    found = [shlex.split(text.replace("\\\n", " ")) for text in Reader(page(done)).typed]
    assert found == [shlex.split(command) for command in commands]
    assert len(commands) > 1


def test_names_are_text_wherever_they_stand(plan, undrawn):
    found = findings(
        suspects=[suspect(EVIL, 0.035, maker="<i>Concat"), suspect(EVIL + "w", 0.01, CONSTANT, "<i>Conv")],
        carriers=[step(EVIL, 0.002)],
        widened=[step(EVIL, 0.02), step(EVIL, 0.001)],
        cures=[cure(WIDE, 0.001, f"--wide {shlex.quote(EVIL)}"), cure("<u>mine", 0.02, "")],
        remedies={EVIL: replace(remedy(), equalize="held by <em>node</em>")},
        preprocessing=[replace(checked()[0], title="<s>other")],
    )
    held = {EVIL: Stretch("<tt>scene", "<q>0001", 3.0, 2.0)}
    read = draw(plan, found, stretches=held, notes=("2 <del>frames",))
    assert not {"script", "i", "u", "em", "s", "tt", "q", "del"} & set(read.tags)
    for text in (EVIL, "<i>Concat", "<u>mine", "<em>node</em>", "<s>other", "<tt>scene", "<q>0001", "2 <del>frames"):
        assert text in read.text, text
    assert "<b>net & co</b>.onnx" in read.text


SILENT = suspect("/a", 0.03, noise=Noise(0.0, 0.0, 0.0, 0.0), inputs={"a": 0.0}, spread=float("inf"))


@pytest.mark.parametrize(
    "found",
    [
        findings(budget=budget(**{OUTPUT: None}), outputs=()),
        findings(floors=()),
        findings(widened=[]),
        findings(carriers=[], suspects=[], remedies={}),
        findings(budget=budget(blocks=False)),
        findings(budget=budget(**{ALL: -0.001, ORACLE: -0.001})),
        findings(cures=[], widened=[]),
        findings(preprocessing=[]),
        findings(suspects=[SILENT], carriers=[step("/a", 0.001)], remedies={"/a": remedy()}),
        findings(suspects=[suspect("w", 0.03, CONSTANT, "Conv")], carriers=[step("w", 0.001)], remedies={}),
    ],
    ids=[
        "output not rounded",
        "no floors",
        "nothing widened",
        "no suspects",
        "no intervals",
        "no loss",
        "no cures",
        "no preprocessing",
        "a silent tensor",
        "weights only",
    ],
)
def test_it_renders_whatever_is_missing_and_shows_no_figure_that_is_none(plan, found):
    read = draw(plan, found, stretches={"/a": Stretch("scene", "0001", 1.0, 0.0)})
    for word in ("nan", "inf", "None", "-0 %", "-0.0000 "):
        assert not re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", read.text), word
    assert ("What 8 bits of output cost, by head" in read.titles) == bool(found.floors)
    assert (TITLES[OUTPUT] in read.text) == (OUTPUT in found.budget.parts)


def test_only_tensors_that_matter_come_first(plan, undrawn):
    done = explanation(plan)
    first, rest = divided(done)
    assert [one.name for one in first] == ["/up/Concat_0", "/up/Concat_1"]
    assert [one.name for one in rest] == ["/enc/Relu"]
    read = Reader(page(done))
    assert read.text.index("/up/Concat_1") < read.text.index("The others that were measured (1)")


def test_what_may_be_chance_is_no_tensor_that_matters(plan):
    lucky = suspect("/lucky", 0.02)
    lucky = replace(lucky, spared=figure(-0.02, sure=False))
    first, rest = divided(explanation(plan, findings(suspects=[*findings().suspects, lucky])))
    assert lucky not in first
    assert lucky in rest


def test_floors_of_8_bits_are_not_those_of_an_output_of_16(plan, undrawn):
    head = "What 8 bits of output cost, by head"
    assert head in draw(plan).titles
    assert head not in draw(replace(plan, npu=replace(plan.npu, activations="uint16"))).titles


def test_a_perfect_calibration_set_is_a_figure_only_where_one_was_given(plan, undrawn):
    assert "with a perfect calibration set" in draw(plan).text
    assert "with a perfect calibration set" not in draw(replace(plan, calibration=None)).text


def test_sums_of_parts_stand_beside_the_whole(plan, undrawn):
    read = draw(plan)
    assert "sum to +0.0390; everything in INT8 costs +0.0400 (98 %)" in read.text
    assert "sum to +0.0380; activations only costs +0.0380 (100 %)" in read.text


def test_a_better_preprocessing_is_marked_and_its_keys_are_shown(plan, undrawn):
    read = draw(plan, findings(preprocessing=checked("channels in the order bgr")))
    assert read.text.count("look at this") == 1
    assert 'channels = "bgr"' in read.typed
    assert "look at this" not in draw(plan).text


def test_names_may_be_broken_after_a_slash_and_stay_what_they_are():
    assert tables.breakable("/a/b_c<d") == "/<wbr>a/<wbr>b_<wbr>c&lt;d"
    assert Reader(tables.breakable(EVIL)).text == EVIL
