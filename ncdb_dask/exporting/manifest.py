"""What an export says of itself: ``manifest.json``, written last."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ncdb_dask.errors import ExportError
from ncdb_dask.exporting.formats import FILES
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
    duplicates : int
        Entries of the set that repeated a frame; it was exported once.
    files : mapping of str to mapping
        Every file below the folder that is not a frame's own: ``bytes`` and ``sha256``.
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
    duplicates: int
    files: Mapping[str, Mapping[str, Any]]

    def every_file(self) -> dict[str, Mapping[str, Any]]:
        """Return every file below the folder, the frames' own first, with ``bytes`` and ``sha256``."""
        return {**{f"{self.form['folder']}/{frame['file']}": frame for frame in self.frames_with_files()}, **self.files}

    def frames_with_files(self) -> list[Mapping[str, Any]]:
        """Return the frames that have a file of their own."""
        own = self.form["container"] == FILES
        return [frame for frame in self.frames if frame["file"] is not None] if own else []

    def encoded(self) -> bytes:
        """Return the file: JSON, a line a frame, so that it can be read and searched however many there are."""
        values = {"format": FORMAT, **{each.name: getattr(self, each.name) for each in fields(self)}}
        lines = (f"{json.dumps(name)}: {_lines(value)}" for name, value in values.items())
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _lines(value: Any) -> str:
    """Return JSON with a line for each mapping in a list or a mapping."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return "[\n" + ",\n".join(f" {json.dumps(each)}" for each in value) + "\n]"
    return json.dumps(value)


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
