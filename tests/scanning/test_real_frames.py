"""Real frames: indoor and outdoor recordings in NCDB layout, where they are at hand."""

import json
import uuid
from pathlib import Path

import numpy as np
import pytest
from helpers.oracle import depth_statistics
from PIL import Image

from ncdb_dask.dataset.layout import DEFAULT_VARIANTS
from ncdb_dask.sampling.quotas import GUIDE_RANGES
from ncdb_dask.scanning import table
from ncdb_dask.scanning.job import ScanJob
from ncdb_dask.scanning.plan import make_plan
from ncdb_dask.scanning.request import ScanRequest
from ncdb_dask.store.folder import LocalFolder

ROOT = Path(__file__).parents[2].parent / "shared" / "realdata" / "ncdb"
DEPTH_MAPS = sorted(ROOT.glob("synced_data/*/newest_depth_maps/*.png"))

pytestmark = [pytest.mark.realdata, pytest.mark.skipif(not ROOT.is_dir(), reason=f"no real frames in {ROOT}")]


def scan(out: Path, *splits: str, image_stats: bool = True):
    request = ScanRequest.of(
        root=LocalFolder(str(ROOT)),
        out=LocalFolder(str(out)),
        allowed=(),
        splits=splits,
        variants=DEFAULT_VARIANTS,
        depth_scale=None,
        image_stats=image_stats,
        shard_size=None,
    )
    plan = make_plan(request)
    plan.write()
    job = ScanJob.of(request, plan.plan.id, run=uuid.uuid4().hex, ranges=GUIDE_RANGES)
    table.finish(request.out, plan.plan, map(job, plan.left))
    return table.read_table(request.out)


@pytest.fixture(scope="module")
def every_frame(tmp_path_factory: pytest.TempPathFactory):
    """The table of a split that lists every frame on disk."""
    folder = tmp_path_factory.mktemp("real")
    items = [{"dataset_root": str(path.parents[1].relative_to(ROOT)), "new_filename": path.stem} for path in DEPTH_MAPS]
    (folder / "all.json").write_text(json.dumps(items))
    return scan(folder / "scan", str(folder / "all.json"), image_stats=False)


def test_every_frame_on_disk_is_an_ok_row(every_frame):
    assert len(DEPTH_MAPS) == 135
    assert list(every_frame["status"]) == ["ok"] * 135
    assert [str(ROOT / path) for path in every_frame["depth_path"]] == [str(path) for path in DEPTH_MAPS]


def test_every_depth_map_has_the_statistics_of_the_plain_implementation(every_frame):
    for row in every_frame.to_dict("records"):
        with Image.open(ROOT / row["depth_path"]) as image:
            raw = np.asarray(image)
        expected = depth_statistics(raw, 256.0)
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-6), row["depth_path"]
        assert row["valid_pixels"] == np.count_nonzero(raw) == sum(row["depth_hist"])
        assert (row["height"], row["width"]) == raw.shape == (row["image_height"], row["image_width"])


def test_indoor_and_outdoor_recordings_are_told_apart_by_depth(every_frame):
    indoor = every_frame["dataset_root"].str.contains("indoor")
    assert set(every_frame.loc[indoor, "scene_type"]) == {"indoor"}
    assert "indoor" not in set(every_frame.loc[~indoor, "scene_type"])


def test_no_real_map_has_a_doubtful_unit(every_frame):
    assert not every_frame["scale_ambiguous"].any()


def test_the_two_splits_are_rows_that_are_all_ok(tmp_path):
    splits = ("train_split.json", "val_split.json")
    listed = {name: len(json.loads((ROOT / name).read_text())) for name in splits}
    frames = scan(tmp_path / "scan", *splits)
    assert frames["split"].value_counts().to_dict() == listed
    assert set(frames["status"]) == {"ok"}
    assert frames["phash"].nunique() == len(frames)
    assert frames["luma_mean"].between(1, 254).all()
