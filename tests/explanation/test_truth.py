"""True depths, from the depth maps and from a scan."""

import numpy as np
import pytest
from helpers.explaining import plan_of
from helpers.judging import truth_of

import ncdb_dask
from ncdb_dask.explanation.truth import read_histograms, scanned_histograms
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.scanning.stats import histogram_edges
from ncdb_dask.store.folder import open_folder

# `helpers.trees` writes depths from 200 to 8,000 raw units, 256 a metre.
NEAREST, FARTHEST = 0.5, 40.0


def stream(task, items):
    return map(task, items)


def ordered(histograms: np.ndarray) -> list[list[int]]:
    return sorted(histograms.tolist())


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return plan_of(tmp_path_factory.mktemp("truth"), min_depth=NEAREST, max_depth=FARTHEST)


@pytest.fixture(scope="module")
def scan(plan, tmp_path_factory):
    out = tmp_path_factory.mktemp("scan") / "scan"
    ncdb_dask.scan(plan.reader.root.path, out)
    return ScanTable(open_folder(out), None, {})


def keys(plan):
    return [(str(one.dataset_root), str(one.stem)) for one in plan.evaluation.frames]


def test_without_a_crop_what_is_read_is_what_the_scan_holds(plan, scan):
    read = read_histograms(plan.request, stream)
    assert len(read) == len(plan.evaluation.frames)
    assert read.sum() > 100 * len(read)
    assert ordered(read) == ordered(scanned_histograms(scan, keys(plan), NEAREST, FARTHEST))


def test_a_scan_that_knows_a_part_gives_that_part(plan, scan):
    wanted = keys(plan)[:5]
    found = scanned_histograms(scan, [*wanted, ("elsewhere", "0001")], NEAREST, FARTHEST)
    assert len(found) == 5
    assert len(scanned_histograms(scan, [("elsewhere", "0001")], NEAREST, FARTHEST)) == 0


def test_depths_beyond_do_not_count(plan, scan):
    edges = histogram_edges()
    within = np.flatnonzero(scanned_histograms(scan, keys(plan), 5.0, 20.0).sum(axis=0))
    assert edges[within[0]] <= 5.0 < edges[within[0] + 1]
    assert edges[within[-1]] < 20.0 <= edges[within[-1] + 1]


def test_only_pixels_that_are_judged_are_read(tmp_path):
    plan = plan_of(tmp_path, min_depth=5.0, max_depth=20.0)
    read = read_histograms(plan.request, stream)
    for counts, key in zip(read, keys(plan), strict=True):
        depth = truth_of(tmp_path / "my data", key)
        judged = depth[(depth > 5.0) & (depth < 20.0)]
        assert counts.tolist() == np.histogram(judged, histogram_edges())[0].tolist()


def test_a_frame_without_its_depth_map_is_left_out(tmp_path):
    plan = plan_of(tmp_path)
    scene, stem = keys(plan)[3]
    (tmp_path / "my data" / scene / "newest_depth_maps" / f"{stem}.png").write_bytes(b"no picture")
    assert len(read_histograms(plan.request, stream)) == len(plan.evaluation.frames) - 1
