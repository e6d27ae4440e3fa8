"""Evaluations by real processes and on a real cluster: the figures of the definitions, whatever dies on the way."""

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from distributed import Client
from helpers.deaths import Killed, at_removal, at_write, full_disk
from helpers.evaluate_driver import die_at_evaluated_frame
from helpers.faults import Deadly, always, once
from helpers.judging import RANGES, figures, judged, paired, pixels_of, truth_of
from helpers.networks import KNOWN, NO_MAP, describe, write_network
from helpers.trees import write_frame, write_split, write_tree
from PIL import Image

import ncdb_dask
from ncdb_dask.errors import EvaluationError, NcdbError, PlanError, SpecError
from ncdb_dask.evaluation.metrics import METRICS
from ncdb_dask.evaluation.schema import SCHEMA
from ncdb_dask.evaluation.summary import Evaluation
from ncdb_dask.runtime.events import ShardDone, ShardSuspected

TESTS = Path(__file__).parents[1]
FRAMES = 12
Key = tuple[str, str]
Evaluate = Callable[..., Evaluation]
# What each frame suffers from, by its place in the split; what is not here is sound.
STATUS = {
    1: "missing_image",
    3: "unreadable_depth",
    4: "no_valid_pixels",
    6: "different_aspect",
    9: "missing_depth",
    10: "unreadable_image",
    FRAMES: "bad_entry",
    FRAMES + 1: "unsafe_path",
}


def image(root: Path, key: Key) -> Path:
    return root / key[0] / "image_a6" / f"{key[1]}.png"


def depth(root: Path, key: Key) -> Path:
    return root / key[0] / "newest_depth_maps" / f"{key[1]}.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write a tree of twelve frames, of which six have faults, and two entries that name no frame."""
    folder = tmp_path / "data"
    folder.mkdir()
    keys = write_tree(folder, FRAMES)
    image(folder, keys[1]).unlink()
    depth(folder, keys[3]).write_bytes(b"no picture")
    Image.fromarray(np.zeros((12, 16), np.uint16)).save(depth(folder, keys[4]))
    Image.fromarray(np.full((16, 12), 900, np.uint16)).save(depth(folder, keys[6]))
    depth(folder, keys[9]).unlink()
    image(folder, keys[10]).write_bytes(image(folder, keys[10]).read_bytes()[:-40])
    items: list[Any] = json.loads((folder / "train_split.json").read_text())
    items += [7, {"dataset_root": "../elsewhere", "new_filename": "1"}, items[0]]
    (folder / "train_split.json").write_text(json.dumps(items))
    return folder


@pytest.fixture
def keys(root: Path) -> list[Key]:
    items = json.loads((root / "train_split.json").read_text())[:FRAMES]
    return [(item["dataset_root"], item["new_filename"]) for item in items]


@pytest.fixture
def sound(root: Path, keys: list[Key]) -> list[Key]:
    return [key for place, key in enumerate(keys) if place not in STATUS]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return KNOWN["quarter"].write(tmp_path / "net.onnx")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def evaluate(root: Path, net: Path, out: Path) -> Evaluate:
    """Evaluate the network over the tree's split into `out`, in shards of three."""

    def evaluated(model: Path = net, into: Path = out, **options: Any) -> Evaluation:
        usual = {} if "scan" in options else {"root": root, "split": "train_split.json"}
        return ncdb_dask.evaluate(model, into, **{**usual, "shard_size": 3, **options})

    return evaluated


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    with ncdb_dask.open_client(workers=2) as client:
        yield client


def table(out: Path) -> pd.DataFrame:
    return ncdb_dask.read_evaluation(out)


def same(one: Path, other: Path) -> None:
    """Both tables and both summaries are the same to the last bit, and lie in files of the same bytes."""
    first, second = table(one), table(other)
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    for name in METRICS:
        assert first[name].to_numpy(dtype=float).tobytes() == second[name].to_numpy(dtype=float).tobytes()
    about = [json.loads((out / "_manifest.json").read_text())["summary"] for out in (one, other)]
    assert about[0] == about[1]


# The figures


