"""Exports by real processes and on a real cluster: killed at any moment, they end as an undisturbed one does."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.exports import FORMS, assert_sound, contents, export, handed_over, manifest, write_spec
from helpers.faults import Deadly, always, die_at_payload, once
from helpers.trees import write_tree

import ncdb_dask
from ncdb_dask.errors import ExportError
from ncdb_dask.runtime import settings
from ncdb_dask.runtime.events import ShardDone, ShardSuspected

TESTS = Path(__file__).parents[1]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_tree(folder, 12)
    write_spec(tmp_path / "model.toml")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def undisturbed(root, out, form):
    export(root, out, form)
    made = handed_over(out)
    out.rename(out.with_name("undisturbed"))
    return made


def drive(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "helpers.export_driver", *map(str, arguments)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("form", "moment"),
    [
        ("images", "plan.json"),
        ("npy", "synced_data__b__0000000003.npy"),
        ("linked", "receipts/shard-000002.json"),
        ("hailo", "shard-000002.part"),
        ("raw", "input_list.txt"),
        ("rknn", "_export/_manifest.json"),
        ("pulsar2", "out/manifest.json"),
    ],
)
def test_a_process_killed_at_any_rename(form, moment, root, out):
    whole = undisturbed(root, out, form)
    ran = drive(root, out, form, moment)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert not (out / "manifest.json").exists()
    assert list(out.rglob("*.tmp"))  # it died before it could clear away
    export(root, out, form)
    assert handed_over(out) == whole
    assert_sound(out)


def test_a_process_killed_while_workers_work(root, out):
    whole = undisturbed(root, out, "npy")
    ran = drive(root, out, "npy", "first-shard", 2)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert not (out / "manifest.json").exists()
    export(root, out, "npy")
    assert handed_over(out) == whole
    assert_sound(out)


def test_a_cluster_gives_the_same_bytes_as_this_process(root, out):
    made = {}
    for form in FORMS:
        made[form] = undisturbed(root, out, form)
        (out.with_name("undisturbed")).rename(out.with_name(f"here-{form}"))
    with ncdb_dask.open_client(workers=2) as client:
        for form in FORMS:
            export(root, out, form, client=client, shard_size=2)
            assert handed_over(out) == made[form]
            assert_sound(out)
            assert not ncdb_dask.verify_export(out, client=client).differences
            out.rename(out.with_name(f"cluster-{form}"))


@pytest.mark.parametrize("form", ["images", "hailo"])
def test_a_worker_that_dies_once(form, root, out, tmp_path):
    whole = undisturbed(root, out, form)
    with ncdb_dask.open_client(workers=2) as client:
        client.register_plugin(Deadly(die_at_payload, once, tmp_path / "died", "b/image_a6/0000000003"))
        export(root, out, form, client=client)
    assert (tmp_path / "died").exists()
    assert handed_over(out) == whole
    assert_sound(out)


def test_a_frame_that_kills_every_worker_is_named_and_may_be_left_out(root, out, monkeypatch):
    # Two deaths make a suspect here, to keep the test short; the product waits for four.
    monkeypatch.setitem(settings.LOCAL_SETTINGS, "distributed.scheduler.allowed-failures", 1)
    events = []
    with ncdb_dask.open_client(workers=2) as client:
        client.register_plugin(Deadly(die_at_payload, always, "b/image_a6/0000000003"))
        with pytest.raises(
            ExportError, match=r"1 of 12 frames cannot be exported: 1 crashed \(decoding this frame kil"
        ):
            export(root, out, "hailo", client=client, observer=events.append)
        assert not (out / "manifest.json").exists()
        assert any(isinstance(event, ShardSuspected) for event in events)
        events.clear()
        export(root, out, "hailo", client=client, observer=events.append, skip_bad=True)
        # It may have been mended: its shard is tried again, and only this.
        assert [event.shard for event in events if isinstance(event, ShardDone)] == [2]
    assert [(frame["filename"], frame["status"]) for frame in manifest(out)["left_out"]] == [("0000000003", "crashed")]
    assert_sound(out)
    assert not ncdb_dask.verify_export(out).differences


def test_two_exports_into_one_folder_do_not_disturb_each_other(root, out):
    whole = undisturbed(root, out, "npy")
    arguments = ["train_split.json", out, "--root", root, "--format", "npy", "--shard-size", "3", "--workers", "0"]
    command = [
        sys.executable,
        "-m",
        "ncdb_dask.cli",
        "export",
        *arguments,
        "--model-spec",
        root.with_name("model.toml"),
    ]
    processes = [subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate()[1].decode() for process in processes]
    assert 0 in [process.returncode for process in processes], said
    assert not any("Traceback" in text for text in said), said
    export(root, out, "npy")
    assert handed_over(out) == whole
    assert contents(out)
