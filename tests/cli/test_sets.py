"""``sample`` and ``sample-report`` as a user meets them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.scans import forge, key, row
from helpers.trees import write_split

import ncdb_dask
from ncdb_dask.cli.main import main
from ncdb_dask.training.shipped import shipped_network

ROWS = [
    row(
        "a" if n % 2 else "b",
        f"{n // 2:010d}",
        0.5 + n / 10,
        phash=f"{(n * 0x9E3779B97F4A7C15) % 2**64:016x}",
        scale_ambiguous=n == 7,
    )
    for n in range(200)
]


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    return forge(tmp_path_factory.mktemp("forged") / "scan", ROWS, shard_size=64)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def failure(result: Result) -> str:
    """The one line that a failed command says."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    return line


def test_sample_prints_the_report_and_where_everything_is(scan, tmp_path):
    split = tmp_path / "set.json"
    result = run("sample", scan, split, "--size", 40)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "Frames        40 of 199  (strategy stratified, seed 42)"
    assert lines[1] == "Left out      1 unit of depth in doubt"
    for words in (["near", "25.0%", "10", "10", "24"], ["very_far", "10.0%", "4", "4", "55"]):
        assert words in [line.split() for line in lines]
    for place in (split, tmp_path / "set.report.json", tmp_path / "set.png"):
        assert any(line.endswith(f" {place}") for line in lines)
        assert place.exists()
    assert len(json.loads(split.read_text())) == 40
    assert result.stderr == ""


def test_json_goes_to_standard_output_alone(scan, tmp_path):
    answer = json.loads(run("sample", scan, tmp_path / "set.json", "--size", 40, "--json", "--no-picture").stdout)
    report = json.loads((tmp_path / "set.report.json").read_text())
    assert answer.pop("files") == {"split": f"{tmp_path}/set.json", "report": f"{tmp_path}/set.report.json"}
    assert answer.items() <= report.items()
    assert {path.name for path in tmp_path.iterdir()} == {"set.json", "set.report.json"}


