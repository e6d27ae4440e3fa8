"""The figures of a scan, and its picture."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from ncdb_dask.scanning.schema import SCHEMA
from ncdb_dask.scanning.stats import HIST_BINS
from ncdb_dask.scanning.summary import COLUMNS, Summary, pooled_histogram, summarize


def row(mean: float, **columns: object) -> dict[str, object]:
    histogram = [0] * HIST_BINS
    histogram[int(mean)] = 7
    measured = {"mean_depth": mean, "min_depth": mean / 2, "max_depth": mean * 2, "scene_type": "indoor"}
    rest = {"status": "ok", "depth_variant": "a", "lighting": "day", "scale_ambiguous": False, "depth_hist": histogram}
    return dict.fromkeys(SCHEMA.names) | measured | rest | columns


def faulty(status: str) -> dict[str, object]:
    return dict.fromkeys(SCHEMA.names) | {"status": status}


def shard(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA).select(COLUMNS)


def test_only_ok_rows_are_measured_and_all_are_counted():
    summary = summarize([shard(row(1.0), faulty("missing_depth"), row(4.0))], duplicates=3)
    assert (summary.samples, summary.skipped, summary.duplicates) == (2, 1, 3)
    assert summary.status == {"ok": 2, "missing_depth": 1}
    assert (summary.mean_of_means, summary.min_depth, summary.max_depth) == (2.5, 0.5, 8.0)


def test_the_spread_is_that_of_a_sample():
    summary = summarize([shard(*(row(float(mean)) for mean in (1, 2, 3, 4)))], 0)
    assert summary.std_of_means == pytest.approx(1.290994449)  # vector 21 of the conventions


def test_one_frame_has_no_spread_and_none_has_no_figures():
    assert summarize([shard(row(1.0))], 0).std_of_means is None
    nothing = summarize([shard(faulty("bad_entry"))], 0)
    assert (nothing.samples, nothing.mean_of_means, nothing.min_depth, nothing.max_depth) == (0, None, None, None)
    assert sum(nothing.pixel_histogram) == 0


def test_shards_add_up_to_the_whole():
    rows = [row(float(n), lighting="day" if n % 3 else "night", scale_ambiguous=n == 4) for n in range(1, 9)]
    rows += [faulty("missing_image"), faulty("missing_image")]
    whole = summarize([shard(*rows)], 1)
    assert summarize([shard(*rows[:3]), shard(rows[3]), shard(*rows[4:])], 1) == whole
    assert whole.lighting == {"day": 6, "night": 2}
    assert whole.ambiguous == 1
    assert sum(whole.pixel_histogram) == 8 * 7


def test_histograms_beyond_32_bits_are_added_exactly():
    column = pa.chunked_array([pa.array([[2**31 - 1] * HIST_BINS] * 3, pa.list_(pa.int32()))])
    assert set(pooled_histogram(column)) == {3 * (2**31 - 1)}


def test_a_summary_survives_json():
    summary = summarize([shard(row(1.0), faulty("bad_entry"))], 2)
    assert Summary.from_dict(json.loads(json.dumps(summary.as_dict()))) == summary


def test_the_text_names_what_was_found():
    rows = [row(1.0), row(3.0, scale_ambiguous=True), faulty("missing_depth"), faulty("missing_depth")]
    text = summarize([shard(*rows)], 2).text()
    for line in (
        "Samples       2",
        "Skipped       2",
        "  missing_depth         2",
        "Duplicates    2  (kept once)",
        "Mean depth    2.00 +- 1.41 m over frames",
        "Depth range   0.500 to 6.00 m",
        "Scene types   indoor 2 (100.0 %)",
        "Unit in doubt 1 frames",
    ):
        assert line in text


def test_the_text_of_a_scan_without_frames_has_no_depth():
    text = summarize([shard(faulty("bad_entry"))], 0).text()
    assert "Skipped       1" in text
    assert "depth" not in text


@pytest.mark.parametrize(
    "rows", [[row(1.0), row(9.0), faulty("bad_entry")], [faulty("bad_entry")]], ids=["some", "none"]
)
def test_the_picture_is_a_png_of_the_promised_size(rows):
    pytest.importorskip("matplotlib")
    from ncdb_dask.scanning.picture import overview

    frames = pd.DataFrame({"status": [r["status"] for r in rows], "mean_depth": [r["mean_depth"] for r in rows]})
    with Image.open(io.BytesIO(overview(frames, summarize([shard(*rows)], 0)))) as image:
        assert (image.format, image.size) == ("PNG", (1500, 900))
        assert np.asarray(image.convert("L")).std() > 10
