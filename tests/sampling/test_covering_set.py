"""Sets by ``coverage``: from figures in memory on a forged scan of thousands of rows, and from stored statistics.

- ``rows``: what the scan holds; ``table``: the scan
- ``activations``: of every frame of it that could be chosen
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.activations import write_branches
from helpers.kept import keep
from helpers.scans import forge, key, row, videos, write_keys
from helpers.trees import write_tree

import ncdb_dask
from ncdb_dask.errors import CalibrationError, SampleError
from ncdb_dask.sampling.calibration_set import sample_set
from ncdb_dask.sampling.coverage import Activations, worths
from ncdb_dask.sampling.draw import priorities
from ncdb_dask.sampling.request import SampleRequest
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.store.folder import LocalFolder

TENSORS = 6


@pytest.fixture(scope="module")
def rows():
    return videos()


@pytest.fixture(scope="module")
def table(rows, tmp_path_factory):
    return ScanTable(LocalFolder(str(forge(tmp_path_factory.mktemp("forged") / "scan", rows))))


@pytest.fixture(scope="module")
def activations(rows):
    keys = tuple(key(row) for row in rows if row["status"] == "ok")
    rng = np.random.default_rng(11)
    high, low = rng.gamma(2, size=(2, len(keys), TENSORS))
    low[:, ::2] = 0
    return Activations(keys, [(-low, high), (-low / 3, high / rng.uniform(2, 3, high.shape))], "kept/0123", "/nowhere")


def chosen(table, activations, **options):
    request = SampleRequest.of(**{"strategy": "coverage", "statistics": "kept", "size": 40, **options})
    return sample_set(table, request, "set.json", activations)


def eligible(rows):
    return [row for row in rows if row["status"] == "ok" and not row["scale_ambiguous"]]


def some(activations, keys):
    """The activations of these frames alone."""
    place = [activations.keys.index(one) for one in keys]
    return replace(
        activations, keys=tuple(keys), ranges=[(low[place], high[place]) for low, high in activations.ranges]
    )


def span(activations, keys):
    """Length of each range that frames give together, shape (2, TENSORS)."""
    ranges = some(activations, keys).ranges
    return np.array([np.maximum(high.max(0), 0) + np.maximum(-low.min(0), 0) for low, high in ranges])


def test_it_is_its_definition(table, rows, activations):
    keys = [key(row) for row in eligible(rows)]
    worth, priority = worths(some(activations, keys).ranges), priorities(42, keys)
    best, expected = np.zeros(worth.shape[1], dtype=np.int64), []
    for _ in range(12):
        gains = np.maximum(worth - best, 0).sum(axis=1)
        pick = min(range(len(keys)), key=lambda row: (-gains[row], priority[row]))
        best = np.maximum(best, worth[pick])
        expected.append(keys[pick])
    found = chosen(table, activations, size=12)
    assert list(found.keys) == expected
    assert [(s.name, s.requested, s.available, s.granted) for s in found.report.strata] == [("all", 12, len(keys), 12)]
    assert found.report.settings["strategy"] == "coverage"
    assert found.report.settings["statistics"] == "kept"


def test_the_report_says_what_is_covered(table, rows, activations):
    keys = [key(row) for row in eligible(rows)]
    report = chosen(table, activations, size=10).report
    cover = report.coverage
    shares = [
        (span(activations, chosen_) / span(activations, keys)).mean() for chosen_ in _prefixes(table, activations)
    ]
    assert cover.by_size == pytest.approx(shares[:10], abs=1e-9)
    assert (cover.share, cover.most, cover.tensors, cover.frames) == (cover.by_size[-1], 1.0, TENSORS, len(keys))
    assert shares[cover.enough - 1] == 1 > shares[cover.enough - 2]
    assert cover.random_worst <= cover.random_median < cover.share
    assert json.loads(json.dumps(report.as_dict()))["coverage"]["by_size"] == list(cover.by_size)
    text = report.text()
    assert f"Covers        {int(1000 * cover.share) / 10}% of the ranges of 6 activations on {len(keys)} frames" in text
    assert f"at most 100.0%, which {cover.enough} chosen by coverage reach" in text
    assert chosen(table, activations, size=cover.enough).report.coverage.share == 1


def _prefixes(table, activations):
    whole = chosen(table, activations, size=60).keys
    return [whole[:size] for size in range(1, 61)]


def test_a_set_begins_with_every_smaller_one_whatever_the_order_of_the_rows(table, rows, activations, tmp_path):
    whole = chosen(table, activations, size=300).keys
    assert len(set(whole)) == 300
    assert chosen(table, activations, size=100).keys == whole[:100]
    order = np.random.default_rng(5).permutation(len(rows))
    turned = ScanTable(LocalFolder(str(forge(tmp_path / "scan", [rows[place] for place in order], 100))))
    backwards = some(activations, activations.keys[::-1])
    assert chosen(turned, backwards, size=300).keys == whole


def test_excluded_frames_and_neighbours_stay_out_and_do_not_count(table, rows, activations, tmp_path):
    best = chosen(table, activations, size=5).keys
    exclude = write_keys(tmp_path / "val.json", best)
    found = chosen(table, activations, exclude=exclude, min_gap=6)
    assert not {*best} & {*found.keys}
    assert found.report.leaks == {"excluded": 0, "same_picture": 0, "near": 0}
    assert found.report.crowded == 0
    population = [key(row) for row in eligible(rows) if key(row) not in best]
    share = (span(activations, found.keys) / span(activations, population)).mean()
    assert found.report.coverage.share == pytest.approx(share, abs=1e-9)
    assert found.report.coverage.share <= found.report.coverage.most < 1  # the gap takes some of the best


def test_frames_without_statistics_are_represented_but_not_chosen(table, rows, activations):
    keys = [key(row) for row in eligible(rows)]
    measured = keys[::3]
    found = chosen(table, some(activations, measured))
    assert {*found.keys} <= {*measured}
    assert found.report.left_out["without activation statistics"] == len(keys) - len(measured)
    assert found.report.population == len(keys)
    assert found.report.coverage.frames == len(measured)
    with pytest.raises(SampleError) as error:
        chosen(table, some(activations, measured[:20]))
    assert "40 frames are wanted and 20 can be chosen" in str(error.value)
    assert "ask for at most 20 or leave out fewer or measure more with ncdb_dask.activation" in str(error.value)


def test_other_strategies_are_measured_by_the_same_figures(table, activations):
    cover = chosen(table, activations).report.coverage
    drawn = chosen(table, activations, strategy="random", statistics=None).report.coverage
    assert drawn.share < cover.share
    assert (drawn.most, drawn.enough, drawn.frames) == (cover.most, cover.enough, cover.frames)


def test_the_statistics_of_another_place_are_noted(table, activations):
    (note,) = [note for note in chosen(table, replace(activations, root="/moved")).report.notes if "/moved" in note]
    assert "the scan is of /nowhere" in note
    assert not [note for note in chosen(table, activations).report.notes if "statistics are of" in note]


def test_it_needs_activations(table):
    with pytest.raises(SampleError, match="found no activations of the pool"):
        chosen(table, None)


# From what is stored


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A tree of 24 frames, a scan of it, and the statistics of 20 of them below ``statistics``."""
    folder = tmp_path_factory.mktemp("stored")
    write_tree(folder / "tree", 24)
    items = json.loads((folder / "tree/train_split.json").read_text())
    keys = [(item["dataset_root"], item["new_filename"]) for item in items]
    forge(folder / "scan", [row(*one, mean=1.0 + place) for place, one in enumerate(keys)], root=str(folder / "tree"))
    kept = keep(folder / "statistics", folder / "tree", write_branches(folder / "net.onnx"), keys[:20])
    return folder, keys, kept


