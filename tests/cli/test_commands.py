"""The command line as a user meets it: answers, errors in one line, exit codes, help in step with the reference."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.trees import write_split, write_tree

from ncdb_dask.cli.main import COMMANDS, main
from ncdb_dask.errors import RunError
from ncdb_dask.runtime import cluster

REPOSITORY = Path(__file__).parents[2]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def scan(*arguments: object) -> Result:
    return run("scan", *arguments, "--workers", 0, "--no-picture")


def failure(result: Result) -> str:
    """The one line that a failed command says."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_scan_prints_the_guides_summary(data, tmp_path):
    result = scan(data, tmp_path / "scan")
    assert result.exit_code == 0
    for word in ("Samples       24", "Skipped       0", "Mean depth", "Depth range", "newest_depth_maps 24 (100.0 %)"):
        assert word in result.stdout
    assert run("summary", tmp_path / "scan").stdout == result.stdout


def test_the_summary_as_json_goes_to_standard_output_alone(data, tmp_path):
    answer = json.loads(scan(data, tmp_path / "scan", "--json").stdout)
    assert answer["samples"] == 24
    assert answer["status"] == {"ok": 24}
    assert sum(answer["pixel_histogram"]) > 0
    assert json.loads(run("summary", tmp_path / "scan", "--json").stdout)["samples"] == 24


def test_the_picture_is_drawn_beside_the_table_or_where_asked(data, tmp_path):
    result = run("scan", data, tmp_path / "scan", "--workers", 0)
    assert "_overview.png" in result.stdout
    assert run("summary", tmp_path / "scan", "--picture", tmp_path / "p.png").exit_code == 0
    for picture in (tmp_path / "scan" / "_overview.png", tmp_path / "p.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_dry_run_writes_nothing(data, tmp_path):
    result = scan(data, tmp_path / "scan", "--dry-run")
    assert "Entries       24 from train_split.json; 0 duplicates left out" in result.stdout
    assert "Shards        1, of which 0 are done (0 entries)" in result.stdout
    assert json.loads(scan(data, tmp_path / "scan", "--dry-run", "--json").stdout)["entries"] == 24
    assert not (tmp_path / "scan").exists()


def test_progress_is_plain_lines_when_nobody_watches(data, tmp_path):
    assert "24/24 (100 %)" in scan(data, tmp_path / "scan").stderr


def test_a_second_start_says_that_it_continues(data, tmp_path):
    scan(data, tmp_path / "scan", "--shard-size", 8)
    (tmp_path / "scan" / "_manifest.json").unlink()
    (tmp_path / "scan" / "shard-000001.parquet").unlink()
    result = scan(data, tmp_path / "scan")
    assert "continuing: 16 of 24 entries are done already" in result.stderr
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--split", "val_split.json"], "val_split.json: no such split file"),
        (["--depth-scale", "twelve"], "depth scale 'twelve': expected raw units a metre"),
        (["--depth-scale", "-1"], "depth scale '-1': expected raw units a metre"),
        (["--variants", "../depth"], "depth variant '../depth' leaves the scene's folder"),
    ],
)
def test_a_wrong_option_is_one_clear_line_and_makes_no_folder(options, says, data, tmp_path):
    assert says in failure(scan(data, tmp_path / "scan", *options))
    assert not (tmp_path / "scan").exists()


def test_a_root_that_is_not_there(tmp_path):
    assert "no such folder, or an empty one; expected a folder that holds a data set" in failure(
        scan(tmp_path / "nowhere", tmp_path / "scan")
    )


def test_a_protocol_that_is_not_installed_names_what_to_install(tmp_path):
    assert "cannot open nosuch:// locations here" in failure(scan("nosuch://bucket", tmp_path / "scan"))


def test_a_changed_option_names_it_with_both_values(data, tmp_path):
    scan(data, tmp_path / "scan")
    says = failure(scan(data, tmp_path / "scan", "--no-image-stats"))
    assert "image_stats was True, now False" in says
    assert scan(data, tmp_path / "scan", "--no-image-stats", "--fresh").exit_code == 0


def test_a_grown_split_asks_for_update(tmp_path):
    keys = write_tree(tmp_path / "data", 12)
    write_split(tmp_path / "data", keys[:8])
    scan(tmp_path / "data", tmp_path / "scan")
    write_split(tmp_path / "data", keys)
    assert "--update scans the entries that were added" in failure(scan(tmp_path / "data", tmp_path / "scan"))
    result = scan(tmp_path / "data", tmp_path / "scan", "--update")
    assert "Samples       12" in result.stdout


def test_a_summary_of_what_is_no_scan(tmp_path):
    assert "holds no scan" in failure(run("summary", tmp_path))