def test_every_option_reaches_the_request(scan, tmp_path):
    write_split(tmp_path, [key(one) for one in ROWS[:3]], "val.json")
    write_split(tmp_path, [key(one) for one in ROWS[50:52]], "test.json")
    (tmp_path / "w.toml").write_text("low.day = 1\nhigh.day = 3\n")
    common = ["--bins", "0,5,30", "--names", "low,high", "--min-gap", "2", "--min-valid", "1%", "--seed", "7"]
    common += ["--ambiguous", "keep", "--synthetic", "leave-out", "--beyond", "nearest", "--no-picture", "--json"]
    common += ["--exclude", tmp_path / "val.json", "--exclude", tmp_path / "test.json", "--size", "20"]
    balanced = ["--strategy", "balanced", "--by", "depth_range,lighting", "--weights", tmp_path / "w.toml"]
    answer = json.loads(run("sample", scan, tmp_path / "set.json", *common, *balanced).stdout)
    assert answer["settings"] == {
        "strategy": "balanced",
        "size": 20,
        "seed": 7,
        "by": ["depth_range", "lighting"],
        "ratios": None,
        "weights": {"low/day": 1.0, "high/day": 3.0},
        "statistics": None,
        "bins": [0, 5, 30],
        "names": ["low", "high"],
        "exclude": [f"{tmp_path}/val.json", f"{tmp_path}/test.json"],
        "min_gap": 2,
        "min_valid": "1%",
        "ambiguous": "keep",
        "synthetic": "leave-out",
        "beyond": "nearest",
    }
    assert [(stratum["name"], stratum["granted"]) for stratum in answer["strata"]] == [("low/day", 5), ("high/day", 15)]
    assert answer["left_out"]["excluded"] == 5
    answer = json.loads(run("sample", scan, tmp_path / "set.json", *common, "--ratios", ".9,.1").stdout)
    assert [stratum["granted"] for stratum in answer["strata"]] == [18, 2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--strategy", "best"],
            "strategy 'best': expected one of stratified, balanced, matched, coverage, random, uniform",
        ),
        (["--size", "0"], "size 0: expected a number of frames, at least 1"),
        (["--size", "1000"], "1000 frames are wanted and 199 can be chosen (near 24, mid 50, far 70, very_far 55)"),
        (["--bins", "0,9,4"], "bins 0,9,4: expected depths in metres that rise"),
        (["--ratios", ".5,.5,.5,.5"], "ratios 0.5,0.5,0.5,0.5: sum to 2"),
        (
            ["--strategy", "random", "--ratios", "1,0,0,0"],
            "--ratios is for --strategy stratified; random does not use it",
        ),
        (["--strategy", "coverage"], "strategy coverage: found no --statistics, expected the folder"),
        (["--statistics", "kept"], "--statistics is for --strategy coverage; stratified does not use it"),
        (["--strategy", "coverage", "--statistics", "kept"], "kept: holds no activation statistics; make those of the"),
        (["--strategy", "balanced", "--by", "colour"], "by 'colour' is no column"),
        (["--strategy", "balanced", "--by", "mean_depth"], "column mean_depth has 199 different values"),
        (["--strategy", "balanced", "--weights", "none.toml"], "none.toml: no weight table that can be read"),
        (["--exclude", "none.json"], "none.json: no such split file"),
        (["--min-gap", "-1"], "min-gap -1"),
        (["--min-valid", "most"], "min-valid 'most'"),
        (["--ambiguous", "perhaps"], "ambiguous 'perhaps': expected keep or leave-out"),
        (["--contact-sheet"], "was there when it was scanned and is gone"),
    ],
)
def test_a_wrong_option_is_one_clear_line_and_writes_nothing(options, says, tmp_path):
    found = [
        {**one, "image_path": "i.png", "depth_path": "d.png", "image_width": 16, "image_height": 12} for one in ROWS
    ]
    scan = forge(tmp_path / "scan", found, root=str(tmp_path))
    result = run("sample", scan, tmp_path / "sets" / "set.json", "--size", "20", *options)
    assert says in failure(result)
    assert not (tmp_path / "sets").exists()


def test_a_foreign_split_needs_overwrite(scan, tmp_path):
    split = write_split(tmp_path, [("a", "1")], "train_split.json")
    says = failure(run("sample", scan, split, "--size", 5))
    assert (
        "exists and is of no set that was chosen here, or was changed since; choose another name, or give --overwrite"
        in says
    )
    assert run("sample", scan, split, "--size", 5, "--overwrite", "--no-picture").exit_code == 0
    assert run("sample", scan, split, "--size", 6, "--no-picture").exit_code == 0
    assert len(json.loads(split.read_text())) == 6


def test_what_is_no_scan(tmp_path):
    assert "holds no scan; `ncdb-dask scan ROOT OUT` makes one" in failure(run("sample", tmp_path, tmp_path / "s.json"))
    assert "holds no scan" in failure(run("sample-report", tmp_path / "s.json", tmp_path))


def test_sample_report_says_what_sample_said(scan, tmp_path):
    made = run("sample", scan, tmp_path / "set.json", "--size", 40, "--no-picture").stdout.splitlines()
    result = run("sample-report", tmp_path / "set.json", scan, "--picture", tmp_path / "p.png")
    assert result.exit_code == 0, result.output
    shown = result.stdout.splitlines()
    told = [line for line in made if line.startswith(("Left out", "Mean", "Pixel", "Scene", "Lighting", "Distinct"))]
    assert len(told) == 6
    assert set(told) <= set(shown)
    assert shown[0] == "Frames        40 of 199"
    assert f"Picture       {tmp_path}/p.png" in shown
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_sample_report_as_json(scan, tmp_path):
    split = write_split(tmp_path, [key(ROWS[0]), key(ROWS[1]), ("elsewhere", "1")], "mine.json")
    val = write_split(tmp_path, [key(ROWS[1]), key(ROWS[2])], "val.json")
    options = ["--bins", "0,10,inf", "--names", "low,high", "--exclude", val, "--min-gap", "5", "--json"]
    answer = json.loads(run("sample-report", split, scan, *options).stdout)
    assert (answer["size"], answer["unknown"], answer["leaks"]["excluded"]) == (2, 1, 1)
    assert [stratum["name"] for stratum in answer["strata"]] == ["low", "high"]
    assert answer["settings"]["min_gap"] == 5
    assert answer["files"] == {"split": str(split)}


