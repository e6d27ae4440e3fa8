"""``compare`` as a user meets it."""

import json

import pytest
from click.testing import CliRunner, Result
from helpers.evaluations import forge, pair

import ncdb_dask
from ncdb_dask.cli.main import main


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluations")
    good, bad = pair()
    return forge(out / "FP32", good), forge(out / "INT8", bad)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def failure(result: Result) -> str:
    """The one line that a failed command says."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    return line


def test_it_prints_the_sentence_first_and_succeeds_whatever_the_verdict(evaluations):
    result = run(*evaluations, "--resamples", 200)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("INT8 against FP32: abs_rel +0.0")
    assert lines[0].endswith("over 24 frames; worse in 24; most of it beyond 15 m")
    assert any("look at the NPU or change the strategy" in line for line in lines)
    assert result.stderr == ""


def test_every_option_reaches_the_comparison(evaluations, tmp_path):
    options = ["--label", "one", "--label", "two", "--resamples", 150, "--seed", 7, "--block", 2]
    options += ["--good", 0.05, "--poor", 0.06, "--json", "--out", tmp_path / "report.html"]
    answer = json.loads(run(*evaluations, *options).stdout)
    settings = {"labels": ["one", "two"], "resamples": 150, "seed": 7, "block": 2, "good": 0.05, "poor": 0.06}
    assert answer["settings"] == {**settings, "level": 0.95}
    assert (
        answer["against"][0]["resampling"]
        == "150 resamples of 12 blocks of up to 2 neighbouring frames from 3 recordings"
    )
    assert answer["page"] == f"{tmp_path}/report.html"
    assert "<h1>two against one</h1>" in (tmp_path / "report.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_page_is_named_on_standard_output(evaluations, tmp_path):
    result = run(*evaluations, "--resamples", 100, "--out", tmp_path / "new" / "report.html")
    assert result.stdout.splitlines()[-1] == f"Page  {tmp_path}/new/report.html"
    assert (tmp_path / "new" / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_python_says_the_same(evaluations):
    found = ncdb_dask.compare(*evaluations, resamples=200)
    assert found.text() + "\n" == run(*evaluations, "--resamples", 200).stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--resamples", 10], "resamples 10: expected at least 100"),
        (["--block", "many"], "block 'many': expected a number of frames, at least 1, or 'recording'"),
        (["--label", "one"], "labels 'one': expected 2 different ones"),
        (["--good", 0.2], "good 0.2, poor 0.1: expected two abs_rel above 0"),
    ],
)
def test_a_wrong_option_is_one_clear_line_and_writes_nothing(options, says, evaluations, tmp_path):
    assert says in failure(run(*evaluations, *options, "--out", tmp_path / "report.html"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_evaluation(evaluations, tmp_path):
    assert "expected at least two" in failure(run(evaluations[0]))
    assert "holds no" in failure(run(evaluations[0], tmp_path))
    (tmp_path / "file").touch()
    says = failure(run(*evaluations, "--resamples", 100, "--out", tmp_path / "file" / "report.html"))
    assert "file: cannot write report.html" in says
    assert run().exit_code == 2


@pytest.mark.parametrize("name", ["report", "shard-000000.parquet"])
def test_a_page_is_called_one(evaluations, name):
    """So that no file of an evaluation is written over."""
    place = evaluations[0] / name
    before = place.read_bytes() if place.exists() else None
    assert failure(run(*evaluations, "--out", place)) == f"Error: {place}: expected a name that ends in .html, the page"
    assert (place.read_bytes() if place.exists() else None) == before


def test_a_page_at_a_url(evaluations):
    import fsspec

    assert run(*evaluations, "--resamples", 200, "--out", "memory://page.html").exit_code == 0
    assert fsspec.filesystem("memory").cat("/page.html").startswith(b"<!DOCTYPE html>")