def test_every_frame_is_a_row_and_has_the_figures_of_the_definitions(evaluate, out, root, keys):
    found = evaluate()
    rows = table(out)
    assert list(rows["entry"]) == [*range(FRAMES + 2)]
    assert list(rows["status"]) == [STATUS.get(place, "ok") for place in range(FRAMES + 2)]
    assert (found.frames, found.skipped, found.duplicates) == (6, 8, 1)
    assert dict(found.status) == rows["status"].value_counts().to_dict()
    for place, key in enumerate(keys):
        row = rows.iloc[place]
        if place in STATUS:
            assert row[[*METRICS]].isna().all()
            assert found.examples[STATUS[place]] == row["detail"]
        else:
            expected = judged(truth_of(root, key), KNOWN["quarter"].depth(pixels_of(root, key)))
            assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_the_summary_is_the_mean_over_frames_and_the_figures_of_all_pixels(evaluate, root, sound):
    found = evaluate()
    pairs = [paired(truth_of(root, key), KNOWN["quarter"].depth(pixels_of(root, key))) for key in sound]
    each = [figures(*pair) for pair in pairs]
    assert dict(found.figures.mean) == pytest.approx(
        {name: np.mean([one[name] for one in each]) for name in METRICS}, rel=1e-5, abs=1e-7
    )
    truth, predicted = (np.concatenate(part) for part in zip(*pairs, strict=True))
    assert dict(found.figures.pooled) == pytest.approx(figures(truth, predicted), rel=1e-5, abs=1e-7)
    assert found.figures.pixels == len(truth)
    for name, (low, high) in RANGES.items():
        part = (truth >= low) & (truth < high)
        assert found.ranges[name].pixels == part.sum()
        assert dict(found.ranges[name].pooled) == pytest.approx(figures(truth[part], predicted[part]), rel=1e-5)
    for scene in ("synced_data/a", "synced_data/b"):
        own = [one for one, key in zip(each, sound, strict=True) if key[0] == scene]
        group = found.groups["dataset_root"][scene]
        assert group.frames == len(own)
        assert group.mean["abs_rel"] == pytest.approx(np.mean([one["abs_rel"] for one in own]), rel=1e-5)


@pytest.mark.parametrize("flip", ["none", "mean", "fuse"])
def test_every_way_of_averaging_with_the_mirrored_picture(flip, evaluate, out, root, sound, tmp_path):
    found = evaluate(KNOWN["ramp"].write(tmp_path / "ramp.onnx"), flip=flip, save_predictions="npy")
    assert found.frames == len(sound)
    for scene, stem in sound:
        pixels = pixels_of(root, (scene, stem))
        one, other = KNOWN["ramp"].depth(pixels), KNOWN["ramp"].depth(pixels[:, ::-1])[:, ::-1]
        made = np.load(out / "_predictions" / f"{scene.replace('/', '__')}__{stem}.npy")
        if flip == "fuse":  # in the middle; at the borders one of the two
            np.testing.assert_allclose(made[:, 4:12], (2 / (1 / one + 1 / other))[:, 4:12], rtol=1e-5)
            np.testing.assert_allclose(made[:, 0], other[:, 0], rtol=1e-5)
            np.testing.assert_allclose(made[:, -1], one[:, -1], rtol=1e-5)
        else:
            np.testing.assert_allclose(made, one if flip == "none" else (one + other) / 2, rtol=1e-5)


def test_a_scan_gives_frames_units_and_groups(evaluate, out, root, sound, keys, tmp_path):
    ncdb_dask.scan(root, tmp_path / "scan")
    found = evaluate(scan=tmp_path / "scan")
    measured = [keys[6], *sound]  # of another aspect, which a scan does not mind; 4 has no valid pixel
    rows = table(out)
    assert {*zip(rows["dataset_root"], rows["filename"], strict=True)} == {*measured}
    assert dict(found.status) == {"ok": len(sound), "different_aspect": 1}
    assert {"depth_range", "scene_type", "lighting"} <= {*found.groups}
    assert sum(group.frames for group in found.groups["depth_range"].values()) == len(sound)
    split = evaluate(into=tmp_path / "split")
    assert dict(found.figures.mean) == pytest.approx(dict(split.figures.mean), rel=1e-12)