def test_it_reads_what_is_stored(stored, tmp_path):
    folder, keys, kept = stored
    options = {"strategy": "coverage", "size": 8}
    made = ncdb_dask.sample(folder / "scan", tmp_path / "set.json", statistics=folder / "statistics", **options)
    assert made.keys == ncdb_dask.sample(folder / "scan", statistics=kept.out.path, **options).keys
    assert {*made.keys} <= {*keys[:20]}
    assert made.report.left_out == {"without activation statistics": 4}
    cover = made.report.coverage
    assert (cover.statistics, cover.frames) == (kept.out.path, 20)
    assert cover.tensors == len(kept.observed.tensors)
    assert 0 < cover.by_size[0] < cover.share <= 1
    assert not [note for note in made.report.notes if "statistics are of" in note]
    assert json.loads((tmp_path / "set.report.json").read_text())["coverage"]["enough"] == cover.enough


def test_statistics_that_do_not_fit_are_told(stored, tmp_path):
    folder, keys, _ = stored
    other = forge(tmp_path / "scan", [row("elsewhere", stem) for _, stem in keys])
    for place, error, says in (
        (folder / "statistics", SampleError, "holds statistics of none of the 24 frames of"),
        (folder / "tree", CalibrationError, "holds no activation statistics"),
        (folder / "scan", CalibrationError, "holds a scan; expected a folder of activation statistics"),
    ):
        with pytest.raises(error, match=says):
            ncdb_dask.sample(other, tmp_path / "set.json", size=3, strategy="coverage", statistics=place)
    assert {path.name for path in tmp_path.iterdir()} == {"scan"}