@pytest.mark.parametrize("option", ["--picture", "--contact-sheet"])
def test_a_picture_that_cannot_be_written(option, data, tmp_path):
    run("scan", data, tmp_path / "scan", "--workers", 0, "--no-picture")
    (tmp_path / "file").touch()
    result = run("sample-report", data / "train_split.json", tmp_path / "scan", option, tmp_path / "file" / "p.png")
    assert "file: cannot write p.png (" in failure(result)


def test_a_set_of_which_the_scan_knows_nothing(scan, tmp_path):
    split = write_split(tmp_path, [("elsewhere", "1")], "mine.json")
    assert "none of the 1 frames of mine.json is in" in failure(run("sample-report", split, scan))


@pytest.mark.parametrize("arguments", [["sample"], ["sample", "a"], ["sample", "a", "b.json", "--size", "many"]])
def test_wrong_usage_exits_with_2(arguments):
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "sample",
            ["--strategy", "--ratios", "--exclude", "--min-gap", "--min-valid", "--contact-sheet", "--overwrite"],
        ),
        ("sample-report", ["--bins", "--exclude", "--picture", "--contact-sheet", "--json"]),
    ],
)
def test_the_help_names_the_options(command, options):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "SPLIT.json" in result.stdout
    assert all(option in result.stdout for option in options)


def test_a_contact_sheet_from_the_command_line(data, tmp_path):
    run("scan", data, tmp_path / "scan", "--workers", 0, "--no-picture")
    result = run(
        "sample", tmp_path / "scan", tmp_path / "set.json", "--size", 6, "--strategy", "first", "--contact-sheet"
    )
    assert result.exit_code == 0, result.output
    assert f"Contact sheet {tmp_path}/set.sheet.png" in result.stdout
    assert (tmp_path / "set.sheet.png").read_bytes().startswith(b"\x89PNG")


def test_coverage_of_the_shipped_network_on_rendered_frames(tmp_path):
    tree, scanned, kept = tmp_path / "tree", tmp_path / "scan", tmp_path / "statistics"
    assert run("synth", tree, "--scenes", 6, "--frames", 8).exit_code == 0
    assert run("scan", tree, scanned, "--split", "train_split.json", "--split", "val_split.json").exit_code == 0
    found = ncdb_dask.activation_statistics(shipped_network(), kept, root=tree, split="train_split.json")
    common = ["--size", 16, "--exclude", "val_split.json", "--json"]
    answer = json.loads(
        run("sample", scanned, tmp_path / "set.json", *common, "--strategy", "coverage", "--statistics", kept).stdout
    )
    cover = answer["coverage"]
    assert cover["statistics"] == found.folder
    assert (cover["tensors"], cover["frames"]) == (len(found.tensors), len(found.frames))
    assert (
        cover["random_worst"] <= cover["random_median"] < cover["share"] == cover["by_size"][15] <= cover["most"] == 1
    )
    first = json.loads((tmp_path / "set.json").read_text())[: cover["enough"]]
    assert {(item["dataset_root"], item["new_filename"]) for item in first} <= {*found.frames}
    # So many frames give minmax, which is all that their extremes decide, the ranges of all frames.
    everything = ["--size", cover["enough"], *common[2:], "--strategy", "coverage", "--statistics", kept]
    assert json.loads(run("sample", scanned, tmp_path / "all.json", *everything).stdout)["coverage"]["share"] == 1
    some = ncdb_dask.activation_statistics(shipped_network(), kept, root=tree, split=tmp_path / "all.json")
    assert len(some.frames) == cover["enough"] < len(found.frames)
    assert some.ranges("minmax") == found.ranges("minmax")