def test_a_scan_that_guessed_units_gives_every_frame_its_own(evaluate, out, tmp_path):
    """The guide's rule: raw values beyond 255 are 1/256 m, others whole metres."""
    tree, metres = tmp_path / "units", np.random.default_rng(4).integers(1, 30, (12, 16)).astype(np.uint16)
    keys = [("a", "0"), ("a", "1")]
    for key, unit in zip(keys, (256, 1), strict=True):
        write_frame(tree, *key, seed=9)
        Image.fromarray(metres * np.uint16(unit)).save(depth(tree, key))
    write_split(tree, keys)
    ncdb_dask.scan(tree, tmp_path / "scan", depth_scale="auto")
    evaluate(scan=tmp_path / "scan")
    rows = table(out)
    expected = judged(metres.astype(float), KNOWN["quarter"].depth(pixels_of(tree, keys[0])))
    for number in (0, 1):
        assert {name: rows[name][number] for name in expected} == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_frames_outside_the_root_are_evaluated_where_they_are_allowed(evaluate, out, root, sound, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    write_frame(elsewhere, "c", "0", seed=50)
    linked = image(root, sound[1])
    linked.rename(elsewhere / "linked.png")
    linked.symlink_to(elsewhere / "linked.png")
    write_split(root, [sound[0], (str(elsewhere / "c"), "0"), sound[1]], "mixed.json")
    evaluate(split="mixed.json")
    assert list(table(out)["status"]) == ["ok", "unsafe_path", "unsafe_path"]
    evaluate(into=tmp_path / "allowed", split="mixed.json", allow_root=elsewhere)
    rows = table(tmp_path / "allowed")
    assert list(rows["status"]) == ["ok"] * 3
    assert rows["image_path"][1] == str(elsewhere / "c" / "image_a6" / "0.png")
    ncdb_dask.scan(root, tmp_path / "scan", split="mixed.json", allow_root=elsewhere)
    evaluate(into=tmp_path / "scanned", scan=tmp_path / "scan")
    np.testing.assert_array_equal(table(tmp_path / "scanned")["abs_rel"], rows["abs_rel"])


# Shards equal the whole


def test_any_shards_and_any_workers_give_the_same_bits(evaluate, out, tmp_path, cluster):
    evaluate(shard_size=100)
    for size in (1, 3, 13, 14):
        evaluate(into=tmp_path / f"here-{size}", shard_size=size)
        same(out, tmp_path / f"here-{size}")
    for size in (1, 4):
        evaluate(into=tmp_path / f"two-{size}", shard_size=size, client=cluster)
        same(out, tmp_path / f"two-{size}")
    with ncdb_dask.open_client(workers=1) as client:
        evaluate(into=tmp_path / "one", client=client, threads=2)
    same(out, tmp_path / "one")


def test_a_cluster_gives_the_same_predictions_and_the_same_files(evaluate, out, tmp_path, cluster):
    for into, client in ((out, None), (tmp_path / "two", cluster)):
        evaluate(into=into, client=client, save_predictions="npy")
    for folder in ("", "_predictions"):
        names = {path.name for path in (out / folder).iterdir() if path.is_file() and path.suffix != ".json"}
        assert names == {
            path.name for path in (tmp_path / "two" / folder).iterdir() if path.is_file() and path.suffix != ".json"
        }
        for name in names:
            assert (out / folder / name).read_bytes() == (tmp_path / "two" / folder / name).read_bytes(), name


# Deaths


def drive(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "helpers.evaluate_driver", *map(str, arguments)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_undisturbed(out: Path, evaluate: Evaluate, **options: Any) -> None:
    """An evaluation in a fresh folder gives the same, file by file."""
    other = out.with_name("undisturbed")
    evaluate(into=other, **options)
    same(out, other)
    kept = [{path.name: path.read_bytes() for path in (one / "_predictions").glob("*")} for one in (out, other)]
    assert kept[0] == kept[1]
    assert not list(out.rglob("*.tmp"))


@pytest.mark.parametrize(
    "moment",
    [
        "plan.json",
        "items-000.plan",
        "_predictions/synced_data__a__0000000001.npy",
        "shard-000002.parquet",
        "receipts/shard-000002.json",
        "_manifest.json",
    ],
)
def test_a_process_killed_at_any_rename(moment, evaluate, net, root, out):
    ran = drive(net, root, out, moment)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    with pytest.raises(PlanError):
        table(out)
    assert list(out.rglob("*.tmp"))  # it died before it could clear away
    evaluate(save_predictions="npy")
    assert_undisturbed(out, evaluate, save_predictions="npy")


def test_a_process_killed_while_workers_work(evaluate, net, root, out):
    ran = drive(net, root, out, "first-shard", 2)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert not (out / "_manifest.json").exists()
    assert list(out.glob("_plan/receipts/*.json"))
    evaluate(save_predictions="npy")
    assert_undisturbed(out, evaluate, save_predictions="npy")


def test_a_worker_that_dies_once(evaluate, out, tmp_path):
    with ncdb_dask.open_client(workers=2) as client:
        client.register_plugin(Deadly(die_at_evaluated_frame, once, tmp_path / "died", "b/0000000003"))
        evaluate(client=client, save_predictions="npy")
    assert (tmp_path / "died").exists()
    assert_undisturbed(out, evaluate, save_predictions="npy")


def test_a_frame_that_kills_every_worker_is_a_row(evaluate, out, tmp_path, keys, sound):
    events = []
    with ncdb_dask.open_client(workers=2) as client:
        client.register_plugin(Deadly(die_at_evaluated_frame, always, "b/0000000003"))
        found = evaluate(client=client, observer=events.append)
    assert any(isinstance(event, ShardSuspected) for event in events)
    rows = table(out)
    (crashed,) = rows.index[rows["status"] == "crashed"]
    assert (rows["dataset_root"][crashed], rows["filename"][crashed]) == ("synced_data/b", "0000000003") == keys[7]
    assert "killed its worker" in rows["detail"][crashed]
    assert found.frames == len(sound) - 1
    evaluate(into=tmp_path / "whole")
    others = rows.drop(index=crashed)
    pd.testing.assert_frame_equal(others, table(tmp_path / "whole").drop(index=crashed), check_exact=True)


def test_two_evaluations_into_one_folder_do_not_disturb_each_other(evaluate, net, root, out):
    command = [sys.executable, "-m", "ncdb_dask.cli", "evaluate", net, out, "--root", root, "--split"]
    command += ["train_split.json", "--shard-size", "3", "--workers", "0", "--save-predictions", "npy"]
    processes = [subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate()[1].decode() for process in processes]
    assert 0 in [process.returncode for process in processes], said
    assert not any("Traceback" in text for text in said), said
    evaluate(save_predictions="npy")
    assert_undisturbed(out, evaluate, save_predictions="npy")


def predictions(out: Path) -> dict[str, bytes]:
    """What is kept for each frame."""
    return {path.name: path.read_bytes() for path in (out / "_predictions").glob("[!.]*")}


@pytest.mark.parametrize("death", ["killed", "full disk"])
def test_a_death_at_any_write(death, evaluate, out, tmp_path):
    evaluate(into=tmp_path / "whole", save_predictions="npy")
    told = []
    for number in itertools.count(1):
        try:
            with at_write(number) if death == "killed" else at_write(number, full_disk) as done:
                evaluate(save_predictions="npy")
            break
        except (Killed, NcdbError) as error:
            told.append(str(error))
            with pytest.raises(PlanError):
                table(out)
        evaluate(save_predictions="npy")
        same(out, tmp_path / "whole")
        assert predictions(out) == predictions(tmp_path / "whole")
        out.rename(out.with_name(f"after-{number}"))
    assert len(done) == number - 1 > 10  # every write was struck once
    assert death == "killed" or all("No space left on device" in text for text in told)


def test_a_death_while_starting_over(evaluate, out, tmp_path, root, sound):
    write_split(root, sound[:4], "four.json")
    evaluate(into=tmp_path / "whole", split="four.json", save_predictions="npy")
    for number in itertools.count(1):
        evaluate(save_predictions="npy")
        before = predictions(out)
        try:
            with at_removal(number):
                evaluate(split="four.json", fresh=True, save_predictions="npy")
            break
        except Killed:
            if (out / "_manifest.json").exists():  # a table that looks finished has its predictions
                assert predictions(out) == before
        evaluate(split="four.json", fresh=True, save_predictions="npy")
        same(out, tmp_path / "whole")
        assert predictions(out) == predictions(tmp_path / "whole")
        out.rename(out.with_name(f"after-{number}"))
    assert number > 5


# Going on


@pytest.mark.parametrize(
    ("gone", "done"),
    [("shard-000001.parquet", [1]), ("_plan/receipts/shard-000001.json", None), ("_manifest.json", [])],
)
def test_what_is_gone_is_done_again_and_nothing_else(gone, done, evaluate, out):
    evaluate()
    (out / gone).unlink()
    if "receipts" in gone:
        (out / "_manifest.json").unlink()
        done = [1]
    events = []
    evaluate(observer=events.append)
    assert [event.shard for event in events if isinstance(event, ShardDone)] == done
    assert_undisturbed(out, evaluate)


def test_a_finished_evaluation_reads_nothing_of_the_data(evaluate, out, root):
    first = evaluate()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    for picture in root.rglob("*.png"):
        picture.unlink()
    events = []
    assert evaluate(observer=events.append) == first == ncdb_dask.summarize_evaluation(out)
    assert not events
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_fresh_removes_predictions_and_panels_of_the_evaluation_before(evaluate, out, root, sound, net):
    evaluate(save_predictions="npy")
    draw(net, out, root, panels=1, save_predictions="npy")
    write_split(root, sound[:2], "two.json")
    evaluate(split="two.json", fresh=True, save_predictions="png")
    names = {f"{scene.replace('/', '__')}__{stem}.png" for scene, stem in sound[:2]}
    assert {path.name for path in (out / "_predictions").iterdir()} == names
    assert not list(out.glob("_panels/*"))
    assert not (out / "_overview.png").exists()
    assert len(table(out)) == 2


@pytest.mark.parametrize("damaged", ["_plan/plan.json", "_plan/items-000.plan", "_manifest.json"])
def test_what_is_damaged_is_refused_in_words_and_fresh_starts_over(damaged, evaluate, out):
    evaluate()
    (out / damaged).write_bytes(b"{")
    if "items" in damaged:
        for name in ("_manifest.json", "shard-000000.parquet"):
            (out / name).unlink()
    with pytest.raises(NcdbError, match="damaged") as caught:
        evaluate()
    assert "\n" not in str(caught.value)
    evaluate(fresh=True)
    assert_undisturbed(out, evaluate)


def test_fresh_does_not_remove_the_predictions_that_it_is_to_evaluate(evaluate, out):
    evaluate(save_predictions="npy")
    kept = {path: path.read_bytes() for path in (out / "_predictions").iterdir()}
    with pytest.raises(NcdbError):
        evaluate(out / "_predictions", fresh=True)
    assert {path: path.read_bytes() for path in (out / "_predictions").iterdir()} == kept
    assert len(table(out)) == FRAMES + 2


# Predictions that go out and come back


@pytest.mark.parametrize("form", ["npy", "png"])
def test_predictions_that_are_kept_give_the_same_figures(form, evaluate, out, tmp_path, sound):
    first = evaluate(save_predictions=form)
    rules = {"min_depth": 0.5, "max_depth": 30.0}  # those of the model file
    second = evaluate(out / "_predictions", into=tmp_path / "again", **rules)
    assert second.frames == first.frames
    # Faults of pictures do not matter any more, but those frames have no prediction.
    assert second.status["missing_prediction"] == first.status["missing_image"] + first.status["unreadable_image"] + 1
    one, two = table(out), table(tmp_path / "again")
    ok = one["status"] == "ok"
    assert list(two["status"] == "ok") == list(ok)
    if form == "npy":
        for name in METRICS:
            np.testing.assert_allclose(two[ok][name].astype(float), one[ok][name].astype(float), rtol=1e-6, atol=1e-6)
    else:  # a depth is off by half a step at most: 1/512 m
        assert (two[ok]["mae"] - one[ok]["mae"]).abs().max() <= 1 / 512
        assert (two[ok]["bias"] - one[ok]["bias"]).abs().max() <= 1 / 512
        assert (two[ok]["rmse"] - one[ok]["rmse"]).abs().max() <= 1 / 512
        assert (two[ok]["mae"] != one[ok]["mae"]).any()


def test_a_missing_and_an_extra_prediction_are_named(evaluate, out, tmp_path, sound):
    evaluate(save_predictions="npy")
    made = tmp_path / "made"
    (out / "_predictions").rename(made)
    names = [f"{scene.replace('/', '__')}__{stem}.npy" for scene, stem in sound]
    (made / names[0]).unlink()
    np.save(made / "stray.npy", np.ones((3, 4)))
    found = evaluate(made, into=tmp_path / "again")
    assert found.frames == len(sound) - 1
    assert found.extra == ["stray.npy"]
    assert "Extra         1 predictions of no frame, such as stray.npy" in found.text()
    assert "missing_prediction" in found.text()
    rows = table(tmp_path / "again").set_index(["dataset_root", "filename"])
    assert rows.loc[sound[0]]["status"] == "missing_prediction"


# Who reads the table


def test_other_programs_read_the_folder_with_everything_in_it(evaluate, out, root, net):
    import dask.dataframe as dd

    evaluate(save_predictions="npy")
    draw(net, out, root, panels=1, save_predictions="npy")
    assert {"_predictions", "_panels", "_overview.png"} <= {path.name for path in out.iterdir()}
    expected = table(out)
    plain = pd.read_parquet(out)
    assert list(plain.columns) == SCHEMA.names
    for found in (plain, dd.read_parquet(out).compute().reset_index(drop=True)):
        assert list(found["status"]) == list(expected["status"])
        np.testing.assert_array_equal(found["abs_rel"], expected["abs_rel"])
    assert pa.parquet.read_schema(out / "shard-000000.parquet").names == SCHEMA.names


def test_columns_of_a_table_are_read_by_name(evaluate, out):
    evaluate()
    assert list(ncdb_dask.read_evaluation(out, ["filename", "abs_rel"]).columns) == ["filename", "abs_rel"]
    with pytest.raises(PlanError, match="an evaluation has no column 'absrel'; it has dataset_root, "):
        ncdb_dask.read_evaluation(out, ["absrel"])


# Pictures


def draw(model: Path, out: Path, root: Path, panels: int, client: Client | None = None, **options: Any) -> list[str]:
    plan = ncdb_dask.plan_evaluation(
        model, out, **{"root": root, "split": "train_split.json", "shard_size": 3, **options}
    )
    return ncdb_dask.draw_evaluation(plan, panels=panels, client=client)


def assert_pictures(paths: list[str], panels: int) -> None:
    assert len(paths) == 1 + 3 * panels
    assert paths[0].endswith("/_overview.png")
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) > 100


def test_panels_and_overview_are_drawn_alike_here_and_on_a_cluster(evaluate, net, out, root, cluster):
    evaluate()
    paths = draw(net, out, root, 2)
    assert_pictures(paths, 2)
    assert {path.rpartition("/")[0] for path in paths[1:]} == {f"{out}/_panels"}
    rows = table(out)
    worst, best = (rows.iloc[getattr(rows["abs_rel"].astype(float), end)()] for end in ("idxmax", "idxmin"))
    for place, row in (("worst-1", worst), ("best-1", best)):
        (path,) = (path for path in paths if place in path)
        assert row["filename"] in path
    data = {path: Path(path).read_bytes() for path in paths}
    assert draw(net, out, root, 2, cluster) == paths
    assert {path: Path(path).read_bytes() for path in paths} == data


def test_panels_of_predictions_from_files_need_no_picture(evaluate, out, root, tmp_path, sound):
    evaluate(save_predictions="npy")
    made = tmp_path / "made"
    (out / "_predictions").rename(made)
    image(root, sound[0]).unlink()
    image(root, sound[1]).write_bytes(b"no picture")
    found = evaluate(made, into=tmp_path / "again")
    assert found.frames == len(sound)
    assert_pictures(draw(made, tmp_path / "again", root, 2), 2)


def test_a_frame_that_is_gone_since_cannot_be_drawn_and_says_so(evaluate, net, out, root, sound):
    evaluate()
    for key in sound:
        depth(root, key).unlink()
    with pytest.raises(EvaluationError, match="it was sound when it was evaluated: evaluate again with --fresh"):
        draw(net, out, root, 1)


def test_more_panels_than_frames(evaluate, net, out, root, sound):
    evaluate()
    paths = draw(net, out, root, 50)
    assert_paths = [Path(path) for path in paths]
    assert all(path.is_file() for path in assert_paths)
    assert len(paths) <= 1 + 3 * len(sound)
    assert len({*paths}) == len(paths)


# Where nothing comes of it


def test_where_no_frame_can_be_evaluated_the_table_says_why(evaluate, out, root):
    for path in root.rglob("image_a6/*.png"):
        path.unlink()
    for _ in range(2):  # as when it is already finished
        with pytest.raises(
            EvaluationError, match=r"none of 14 frames could be evaluated: \d+ missing_image \(no image"
        ):
            evaluate()
    rows = table(out)
    assert len(rows) == FRAMES + 2
    assert "ok" not in set(rows["status"])


def test_where_no_frame_can_be_evaluated_the_command_fails(evaluate, net, out, root):
    for path in root.rglob("image_a6/*.png"):
        path.unlink()
    command = ["evaluate", net, out, "--root", root, "--split", "train_split.json", "--workers", "0"]
    ran = subprocess.run(
        [sys.executable, "-m", "ncdb_dask.cli", *map(str, command)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "none of 14 frames could be evaluated" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert len(table(out)) == FRAMES + 2


def test_a_network_that_gives_no_depth_at_all_is_judged_and_told(evaluate, out, tmp_path, sound):
    import onnx

    nodes = [
        *KNOWN["quarter"].nodes[:1],
        onnx.helper.make_node("Neg", ["mean"], ["below"]),
        onnx.helper.make_node("Sqrt", ["below"], ["depth"]),
    ]
    found = evaluate(write_network(tmp_path / "none.onnx", nodes))
    assert found.invalid["frames"] == found.frames == len(sound)
    assert found.invalid["nan_pixels"] > 0
    assert "No depth      in 6 frames: " in found.text()
    json.dumps(found.as_dict(), allow_nan=False)


def cases(root: Path, tmp_path: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    """What each evaluation is given, and what it says."""
    quarter = KNOWN["quarter"]
    alone = quarter.write(tmp_path / "alone" / "net.onnx")
    alone.with_suffix(".toml").unlink()
    yield "a model without a spec", {"model": alone}, "has no model file .* or name another network's with --model-spec"
    for key, value in (("width", 32), ("layout", "nhwc"), ("name", "pixels")):
        model = quarter.write(tmp_path / f"unfit-{key}" / "net.onnx", **{key: value})
        yield f"a spec that does not fit: {key}", {"model": model}, "describes|can be"
    model = quarter.write(tmp_path / "unknown" / "net.onnx", colour="rgb")
    yield "an unknown key", {"model": model}, "colour"
    model = quarter.write(tmp_path / "named" / "net.onnx", output={"name": "metres"})
    yield "an output that is not there", {"model": model}, r'no output "metres"; \[output\] name can be "depth"'
    model = quarter.write(tmp_path / "cut" / "net.onnx")
    model.write_bytes(model.read_bytes()[:-20])
    yield "a cut network", {"model": model}, "net.onnx: "
    model = quarter.write(tmp_path / "text" / "net.onnx")
    model.write_text("no network")
    yield "a text", {"model": model}, "is no ONNX file"
    model = quarter.write(tmp_path / "empty" / "net.onnx")
    model.write_bytes(b"")
    yield "an empty file", {"model": model}, "is no ONNX file"
    model = write_network(tmp_path / "map" / "net.onnx", NO_MAP)
    yield "an output of wrong shape", {"model": model}, 'the output "depth" has the shape 1 x 3 x 12 x 16; expected one'
    model = write_network(tmp_path / "told" / "net.onnx", NO_MAP, shape=[1, 3, 12, 16])
    yield "an output of wrong shape that the file tells", {"model": model}, "has the shape 1 x 3 x 12 x 16"
    yield "an unknown provider", {"provider": "abacus"}, 'provider "abacus" is unknown; expected one of cpu, cuda'
    yield "a provider that is not there", {"provider": "qnn"}, "has no QNNExecutionProvider .*install onnxruntime-qnn"
    (root / "empty.json").write_text("[]")
    yield "an empty split", {"split": "empty.json"}, r"empty\.json: is an empty list; expected"
    yield "a missing split", {"split": "val_split.json"}, r"val_split\.json: no such split file"
    (tmp_path / "void").mkdir()
    yield "a folder without predictions", {"model": tmp_path / "void"}, "expected a folder of predictions"
    yield "a model that is not there", {"model": tmp_path / "nowhere.onnx"}, "no such file; expected an ONNX network"
    yield "an unknown protocol", {"protocol": "kitti"}, "protocol 'kitti': expected one of ncdb, kitti-eigen"
    spec = describe(tmp_path / "wrong.toml", {"decode": "sigmoid"})
    yield "an unknown decoding", {"model_spec": spec}, "sigmoid"
    yield "a model file that is not there", {"model_spec": tmp_path / "nowhere.toml"}, "cannot be read"


CASES = [
    "a model without a spec",
    "a spec that does not fit: width",
    "a spec that does not fit: layout",
    "a spec that does not fit: name",
    "an unknown key",
    "an output that is not there",
    "a cut network",
    "a text",
    "an empty file",
    "an output of wrong shape",
    "an output of wrong shape that the file tells",
    "an unknown provider",
    "a provider that is not there",
    "an empty split",
    "a missing split",
    "a folder without predictions",
    "a model that is not there",
    "an unknown protocol",
    "an unknown decoding",
    "a model file that is not there",
]


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_evaluated_is_one_line_and_nothing_is_written(case, evaluate, out, root, tmp_path):
    named = {name: (options, says) for name, options, says in cases(root, tmp_path)}
    assert list(named) == CASES
    options, says = named[case]
    with pytest.raises(NcdbError, match=says) as caught:
        evaluate(**options)
    assert "\n" not in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize("case", ["an output of wrong shape", "a provider that is not there"])
def test_a_network_that_cannot_run_on_the_workers_is_told_before_anything_is_written(
    case, evaluate, out, root, tmp_path, cluster
):
    options, says = {name: (options, says) for name, options, says in cases(root, tmp_path)}[case]
    with pytest.raises(SpecError, match=says):
        evaluate(client=cluster, **options)
    assert not out.exists()


# Another evaluation in the folder


def test_a_plan_that_was_overtaken_neither_draws_nor_answers(root, tmp_path):
    first, second = (write_network(tmp_path / f"{kind}.onnx", KNOWN[kind].nodes) for kind in ("quarter", "red"))
    options = {"root": root, "split": "train_split.json"}
    old = ncdb_dask.plan_evaluation(first, tmp_path / "out", **options)
    ncdb_dask.run_evaluation(old)
    finished = ncdb_dask.plan_evaluation(first, tmp_path / "out", **options)
    assert finished.finished
    ncdb_dask.evaluate(second, tmp_path / "out", fresh=True, **options)
    for call in (ncdb_dask.run_evaluation, ncdb_dask.draw_evaluation):
        with pytest.raises(PlanError, match="another evaluation was made in this folder since it was planned"):
            call(finished)


def test_a_scan_that_has_grown_is_not_taken_for_evaluated(root, tmp_path):
    items = json.loads((root / "train_split.json").read_text())
    (root / "train_split.json").write_text(json.dumps(items[:6]))
    ncdb_dask.scan(root, tmp_path / "scan")
    network = write_network(tmp_path / "quarter.onnx", KNOWN["quarter"].nodes)
    ncdb_dask.evaluate(network, tmp_path / "out", scan=tmp_path / "scan")
    (root / "train_split.json").write_text(json.dumps(items))
    ncdb_dask.scan(root, tmp_path / "scan", update=True)
    with pytest.raises(PlanError, match=r"was planned with other contents of .*scan; --fresh starts over"):
        ncdb_dask.evaluate(network, tmp_path / "out", scan=tmp_path / "scan")
