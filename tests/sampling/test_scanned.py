"""Reading some rows of a scan, from the shards that hold them."""

import numpy as np
import pytest
from helpers.scans import forge, key, row

from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.store.folder import LocalFolder

ROWS = [row("a" if n % 3 else "b", f"{n:04d}", 0.5 + n / 4, valid_pixels=n + 1) for n in range(50)]


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> ScanTable:
    return ScanTable(LocalFolder(str(forge(tmp_path_factory.mktemp("forged") / "scan", ROWS, shard_size=8))))


@pytest.mark.parametrize("wanted", [[3], [49, 0, 17, 8, 7, 16], list(range(50))[::-1], [5, 20, 6, 21, 5]])
def test_rows_come_in_the_order_asked_for(wanted, table):
    frame = table.rows(np.asarray(wanted), ["filename", "dataset_root", "mean_depth"])
    assert list(zip(frame["dataset_root"], frame["filename"], strict=True)) == [key(ROWS[k]) for k in wanted]
    assert frame["mean_depth"].tolist() == [ROWS[k]["mean_depth"] for k in wanted]
    assert frame.index.tolist() == list(range(len(wanted)))


def test_all_rows_of_a_column(table):
    assert table.columns(["filename", "filename"])["filename"].tolist() == [one["filename"] for one in ROWS]


def test_pooled_depth_is_the_sum_over_each_set(table):
    sets = [np.arange(50), np.asarray([30, 2, 9]), np.asarray([], dtype=np.intp), np.asarray([49])]
    expected = [np.sum([ROWS[k]["depth_hist"] for k in some], axis=0, initial=0, dtype=np.int64) for some in sets]
    found = table.pooled_depth(sets)
    assert found.shape == (4, 256)
    for counts, due in zip(found, expected, strict=True):
        assert np.array_equal(counts, np.broadcast_to(due, (256,)))
