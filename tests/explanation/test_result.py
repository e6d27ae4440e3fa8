"""What an explanation tells, as text and as JSON; and what it costs at most."""

import json
import math
from dataclasses import replace

import pytest
from helpers.explaining import budget, explanation, findings, plan_of, remedy, suspect

from ncdb_dask.explanation.budget import ORACLE, OUTPUT, TITLES
from ncdb_dask.explanation.noise import Noise
from ncdb_dask.explanation.report import write_report
from ncdb_dask.explanation.stretch import Stretch


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return plan_of(tmp_path_factory.mktemp("plan"))


BARE = findings(
    budget=budget(blocks=False, **{OUTPUT: None}), carriers=[], widened=[], cures=[], floors=(), preprocessing=[]
)
SILENT = suspect("/a", 0.03, noise=Noise(0.0, 0.0, 0.0, 0.0), inputs={}, spread=1.0)


@pytest.mark.parametrize(
    "found", [findings(), BARE, findings(suspects=[SILENT], remedies={"/a": remedy()}, carriers=[])]
)
def test_the_report_is_strict_json_of_all_findings(plan, tmp_path, found, monkeypatch):
    monkeypatch.setattr("ncdb_dask.explanation.report.page", lambda done: "<!DOCTYPE html>")
    plan = replace(plan, out=type(plan.out)(str(tmp_path)))
    done = explanation(plan, found, stretches={"/a": Stretch("scene", "0001", 1.0, 0.0)})
    write_report(done)
    report = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert report == json.loads(json.dumps(done.as_dict()))
    assert report["sentence"] == done.verdict.sentence
    assert [part["name"] for part in report["budget"]["parts"]] == list(found.budget.parts)
    assert [one["name"] for one in report["suspects"]] == [one.name for one in found.suspects]
    assert report["stretches"]["/a"]["ratio"] is None
    assert [one["command"] for one in report["next"]] == [one.command for one in done.steps]
    assert report["page"] == str(tmp_path / "explanation.html")
    assert (tmp_path / "explanation.html").read_text().startswith("<!DOCTYPE html>")


def test_the_text_begins_with_the_verdict_and_ends_with_the_page(plan):
    done = explanation(plan, notes=("2 frames could not be used",))
    lines = done.text().splitlines()
    assert lines[0] == done.verdict.sentence
    assert lines[-1].split() == ["Page", done.page]
    for name, part in done.findings.budget.parts.items():
        (line,) = [line for line in lines if line.startswith(TITLES[name] + "  ")]
        assert f"{part.cost.other:.4f}" in line
        assert f"{part.cost.low:+.4f}" in line
    for step in done.steps:
        assert f"- {step.text}" in lines
        assert f"    {step.command}" in lines
    assert "Note: 2 frames could not be used" in lines


def test_columns_stand_below_each_other(plan):
    lines = explanation(plan).text().splitlines()
    place = lines[2].index("abs_rel")
    assert {line[place : place + 2] for line in lines[3:11]} == {"0."}
    assert {line[place - 1] for line in lines[3:11]} == {" "}


def test_without_intervals_the_text_shows_none(plan):
    text = explanation(plan, BARE).text()
    assert "[" not in text.partition("What to do")[0]
    for word in ("nan", "None", "inf\n"):
        assert word not in text


def test_a_share_of_no_loss_is_none():
    assert budget(all=-0.01).share(ORACLE) is None
    assert math.isclose(budget().share(ORACLE), 0.039 / 0.04)
    assert budget(**{OUTPUT: None}).share(OUTPUT) is None


def test_a_new_request_leaves_no_page_of_an_earlier_one(plan, tmp_path):
    plan = replace(plan, out=type(plan.out)(str(tmp_path)))
    plan.begin()
    plan.out.write_all({"explanation.html": b"old", "report.json": b"{}"})
    (tmp_path / "quantized").mkdir()
    (tmp_path / "evaluations" / "done").mkdir(parents=True)
    (tmp_path / "evaluations" / "killed.onnx").touch()
    plan.begin()
    assert {path.name for path in tmp_path.iterdir()} == {"request.json", "quantized", "evaluations"}
    assert [path.name for path in (tmp_path / "evaluations").iterdir()] == ["done"]
    replace(plan, fresh=True).begin()
    assert {path.name for path in tmp_path.iterdir()} == {"request.json"}
