"""What a fine-tuning came to, from evaluations whose pixels are chosen."""

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from helpers.evaluations import forge, pair  # noqa: E402

import ncdb_dask  # noqa: E402
from ncdb_dask.store.folder import LocalFolder  # noqa: E402
from ncdb_dask.training.finetune import Trained  # noqa: E402
from ncdb_dask.training.report import write_report  # noqa: E402
from ncdb_dask.training.result import Finetuned  # noqa: E402
from ncdb_dask.training.spread import LayerSpread  # noqa: E402

GOOD, BAD = pair()
# A little better than bad, and much.
MIDDLE = pair(loss=0.15)[1]


def layers(spread):
    return [LayerSpread("first", 6, spread, -20.0 - spread), LayerSpread("last", 1, 1.0, None)]


def a_trained(name, factor, epoch, spread):
    after = [{"epoch": number, "abs_rel": 0.4, "loss": 1.0, "penalty": 2.0} for number in (1, 2)]
    rows = [{"epoch": 0, "abs_rel": 0.5}, *after]
    return Trained(name, factor, f"/out/{name}/network.onnx", epoch, rows if epoch else [], layers(spread), 1e-6)


def finetuned(folder, before, **after):
    """Of evaluations of INT8: that before, and those after by the name of the network; FP32 is good everywhere."""
    trained = [a_trained("before", None, 0, 4.0)]
    trained += [a_trained(name, float(number), number + 1, 2.0) for number, name in enumerate(after)]
    fp32 = {f"{one.name} fp32": forge(folder / f"{one.name}-fp32", GOOD) for one in trained}
    int8 = {
        f"{one.name} int8": forge(folder / f"{one.name}-int8", rows)
        for one, rows in zip(trained, (before, *after.values()), strict=True)
    }
    both = fp32 | int8
    whole = ncdb_dask.compare(*both.values(), labels=list(both), resamples=200)
    gains = ncdb_dask.compare(*int8.values(), labels=list(int8), resamples=200)
    penalised = [name for name in int8 if name != "before int8"]
    control = None
    if len(penalised) > 1:
        control = ncdb_dask.compare(*(int8[name] for name in penalised), labels=penalised, resamples=200)
    return Finetuned(str(folder), tuple(trained), whole, gains, control)


def interval(against):
    figure = against.main
    return f"{figure.difference:+.4f} ({figure.low:+.4f} to {figure.high:+.4f})"


def test_a_gain_is_told_the_best_named_and_the_penalty_has_a_part_in_it(tmp_path):
    done = finetuned(tmp_path, BAD, one=MIDDLE, two=GOOD)
    (_, gain), (part,) = done.gains.against, done.control.against
    assert gain.main.high < 0
    assert part.main.high < 0
    assert done.sentence == (
        f"INT8 of two is better than before, abs_rel by {interval(gain)}. "
        f"The penalty has helped: against one, two gains {interval(part)}."
    )
    assert interval(part) in done.text()


def test_what_training_alone_gains_is_not_the_penaltys(tmp_path):
    done = finetuned(tmp_path, BAD, one=GOOD, two=GOOD)
    assert done.sentence.startswith("INT8 of one is better than before")
    assert done.sentence.endswith(
        "Between one and the others no difference can be seen: the penalty has no part in it that shows."
    )


@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_without_a_control_nothing_is_said_of_the_penalty(tmp_path, factor):
    done = finetuned(tmp_path, BAD, one=GOOD)
    before, after = done.trained
    done = replace(done, trained=(before, replace(after, factor=factor)))
    assert done.sentence.startswith("INT8 of one is better than before")
    assert done.sentence.endswith("a training with lambda 0 beside it would tell.") == bool(factor)
    assert done.rows[1]["against_control"] is None


def test_a_loss_is_told(tmp_path):
    done = finetuned(tmp_path, GOOD, one=BAD)
    (loss,) = done.gains.against
    assert done.sentence == f"INT8 is worse than before: that of one by {interval(loss)}."


def test_a_penalty_that_harms_is_told(tmp_path):
    done = finetuned(tmp_path, MIDDLE, one=GOOD, two=BAD)
    assert done.sentence.startswith("INT8 of one is better than before")
    assert "The penalty has harmed: against one, two loses +0." in done.sentence


def test_no_difference_is_no_gain(tmp_path):
    assert finetuned(tmp_path, GOOD, one=GOOD).sentence.startswith("No difference to before can be seen")


def test_a_difference_of_few_frames_is_not_seen(tmp_path):
    done = finetuned(tmp_path, BAD[:3], one=GOOD[:3])
    assert done.sentence.startswith("No difference to before can be seen")
    assert "(too few frames for an interval)" in done.text()
    assert done.rows[1]["against_before"]["low"] is None


def test_rows_and_text_hold_every_network(tmp_path):
    done = finetuned(tmp_path, BAD, one=MIDDLE, two=GOOD)
    assert [(row["network"], row["lambda"], row["epoch"]) for row in done.rows] == [
        ("before", None, 0),
        ("one", 0.0, 1),
        ("two", 1.0, 2),
    ]
    means = {each.label: each.abs_rel for each in done.comparison.evaluations}
    for row in done.rows:
        assert (row["fp32"], row["int8"]) == (means[f"{row['network']} fp32"], means[f"{row['network']} int8"])
    assert done.rows[0]["against_before"] is None
    lines = done.text().splitlines()
    for row, line in zip(done.rows, lines[1:], strict=False):
        assert line.split()[:4] == [row["network"], str(row["epoch"]), f"{row['fp32']:.4f}", f"{row['int8']:.4f}"]
    assert done.sentence in lines
    networks = ("/out/one/network.onnx", "/out/two/network.onnx")
    for part in (*networks, f"{tmp_path}/report.png", f"{tmp_path}/comparison.html"):
        assert part in done.text()
    assert not any(line != line.rstrip() for line in lines)


def test_the_report_is_plain_json_beside_a_picture(tmp_path):
    done = finetuned(tmp_path, BAD, one=GOOD)
    write_report(LocalFolder(str(tmp_path / "out")), done)
    held = json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=pytest.fail)
    assert held == json.loads(json.dumps(done.as_dict()))
    assert held["format"] == "ncdb_dask fine-tuning 1"
    assert held["sentence"] == done.sentence
    assert held["table"] == done.rows
    assert [one["network"] for one in held["networks"]] == ["/out/before/network.onnx", "/out/one/network.onnx"]
    (first, _) = held["layers"]["one"]
    assert (first["layer"], first["spread_before"], first["spread_after"]) == ("first", 4.0, 2.0)
    assert (tmp_path / "out" / "report.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_picture_of_layers_without_any_figure(tmp_path):
    done = finetuned(tmp_path, BAD, one=GOOD)
    for one in done.trained:
        one.layers[:] = [LayerSpread("only", 1, 1.0, None)]
    write_report(LocalFolder(str(tmp_path / "out")), done)
    assert (tmp_path / "out" / "report.png").stat().st_size > 10_000
