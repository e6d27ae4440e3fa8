"""Real frames and a real network, where they are at hand beside the repository."""

import json
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2].parent / "shared"
ROOT = SHARED / "realdata" / "ncdb"
MODEL = SHARED / "models" / "meter_xxs_kitti_192x640.onnx"
SPEC = MODEL.with_suffix(".toml")
NEEDED = [
    pytest.mark.realdata,
    pytest.mark.skipif(not ROOT.is_dir() or not MODEL.exists(), reason=f"no real frames and network in {SHARED}"),
]


def kitti(split: str) -> list[dict[str, str]]:
    """Return the entries of the scenes that the network was trained for."""
    return [item for item in json.loads((ROOT / split).read_text()) if "kitti" in item["dataset_root"]]


def kitti_split(split: str, folder: Path) -> Path:
    """Write these entries as a split of their own."""
    path = folder / f"kitti_{split}"
    path.write_text(json.dumps(kitti(split)))
    return path
