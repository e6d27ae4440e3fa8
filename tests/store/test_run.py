"""A run's life in its folder, for a made-up kind: beginning, going on, growing, and what is refused."""

from pathlib import Path

import pyarrow as pa
import pytest
from helpers.folders import InterruptedFolder

from ncdb_dask.errors import PlanError
from ncdb_dask.store.folder import Folder, LocalFolder
from ncdb_dask.store.manifest import MANIFEST_FILE, publish, read_manifest
from ncdb_dask.store.plan import PLAN_FILE, Plan, read_items, read_plan
from ncdb_dask.store.run import Kind, PlannedRun, continued_run, grown_run, held_plan, new_run, require_settings
from ncdb_dask.store.shards import commit, shard_file

TOY = Kind("toy", inputs="boxes", files=("toys.txt",))
GROWING = Kind("toy", inputs="boxes", update="count", files=("toys.txt",))
SETTINGS = {"colour": "red", "wheels": 4}
INPUTS = {"box.json": "00"}


@pytest.fixture
def out(tmp_path: Path) -> LocalFolder:
    return LocalFolder(str(tmp_path / "out"))


def items(*values: int) -> pa.Table:
    return pa.table({"value": pa.array(values, pa.int64())})


def new(out: Folder, count: int = 5, **changes: object) -> PlannedRun:
    return new_run(out, TOY, SETTINGS, INPUTS, items(*range(count)), **({"shard_size": 2} | changes))


def do(run: PlannedRun, *shards: int) -> None:
    """Carry out a run, or only some of its shards, which leaves it unfinished."""
    run.write()
    receipts = dict(run.done)
    for task in run.left:
        if not shards or task.shard in shards:
            rows = pa.table({"status": ["ok"] * task.rows, **read_table(run.out, task)})
            receipts[task.shard] = commit(run.out, run.plan.id, task.shard, rows, 0.1)
    if not shards:
        publish(run.out, run.plan, receipts.values(), {})


def read_table(out: Folder, task) -> dict[str, list[int]]:
    return {"value": [item["value"] for item in read_items(out, task)]}


def held(out: Folder, fresh: bool = False) -> Plan:
    plan = held_plan(out, TOY, fresh)
    assert plan is not None
    return plan


def again(out: Folder, kind: Kind = TOY, settings=SETTINGS, inputs=INPUTS, **changes: object) -> PlannedRun:
    return continued_run(out, kind, held(out), settings, inputs, **changes)


def contents(out: LocalFolder) -> dict[str, bytes]:
    root = Path(out.path)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def left(run: PlannedRun) -> list[int]:
    return [task.shard for task in run.left]


# Beginning


def test_nothing_is_written_before_it_is_asked_for(out):
    assert held_plan(out, TOY) is None
    run = new(out)
    assert (left(run), run.progress(), run.finished) == ([0, 1, 2], (0, 0, {}), False)
    assert not Path(out.path).exists()
    run.write()
    assert read_plan(out) == run.plan
    assert [read_table(out, task)["value"] for task in run.left] == [[0, 1], [2, 3], [4]]


def test_the_plan_says_what_was_asked_for(out):
    plan = new(out, duplicates=3).plan
    assert (plan.kind, plan.settings, plan.inputs, plan.duplicates) == ("toy", SETTINGS, INPUTS, 3)


def test_a_run_without_items_is_refused(out):
    with pytest.raises(PlanError, match=r"nothing to be done; expected at least one entry in box\.json"):
        new(out, 0)


def test_writing_twice_writes_once(out):
    run = new(out)
    run.write()
    before = {path: path.stat().st_mtime_ns for path in Path(out.path).rglob("*")}
    again(out).write()
    assert {path: path.stat().st_mtime_ns for path in Path(out.path).rglob("*")} == before


# Going on


def test_a_run_goes_on_with_the_shards_that_are_left(out):
    do(new(out), 1)
    run = again(out)
    assert (left(run), run.progress(), run.finished) == ([0, 2], (1, 2, {"ok": 2}), False)
    do(run)
    assert again(out).finished
    assert left(again(out)) == []


def test_a_finished_run_that_lost_a_shard_is_not_finished(out):
    do(new(out))
    (Path(out.path) / shard_file(1)).unlink()
    run = again(out)
    assert (left(run), run.finished) == ([1], False)


def test_other_settings_are_all_named_with_both_values(out):
    do(new(out), 0)
    before = contents(out)
    with pytest.raises(PlanError) as caught:
        again(out, settings={"colour": "blue", "wheels": 4, "doors": 2}, shard_size=3)
    assert "colour was 'red', now 'blue'; doors was None, now 2; shard_size was 2, now 3" in str(caught.value)
    assert contents(out) == before


def test_a_setting_that_is_not_given_any_more_differs(out):
    new(out).write()
    with pytest.raises(PlanError, match=r"\(wheels was 4, now None\)"):
        require_settings(out, held(out), {"colour": "red"})


