"""What an export says of itself: ``manifest.json``, written last."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ncdb_dask.errors import ExportError
from ncdb_dask.store.folder import Folder

MANIFEST_FILE = "manifest.json"
FORMAT = "ncdb_dask export 1"
# The small files that each format writes beside the frames.
LIST_FILES: Mapping[str, tuple[str, ...]] = {
    "images": ("image_list.txt",),
    "split": ("calibration_split.json", "data_root.txt"),
    "npy": (),
    "raw": ("input_list.txt",),
    "rknn": ("dataset.txt", "rknn_config.txt"),
    "hailo": ("calibration.alls",),
    "ncnn": ("imagelist.txt", "ncnn2table.txt"),
    "pulsar2": ("pulsar2.json",),
}


@dataclass(frozen=True)
class ExportManifest:
    """The files of an export and how they were made.

    Attributes
    ----------
    folder : str
        Where it was written: the lists hold absolute paths.
    root : str
        The data set.
    form : mapping
        What was made of each frame (`ncdb_dask.exporting.formats.Format`).
    model : mapping or None
        The model file, where the format has use for one.
    link : bool
        Whether the files are links.
    split, split_sha256 : str
        The calibration set.
    shape : list of int or None
        Of one frame, without a batch axis: what the network takes, or height, width and 3 of a picture.
    dtype : str or None
        ``float32``, or ``uint8`` for pictures.
    frames : list of mapping
        In the order of the set: ``dataset_root``, ``filename``, ``image`` (in the data set), ``file`` (the exported
        name), ``bytes`` and ``sha256`` of what the frame became.
    left_out : list of mapping
        Frames that could not be read: key, ``status`` and ``detail``.
    files : mapping of str to mapping
        Every file below the folder: ``bytes`` and ``sha256``.
    """

    folder: str
    root: str
    form: Mapping[str, Any]
    model: Mapping[str, Any] | None
    link: bool
    split: str
    split_sha256: str
    shape: list[int] | None
    dtype: str | None
    frames: list[Mapping[str, Any]]
    left_out: list[Mapping[str, Any]]
    files: Mapping[str, Mapping[str, Any]]

    def encoded(self) -> bytes:
        """Return the file."""
        return (json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n").encode()


def read_manifest(out: Folder) -> ExportManifest:
    """Read the manifest of a finished export.

    Raises
    ------
    ExportError
        Where there is none, or it is damaged.
    """
    try:
        data = out.read(MANIFEST_FILE)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ExportError(f"{out.url} holds no finished export; `ncdb-dask export SPLIT.json OUT` makes one") from error
    try:
        document = json.loads(data)
        if document.pop("format") != FORMAT:
            raise ValueError(f"expected the format {FORMAT!r}")
        return ExportManifest(**document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(
            f"{out.url}/{MANIFEST_FILE} is damaged or of another version ({error!r}); export again"
        ) from error