def test_a_status_is_shown_with_an_example(tmp_path):
    write_tree(tmp_path / "data", 4)
    (tmp_path / "data" / "synced_data" / "b" / "image_a6" / "0000000001.png").unlink()
    result = scan(tmp_path / "data", tmp_path / "scan")
    line = next(line for line in result.stdout.splitlines() if "missing_image" in line)
    assert line.split()[1:4] == ["1", "such", "as:"]
    assert "synced_data/b/image_a6/0000000001" in line


def test_a_scan_that_measures_nothing_is_a_failure_that_shows_why(data, tmp_path):
    result = scan(data, tmp_path / "scan", "--variants", "newest_depth_map")
    assert result.exit_code == 1
    assert "no depth 0000000000.png in synced_data/a under any of newest_depth_map" in result.stdout
    assert "no entry could be measured; do ROOT, the splits and the variants belong together?" in result.stderr


def test_an_out_that_is_a_file(data, tmp_path):
    (tmp_path / "file").touch()
    assert "is a file; expected a folder" in failure(scan(data, tmp_path / "file"))


def test_an_out_that_holds_something_else_is_left_alone(data, tmp_path):
    (tmp_path / "scan" / "photos").mkdir(parents=True)
    assert "holds what is not of a scan (photos, ...)" in failure(scan(data, tmp_path / "scan"))


def test_an_allowed_root_that_is_not_there(data, tmp_path):
    assert "nowhere: no such folder" in failure(scan(data, tmp_path / "s", "--allow-root", tmp_path / "nowhere"))


def test_other_splits_are_named_with_those_before(tmp_path):
    keys = write_tree(tmp_path / "data", 4)
    write_split(tmp_path / "data", keys, "val_split.json")
    scan(tmp_path / "data", tmp_path / "scan")
    says = failure(scan(tmp_path / "data", tmp_path / "scan", "--split", "val_split.json"))
    assert "was planned from train_split.json, now from val_split.json" in says


def test_a_finished_scan_that_lost_a_shard_says_how_to_mend_it(data, tmp_path):
    scan(data, tmp_path / "scan", "--shard-size", 8)
    (tmp_path / "scan" / "shard-000001.parquet").unlink()
    assert "1 of 3 shards are missing or cut; run its scan again" in failure(run("summary", tmp_path / "scan"))
    assert scan(data, tmp_path / "scan").exit_code == 0
    assert run("summary", tmp_path / "scan").exit_code == 0


def test_the_home_folder_is_understood(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert scan(data, "~/scan").exit_code == 0
    assert (tmp_path / "scan" / "_manifest.json").exists()


@pytest.mark.parametrize(("shard_size", "workers", "started"), [(24, 50, 1), (8, 50, 3), (8, 2, 2)])
def test_there_are_no_more_workers_than_shards(shard_size, workers, started, data, tmp_path, monkeypatch):
    def refuse(spec, **_):
        raise RunError(f"asked for {spec.workers}")

    monkeypatch.setattr(cluster, "open_client", refuse)
    result = run("scan", data, tmp_path / "scan", "--shard-size", shard_size, "--workers", workers)
    assert failure(result) == f"Error: asked for {started}"


@pytest.mark.parametrize("arguments", [["scan"], ["scan", "a"], ["nosuch"], ["scan", "a", "b", "--workers", "-1"]])
def test_wrong_usage_exits_with_2(arguments):
    assert run(*arguments).exit_code == 2


def test_synth_makes_a_tree_that_scans_without_a_fault(tmp_path):
    result = run("synth", tmp_path / "tree", "--scenes", 2, "--frames", 8)
    assert result.exit_code == 0, result.output
    result = scan(tmp_path / "tree", tmp_path / "scan", "--split", "train_split.json", "--split", "val_split.json")
    assert "Skipped       0" in result.stdout
    assert "not empty" in failure(run("synth", tmp_path / "tree"))


def test_the_command_is_a_plugin_of_dask(data, tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "dask", "ncdb", "scan", data, tmp_path / "scan", "--workers", "0", "--no-picture"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Samples       24" in ran.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_list_of_commands_repeats_their_first_line(name):
    command = main.get_command(None, name)
    assert command.get_short_help_str(limit=200).rstrip(".") == COMMANDS[name].rstrip(".")


def test_the_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from ncdb_dask.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "heavy = {'dask', 'distributed', 'numpy', 'pandas', 'pyarrow', 'matplotlib', 'onnxruntime', 'torch', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_reference_is_in_step_with_the_program():
    path = REPOSITORY / "docs" / "reference" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for file, page in generate.PAGES.items():
        assert (path.parent / file).read_text() == page(), f"docs/reference/{file} is out of step: make reference"
