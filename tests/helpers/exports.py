"""Exports in this process, and readers of what they write that share no code with the writers."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import ncdb_dask
from ncdb_dask.exporting.finish import Export
from ncdb_dask.model.spec import InputSpec, ModelSpec

INPUT: Mapping[str, Any] = {
    "name": "image",
    "width": 8,
    "height": 6,
    "mean": [0.1, 0.2, 0.3],
    "std": [0.5, 0.25, 0.125],
}
TENSORS = ("npy", "raw", "hailo", "pulsar2")
PICTURES = ("rknn", "ncnn")
# Every form of an export, as the options that ask for it.
FORMS: Mapping[str, Mapping[str, Any]] = {
    "images": {"format": "images"},
    "linked": {"format": "images", "link": True},
    "resized": {"format": "images", "resized": True},
    "split": {"format": "split"},
    "npy": {"format": "npy"},
    "stacked": {"format": "npy", "stack": True},
    "raw": {"format": "raw"},
    "rknn": {"format": "rknn"},
    "hailo": {"format": "hailo"},
    "ncnn": {"format": "ncnn"},
    "pulsar2": {"format": "pulsar2"},
}


def write_spec(path: Path, **changes: Any) -> Path:
    """Write a model file, and return its path; a value of None leaves the key out."""
    keys = {key: value for key, value in {**INPUT, **changes}.items() if value is not None}
    path.write_text("[input]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))
    return path


def spec_of(**changes: Any) -> InputSpec:
    """Return the input of that model file."""
    return ModelSpec.from_dict({"input": {**INPUT, **changes}}).input


def export(root: Path, out: Path, form: str, **options: Any) -> Export:
    """Export the tree's split in a form of `FORMS`, by a model file beside the data."""
    if form not in ("images", "linked", "split"):
        options.setdefault("model_spec", root.with_name("model.toml"))
    return ncdb_dask.export(
        options.pop("split", "train_split.json"), out, **({"root": root, "shard_size": 3} | FORMS[form] | options)
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, links followed."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def handed_over(folder: Path) -> dict[str, bytes]:
    """Return what a tool sees: all but the run's own folder."""
    return {name: data for name, data in contents(folder).items() if not name.startswith("_export/")}


def manifest(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return document


def frame_files(out: Path) -> list[str]:
    """The frames' file names in the manifest's order."""
    return [frame["file"] for frame in manifest(out)["frames"]]


def feed(data: bytes, spec: InputSpec) -> np.ndarray:
    """What the network is fed in evaluation."""
    from ncdb_dask.model.preprocess import preprocess

    return preprocess(data, spec)


def pictures(root: Path, keys: list[tuple[str, str]]) -> list[bytes]:
    """The files of the frames' pictures."""
    return [next((root / scene / "image_a6").glob(f"{stem}.*")).read_bytes() for scene, stem in keys]


def tar_members(path: Path) -> dict[str, bytes]:
    """Every file of a tar, in order."""
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}


def png_pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG"
        assert picture.mode == "RGB"
        return np.asarray(picture)


def every_file(out: Path) -> dict[str, dict[str, Any]]:
    """What the manifest says of each file: size and hash."""
    about = manifest(out)
    own = about["form"]["container"] == "files" and about["form"]["payload"] != "nothing"
    folder, frames = about["form"]["folder"], about["frames"] if own else []
    files = {f"{folder}/{frame['file']}": {key: frame[key] for key in ("bytes", "sha256")} for frame in frames}
    assert not files.keys() & about["files"].keys()
    return {**files, **about["files"]}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def assert_sound(out: Path) -> None:
    """The manifest names every file that a tool sees, with its size and hash, and nothing half-done is left."""
    named = every_file(out)
    seen = handed_over(out)
    assert set(seen) == {*named, "manifest.json"}
    for name, about in named.items():
        assert about == {"bytes": len(seen[name]), "sha256": sha256(seen[name])}
    assert not list(out.rglob("*.tmp"))
    assert not list(out.rglob("*.part"))
