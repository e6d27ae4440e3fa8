"""Which frames are evaluated: those of splits in order, or the rows of a scan that an expression fits."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers.scans import Row, faulty, forge, row

from ncdb_dask.dataset.split import Roots
from ncdb_dask.dataset.split_file import read_splits
from ncdb_dask.errors import EvaluationError, PlanError
from ncdb_dask.evaluation.frame import Frame
from ncdb_dask.evaluation.frames import Frames, of_scan, of_splits
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.store.folder import LocalFolder

MEANS = (1.0, 5.0, 10.0, 40.0)  # a frame in every range


def local(path: Path) -> LocalFolder:
    return LocalFolder(str(path))


# Splits


def of_files(root: Path, **documents: str) -> Frames:
    for name, text in documents.items():
        (root / f"{name}.json").write_text(text)
    folder = local(root)
    return of_splits(read_splits([f"{name}.json" for name in documents], folder), Roots.of(folder))


def item(scene: str, stem: str) -> str:
    return f'{{"dataset_root": "{scene}", "new_filename": "{stem}"}}'


def test_the_frames_of_splits_keep_their_order_and_come_once(tmp_path):
    one = f"[{item('b', '02')}, {item('a', '01')}, {item('./b', '02')}]"
    two = f"[{item('a', '02')}, {item('a', '01')}]"
    found = of_files(tmp_path, one=one, two=two)
    assert [(frame.split, frame.entry, frame.dataset_root, frame.stem) for frame in found.frames] == [
        ("one.json", 0, "b", "02"),
        ("one.json", 1, "a", "01"),
        ("two.json", 0, "a", "02"),
    ]
    assert found.duplicates == 2
    assert [*found.inputs] == ["one.json", "two.json"]
    assert all(len(digest) == 64 for digest in found.inputs.values())


def test_entries_that_name_no_frame_stay_in_their_place(tmp_path):
    found = of_files(tmp_path, one=f"[7, {item('a', '01')}, {item('../b', '02')}, {item('a', '../02')}]")
    assert [frame.status for frame in found.frames] == ["bad_entry", None, "unsafe_path", "unsafe_path"]
    assert found.frames[0].detail == "one.json: entry 0 is a JSON number, not an object: 7"
    assert [frame.entry for frame in found.frames] == [0, 1, 2, 3]
    assert found.frames[2].dataset_root is None


def test_nothing_is_known_of_a_frame_of_a_split_but_its_key(tmp_path):
    (frame,) = of_files(tmp_path, one=f"[{item('a', '01')}]").frames
    assert frame == Frame("one.json", 0, "a", "01")


# Scans


def full(scene: str, stem: str, mean: float, **columns: object) -> Row:
    """A row with everything that an evaluation reads."""
    paths = {"image_path": f"{scene}/image_a6/{stem}.png", "depth_path": f"{scene}/depth/{stem}.png"}
    source = {"split": "train_split.json", "entry": 0, "depth_scale": 256.0}
    return row(scene, stem, mean, **{**paths, **source, **columns})


def scan(tmp_path: Path, rows: Sequence[Row]) -> ScanTable:
    return ScanTable(local(forge(tmp_path / "scan", rows)))


@pytest.fixture
def table(tmp_path: Path) -> ScanTable:
    rows = [full("a", f"{number}", mean, lighting="dusk" if number else None) for number, mean in enumerate(MEANS)]
    return scan(tmp_path, [*rows, faulty("a", "9"), faulty(None, None, "bad_entry")])


def stems(found: Frames) -> list[str | None]:
    return [frame.stem for frame in found.frames]


def test_only_sound_rows_are_frames(table):
    found = of_scan(table)
    assert stems(found) == ["0", "1", "2", "3"]
    assert {frame.status for frame in found.frames} == {None}
    assert found.duplicates == 0
    assert list(found.inputs) == [table.folder.url]


def test_a_scan_that_has_grown_is_another_one(tmp_path):
    rows = [full("a", f"{number}", mean) for number, mean in enumerate(MEANS)]
    small, large = (of_scan(scan(tmp_path / name, some)).inputs for name, some in (("one", rows[:2]), ("two", rows)))
    assert [*small.values()] != [*large.values()]


def test_a_frame_knows_what_the_scan_found(tmp_path):
    found = full("a/b", "7", 10.0, depth_scale=1000.0, depth_variant="newest", entry=3, split="x.json", lighting="day")
    assert of_scan(scan(tmp_path, [found])).frames == [
        Frame(
            "x.json",
            3,
            "a/b",
            "7",
            image="a/b/image_a6/7.png",
            depth="a/b/depth/7.png",
            variant="newest",
            depth_scale=1000.0,
            depth_range="far",
            scene_type=found["scene_type"],
            lighting="day",
        )
    ]


def test_every_row_has_its_own_unit_and_range(tmp_path):
    units = (256.0, 1000.0, 100.0, 1.0)
    rows = [full("a", f"{unit}", mean, depth_scale=unit) for unit, mean in zip(units, MEANS, strict=True)]
    found = of_scan(scan(tmp_path, rows)).frames
    assert [frame.depth_scale for frame in found] == [*units]
    assert [frame.depth_range for frame in found] == ["near", "mid", "far", "very_far"]


def test_what_the_scan_does_not_know_is_none(table):
    assert [frame.lighting for frame in of_scan(table).frames] == [None, "dusk", "dusk", "dusk"]
    assert all(type(frame.entry) is int and type(frame.depth_scale) is float for frame in of_scan(table).frames)


def test_an_unfinished_scan_is_refused(tmp_path):
    rows = [full("a", f"{number}", 2.0) for number in range(4)]
    unfinished = ScanTable(local(forge(tmp_path / "scan", rows, shard_size=2, unfinished=True)))
    with pytest.raises(PlanError, match="1 of 2 shards are done"):
        of_scan(unfinished)


def test_a_scan_without_a_sound_row_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match="no row of status ok; expected at least one"):
        of_scan(scan(tmp_path, [faulty("a", "1"), faulty("a", "2")]))


# Which rows


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("depth_range == 'far'", "2"),
        ("depth_range in ['near', 'very_far']", "03"),
        ("mean_depth > 4", "123"),
        ("mean_depth > 4 and mean_depth < 20", "12"),
        ("4 < mean_depth < 20", "12"),
        ("(mean_depth < 4) | (mean_depth > 20)", "03"),
        ("not mean_depth > 4", "0"),
        ("lighting == 'dusk'", "123"),
        ("lighting != 'dusk'", "0"),  # what is not known is not dusk
        ("filename.str.startswith('3')", "3"),
        ("dataset_root == 'a' and valid_pixels >= 192", "0123"),
        ("scale_ambiguous == False", "0123"),
        ("~scale_ambiguous", "0123"),
        ("status == 'ok'", "0123"),
    ],
)
def test_an_expression_chooses_rows(where, chosen, table):
    assert stems(of_scan(table, where)) == [*chosen]


def refusal(table: ScanTable, where: str) -> str:
    with pytest.raises(EvaluationError) as caught:
        of_scan(table, where)
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_an_expression_that_fits_no_row_is_refused(table):
    assert refusal(table, "mean_depth > 100") == (
        f"{table.folder.url}: no row of status ok that fits 'mean_depth > 100' "
        "(mean_depth is from 1 to 40); expected at least one"
    )


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("median > 2", "'median' is no column"),
        ("scene_type", "not true or false for each row"),
        ("mean_depth", "it gives float64, not true or false for each row"),
        ("mean_depth >", "invalid syntax"),
        ("mean_depth > 'far'", "cannot be evaluated"),
        ("", "cannot be evaluated"),
        ("  ", "cannot be evaluated"),
        ("1", "it gives a single value"),
        ("True", "cannot be evaluated"),
        ("'far'", "cannot be evaluated"),
        ("depth_range = 'far'", "equality is written =="),
        ("mean_depth > 2\nmean_depth < 4", "cannot be evaluated"),
        ("depth_hist > 2", "'depth_hist' is no column"),
        ("(" * 5000, "cannot be evaluated"),
        ("mean_depth > 2; import os", "cannot be evaluated"),
        ("lambda: True", "cannot be evaluated"),
        ("[filename for filename in [1]]", "cannot be evaluated"),
        ("nosuch(mean_depth)", "cannot be evaluated"),
    ],
    ids=lambda value: value[:30],
)
def test_an_expression_that_cannot_be_used_is_one_error(where, says, table):
    said = refusal(table, where)
    assert said.startswith(f"where {where[:50]!r}: " if len(where) < 50 else f"where '{where[:50]}")
    assert says in said
    assert "expected comparisons of the scan's columns and depth_range, such as: depth_range == 'far'" in said
    assert len(said) < 1000


SYSTEM = ".__globals__['sys'].modules['os'].system('touch {file}') == 0"


@pytest.mark.parametrize(
    "where",
    [
        "@os.system('touch {file}') == 0",
        "@rows.to_csv('{file}')",
        "@table",
        "@__builtins__",
        "__class__",
        "__import__('os').system('touch {file}') == 0",
        "open('{file}', 'w')",
        "eval('1')",
        "filename.__class__",
        "filename.__class__.__name__ == 'Series'",
        "().__class__.__bases__",
        "mean_depth.map(@print)",
        "filename.__class__.__init__" + SYSTEM,
        "filename.map" + SYSTEM,
        "filename == filename.map" + SYSTEM.removesuffix(" == 0"),
        "mean_depth.to_csv('{file}')",
        "mean_depth.to_pickle('{file}')",
        "filename != mean_depth.to_json('{file}')",
    ],
)
def test_an_expression_reaches_columns_and_nothing_else(where, table, tmp_path):
    file = tmp_path / "reached"
    where = where.format(file=file)
    with pytest.raises(EvaluationError, match="cannot be evaluated"):
        of_scan(table, where)
    assert not file.exists()


def test_only_the_columns_that_are_named_are_read(table, monkeypatch):
    asked = []
    read = ScanTable.columns
    monkeypatch.setattr(ScanTable, "columns", lambda self, names: (asked.extend(names), read(self, names))[1])
    of_scan(table, "phash.isna() and mean_depth > 2")
    assert "phash" in asked
    assert not {"depth_hist", "luma_mean", "depth_bytes"} & {*asked}
