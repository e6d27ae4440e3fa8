"""What is said of work that is under way."""

from ncdb_dask.cli.progress import PlainLines, Tally
from ncdb_dask.runtime.events import RunFinished, RunStarted, ShardDone, StepProgress


def test_steps_and_runs_are_told_one_after_another(capsys):
    lines = PlainLines()
    for event in (
        RunStarted("activation statistics", 2, 4),
        ShardDone(0, 2, {"ok": 2}),
        ShardDone(1, 2, {"ok": 1, "missing_image": 1}),
        RunFinished(),
        StepProgress("correcting biases", 1, 2),
        StepProgress("correcting biases", 2, 2),
    ):
        lines(event)
    statistics, biases = capsys.readouterr().err.splitlines()
    assert statistics.startswith("activation statistics: 4/4 (100 %), ")
    assert statistics.endswith("; 3 ok, 1 missing_image")
    assert biases.startswith("correcting biases: 2/2 (100 %), ")
    assert "ok" not in biases


def test_a_step_begins_anew_with_every_name_and_every_time():
    tally = Tally()
    seen = []
    for event in (
        StepProgress("checking", 5, 6),
        StepProgress("measuring", 1, 9),
        StepProgress("measuring", 2, 9),
        StepProgress("measuring", 1, 3),
    ):
        tally.add(event)
        seen.append((tally.what, tally.done, tally.rows))
    assert seen == [("checking", 5, 6), ("measuring", 1, 9), ("measuring", 2, 9), ("measuring", 1, 3)]


def test_a_step_that_has_just_begun_has_no_pace_and_no_statuses_and_a_run_has():
    tally = Tally()
    tally.add(StepProgress("trying cures", 0, 4))
    assert tally.line() == "trying cures: 0/4 (0 %)"
    assert tally.statuses() == ""
    tally.add(RunStarted("scan", 2, 4))
    assert tally.line() == "scan: 0/4 (0 %), 0/s; none yet"
