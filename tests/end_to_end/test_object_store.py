"""A scan whose data set and table both lie behind the S3 protocol, on a real server on loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from helpers.trees import write_frame

import ncdb_dask
from ncdb_dask.errors import NcdbError, PlanError, RunError
from ncdb_dask.store.folder import open_folder

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, str]]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {"key": "someone", "secret": "something", "endpoint_url": f"http://{host}:{port}"}
    server.stop()


@pytest.fixture(scope="module")
def bucket(options, data) -> str:
    import s3fs

    fs = s3fs.S3FileSystem(**options)
    fs.mkdir("data")
    fs.put(f"{data}/", "data/ncdb/", recursive=True)
    return "s3://data"


def test_the_table_equals_that_of_a_local_scan(options, bucket, expected):
    out = f"{bucket}/scan"
    summary = ncdb_dask.scan(f"{bucket}/ncdb", out, shard_size=4, storage_options=options)
    assert summary.status == {"ok": 24}
    pd.testing.assert_frame_equal(ncdb_dask.read_scan(out, storage_options=options), expected)
    pd.testing.assert_series_equal(
        pd.read_parquet(out, storage_options=options)["mean_depth"], expected["mean_depth"], check_names=False
    )
    assert ncdb_dask.scan(f"{bucket}/ncdb", out, shard_size=4, storage_options=options) == summary


def test_workers_get_the_options_from_the_driver(options, bucket, expected):
    out = f"{bucket}/by-workers"
    with ncdb_dask.open_client(workers=1) as client:
        ncdb_dask.scan(f"{bucket}/ncdb", out, shard_size=8, storage_options=options, client=client)
    pd.testing.assert_frame_equal(ncdb_dask.read_scan(out, storage_options=options), expected)


def test_a_lost_shard_is_scanned_again(options, bucket, expected):
    out = f"{bucket}/resumed"
    ncdb_dask.scan(f"{bucket}/ncdb", out, shard_size=4, storage_options=options)
    folder = open_folder(out, options)
    folder.remove("_manifest.json")
    folder.remove("shard-000001.parquet")
    with pytest.raises(PlanError, match="5 of 6 shards are done"):
        ncdb_dask.read_scan(out, storage_options=options)
    ncdb_dask.scan(f"{bucket}/ncdb", out, storage_options=options)
    pd.testing.assert_frame_equal(ncdb_dask.read_scan(out, storage_options=options), expected)


def test_fresh_leaves_nothing_of_the_scan_before(options, bucket):
    out = f"{bucket}/fresh"
    ncdb_dask.scan(f"{bucket}/ncdb", out, shard_size=4, storage_options=options)
    ncdb_dask.scan(f"{bucket}/ncdb", out, shard_size=12, storage_options=options, fresh=True)
    names = open_folder(out, options).list().sizes
    assert sorted(names) == ["_manifest.json", "shard-000000.parquet", "shard-000001.parquet"]


def test_absolute_roots_inside_the_bucket_and_missing_files(options, bucket, tmp_path):
    write_frame(tmp_path, "scene", "0001")
    items = [
        {"dataset_root": f"{bucket}/mixed/scene", "new_filename": "0001"},
        {"dataset_root": "scene", "new_filename": "0002"},
        {"dataset_root": "s3://elsewhere/scene", "new_filename": "0001"},
        {"image_path": f"{bucket}/mixed/scene/image_a6/0001.png"},
    ]
    (tmp_path / "train_split.json").write_text(json.dumps(items))
    import s3fs

    s3fs.S3FileSystem(**options).put(f"{tmp_path}/", "data/mixed/", recursive=True)
    summary = ncdb_dask.scan(f"{bucket}/mixed", f"{bucket}/mixed-scan", storage_options=options)
    assert summary.status == {"ok": 1, "missing_image": 1, "unsafe_path": 1}
    assert summary.duplicates == 1


@pytest.mark.parametrize("root", ["s3://no-such-bucket/x", "s3://data/nothing-here"])
def test_a_root_that_is_not_there_is_one_clear_error(root, options, tmp_path):
    with pytest.raises(NcdbError, match=f"{root}: "):
        ncdb_dask.scan(root, tmp_path / "scan", storage_options=options)
    assert not (tmp_path / "scan").exists()


def test_a_server_that_is_gone_is_one_clear_error(tmp_path, data):
    gone = {
        "key": "a",
        "secret": "b",
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    with pytest.raises(NcdbError, match="s3://data"):
        ncdb_dask.scan("s3://data/ncdb", tmp_path / "scan", storage_options=gone)


def test_credentials_that_expire_are_no_fault_of_the_frames(options, bucket, tmp_path, monkeypatch):
    import s3fs

    read = s3fs.S3FileSystem.cat_file

    def expired(self, path, *arguments, **keywords):
        if path.endswith(".png"):
            raise PermissionError("The provided token has expired.")
        return read(self, path, *arguments, **keywords)

    monkeypatch.setattr(s3fs.S3FileSystem, "cat_file", expired)
    s3fs.S3FileSystem.clear_instance_cache()  # instances keep the methods that they were made with
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(RunError, match="token has expired"):
        ncdb_dask.scan(f"{bucket}/ncdb", tmp_path / "scan", storage_options=options)
    assert not list((tmp_path / "scan").glob("*.parquet"))


def test_the_command_line_takes_fsspecs_own_settings(options, bucket, tmp_path):
    variables = {f"FSSPEC_S3_{name.upper()}": value for name, value in options.items()}
    command = [sys.executable, "-m", "ncdb_dask.cli", "scan", f"{bucket}/ncdb", str(tmp_path / "scan"), "--json"]
    ran = subprocess.run(
        [*command, "--workers", "1"], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["status"] == {"ok": 24}
    plan = Path(tmp_path, "scan", "_plan", "plan.json").read_text()
    assert "something" not in plan  # secrets stay out of what is written


def test_a_set_is_chosen_and_handed_over_from_the_bucket(options, bucket, data, tmp_path):
    scan, split = f"{bucket}/sampled", f"{bucket}/sets/calibration.json"
    ncdb_dask.scan(f"{bucket}/ncdb", scan, storage_options=options)
    sampling = {"size": 6, "strategy": "random", "contact_sheet": True}
    chosen = ncdb_dask.sample(scan, split, storage_options=options, **sampling)
    names = open_folder(f"{bucket}/sets", options).list().sizes
    assert set(names) == {"calibration.json", "calibration.report.json", "calibration.png", "calibration.sheet.png"}
    local = tmp_path / "scan"
    ncdb_dask.scan(data, local)
    assert ncdb_dask.sample(local, **{**sampling, "contact_sheet": False}).keys == chosen.keys
    without = ncdb_dask.sample(scan, size=6, strategy="random", exclude=split, storage_options=options)
    assert not set(without.keys) & set(chosen.keys)
    measured = ncdb_dask.sample_report(split, scan, picture=f"{bucket}/sets/again.png", storage_options=options)
    assert measured.report.distances["mean_depth"].value == chosen.report.distances["mean_depth"].value
    assert "again.png" in open_folder(f"{bucket}/sets", options).list().sizes
    (tmp_path / "model.toml").write_text("[input]\nwidth = 8\nheight = 6\n")
    made = {"format": "npy", "model_spec": tmp_path / "model.toml"}
    with ncdb_dask.open_client(workers=1) as client:
        remote = {"root": f"{bucket}/ncdb", "storage_options": options, "client": client}
        exported = ncdb_dask.export(split, tmp_path / "remote", **made, **remote)
        assert not ncdb_dask.verify_export(tmp_path / "remote", storage_options=options, client=client).differences
    (tmp_path / "set.json").write_text(json.dumps(chosen.items()))
    here = ncdb_dask.export(tmp_path / "set.json", tmp_path / "local", root=data, **made)
    hashes = [[frame["sha256"] for frame in each.manifest.frames] for each in (exported, here)]
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 6
    for path in (tmp_path / "remote").rglob("*.json"):
        assert options["secret"] not in path.read_text()