def test_settings_can_be_compared_by_themselves(out):
    new(out).write()
    require_settings(out, held(out), SETTINGS)
    require_settings(out, held(out), SETTINGS, 2)
    with pytest.raises(PlanError, match="wheels was 4, now 3"):
        require_settings(out, held(out), SETTINGS | {"wheels": 3})


@pytest.mark.parametrize(
    ("inputs", "says", "hint"),
    [
        ({"box.json": "01"}, "with other contents of box.json", "--update counts the entries that were added, "),
        (INPUTS | {"more.json": "02"}, "from box.json, now from box.json, more.json", ", --update to count what these"),
    ],
    ids=["changed", "another"],
)
def test_other_inputs_are_named_and_update_is_offered_only_where_there_is_one(out, inputs, says, hint):
    new(out).write()
    for kind in (TOY, GROWING):
        with pytest.raises(PlanError) as caught:
            again(out, kind, inputs=inputs)
        assert says in str(caught.value)
        assert "--fresh" in str(caught.value)
        assert (hint in str(caught.value)) == (kind is GROWING)
        assert ("--update" in str(caught.value)) == (kind is GROWING)


def test_a_grown_run_keeps_what_is_done_and_plans_what_is_new(out):
    do(new(out))
    (Path(out.path) / "toys.txt").write_text("5 toys")
    run = grown_run(out, GROWING, held(out), {"box.json": "01"}, items(5, 6, 7), 1)
    assert (left(run), run.finished, run.plan.duplicates) == ([3, 4], False, 1)
    assert read_manifest(out) is not None
    run.write()
    assert not {"toys.txt", MANIFEST_FILE} & contents(out).keys()
    do(again(out, inputs={"box.json": "01"}))
    assert again(out, inputs={"box.json": "01"}).finished


def test_inputs_that_changed_without_new_items_only_change_the_plan(out):
    do(new(out))
    run = grown_run(out, GROWING, held(out), {"box.json": "01"}, items(), 0)
    assert left(run) == []
    run.write()
    assert (held(out).inputs, held(out).parts) == ({"box.json": "01"}, run.seen.parts)


@pytest.mark.parametrize("write", range(8))  # items, plan, three shards with receipts, manifest: some of them
def test_a_run_that_failed_at_any_write_goes_on(out, write):
    with pytest.raises(OSError, match="Input/output"):
        do(new(InterruptedFolder(out.path, [write])))
    do(again(out) if held_plan(out, TOY) else new(out))
    assert again(out).finished


# What is refused


def test_a_run_of_another_kind_is_refused(out):
    new(out).write()
    for fresh in (True, False):
        with pytest.raises(PlanError, match="holds a run of kind 'toy', not an engine; choose another folder"):
            held_plan(out, Kind("engine", "an"), fresh)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("name", ["photo.jpg", "shard-000000.parquet", "toys.txt"])
def test_a_folder_with_other_files_is_no_output(out, name, fresh):
    out.write(name, b"mine")
    with pytest.raises(PlanError, match=f"holds what is not of a toy .{name}, .*; choose a new or empty folder"):
        held_plan(out, TOY, fresh)


def test_starting_over_refuses_files_that_were_added_and_knows_its_own(out):
    do(new(out))
    out.write("toys.txt", b"5 toys")
    assert held_plan(out, TOY, fresh=True) is None
    out.write("thesis.tex", b"mine")
    with pytest.raises(PlanError, match=r"thesis\.tex"):
        held_plan(out, TOY, fresh=True)
    assert held_plan(out, TOY) is not None  # going on harms no file


def test_a_file_is_no_output(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(PlanError, match=r"is a file; expected a folder: .* or that of an earlier toy"):
        held_plan(LocalFolder(str(tmp_path / "out")), TOY)


def test_a_damaged_plan_is_refused_and_can_be_started_over(out):
    do(new(out))
    out.write("toys.txt", b"5 toys")
    out.write(PLAN_FILE, b"{")
    with pytest.raises(PlanError, match=r"is damaged .*--fresh starts over"):
        held_plan(out, TOY)
    assert held_plan(out, TOY, fresh=True) is None
    do(new(out, fresh=True))
    assert again(out).finished


# Starting over, and two runs in one folder


def test_starting_over_removes_the_runs_own_files_when_it_writes(out):
    do(new(out, shard_size=1))
    for name in ("toys.txt", "_notes.txt"):
        out.write(name, b"5 toys")
    before = contents(out)
    run = new(out, fresh=True)
    assert (left(run), contents(out)) == ([0, 1, 2], before)
    run.write()
    assert contents(out).keys() == {"_notes.txt", PLAN_FILE, "_plan/items-000.plan"}
    assert again(out).plan == run.plan


def test_a_run_that_another_one_has_overtaken_writes_nothing(out):
    first, second = new(out), new(out)
    second.write()
    before = contents(out)
    with pytest.raises(PlanError, match="another run has begun in this folder since; give the command again"):
        first.write()
    assert contents(out) == before


def test_a_run_that_was_started_over_meanwhile_is_not_continued(out):
    do(new(out), 0)
    late = again(out)
    new(out, fresh=True).write()
    with pytest.raises(PlanError, match="another run has begun"):
        late.write()
