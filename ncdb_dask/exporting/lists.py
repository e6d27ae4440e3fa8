"""The small files beside the frames: what a vendor's tool is pointed at, and the options that go with it."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ncdb_dask.errors import ExportError
from ncdb_dask.exporting.formats import CONTAINER_FILES, TAR, Format
from ncdb_dask.model.spec import InputSpec


@dataclass(frozen=True)
class Exported:
    """The frames of an export, as the lists need them.

    Attributes
    ----------
    folder, root : str
        Where the export and the data set are.
    form : Format
        Of the export.
    spec : InputSpec or None
        The network's input in the layout of the files.
    rows : sequence of mapping
        Of the frames that were exported, in the order of the set.
    """

    folder: str
    root: str
    form: Format
    spec: InputSpec | None
    rows: Sequence[Mapping[str, Any]]

    def paths(self) -> list[str]:
        """Return the absolute path of each frame's file."""
        folder = os.path.join(self.folder, self.form.folder)
        return [os.path.join(folder, row["file"]) for row in self.rows]

    @property
    def input(self) -> InputSpec:
        """The network's input, for formats that cannot do without."""
        if self.spec is None:
            raise ExportError(f"format {self.form.name} needs a model file")
        return self.spec


def list_files(exported: Exported) -> dict[str, bytes]:
    """Return the small files of a format by name."""
    made = _LISTS[exported.form.name](exported)
    # A path is whatever bytes the file system holds.
    return {name: text.encode("utf-8", "surrogateescape") for name, text in made.items()}


def _lines(paths: Sequence[str]) -> str:
    return "".join(f"{path}\n" for path in paths)


def _images(exported: Exported) -> dict[str, str]:
    return {"image_list.txt": _lines(exported.paths())}


def _split(exported: Exported) -> dict[str, str]:
    items = [{"dataset_root": row["dataset_root"], "new_filename": row["filename"]} for row in exported.rows]
    return {
        "calibration_split.json": json.dumps(items, indent=1) + "\n",
        "data_root.txt": f"{exported.root}\n",
    }


def _none(exported: Exported) -> dict[str, str]:
    return {}


def _raw(exported: Exported) -> dict[str, str]:
    """SNPE and QNN: one sample a line, ``name:=path`` where the name of the input is known; no comments exist."""
    prefix = f"{exported.input.name}:=" if exported.input.name else ""
    return {"input_list.txt": _lines([prefix + path for path in exported.paths()])}


def _rknn(exported: Exported) -> dict[str, str]:
    """RKNN: ``(x - mean) / std`` in units of 0 to 255, which is ours with both multiplied by the scale."""
    spec = exported.input
    mean, std = (", ".join(_number(value * spec.scale) for value in three) for three in (spec.mean, spec.std))
    options = f"mean_values=[[{mean}]], std_values=[[{std}]], quant_img_RGB2BGR={spec.channels == 'bgr'}"
    return {"dataset.txt": _lines(exported.paths()), "rknn_config.txt": f"{options}\n"}


def _hailo(exported: Exported) -> dict[str, str]:
    """Hailo looks at 64 frames unless the model script says more."""
    return {"calibration.alls": f"model_optimization_config(calibration, calibset_size={len(exported.rows)})\n"}


def _ncnn(exported: Exported) -> dict[str, str]:
    """ncnn2table: ``(x - mean) * norm`` in units of 0 to 255; a space inside the brackets would make a number 0."""
    spec = exported.input
    mean = ",".join(_number(value * spec.scale) for value in spec.mean)
    norm = ",".join(_number(1 / (spec.scale * value)) for value in spec.std)
    shape = f"{spec.width},{spec.height},3"
    options = f"mean=[{mean}] norm=[{norm}] shape=[{shape}] pixel={spec.channels.upper()} method=kl\n"
    return {"imagelist.txt": _lines(exported.paths()), "ncnn2table.txt": options}


def _pulsar2(exported: Exported) -> dict[str, str]:
    """Pulsar2 takes 32 frames unless told more; Numpy files are taken as they are, so there is no mean and no std."""
    entry = {
        "tensor_name": exported.input.name or "DEFAULT",
        "calibration_dataset": os.path.join(exported.folder, CONTAINER_FILES[TAR]),
        "calibration_format": "Numpy",
        "calibration_size": len(exported.rows),
    }
    text = json.dumps({"quant": {"input_configs": [entry]}}, indent=2, ensure_ascii=False)
    return {"pulsar2.json": f"{text}\n"}


def _number(value: float) -> str:
    """Write what float32 holds of a number, in fewer than the 19 characters that ncnn2table keeps."""
    return f"{value:.9g}"


_LISTS: Mapping[str, Callable[[Exported], dict[str, str]]] = {
    "images": _images,
    "split": _split,
    "npy": _none,
    "raw": _raw,
    "rknn": _rknn,
    "hailo": _hailo,
    "ncnn": _ncnn,
    "pulsar2": _pulsar2,
}
