"""What an export is asked to be: the options, checked and with every default resolved."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ncdb_dask.errors import ExportError
from ncdb_dask.exporting.formats import ARRAY, EITHER_LAYOUT, FORMATS, NOTHING, ORIGINAL, PIXELS, TENSOR, Format
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.store.folder import Folder, LocalFolder

# A tool's list file holds one path a line, or several separated by spaces.
_BREAKS_LISTS = re.compile(r"\s")
# ncnn2table keeps 255 characters of a path.
LONGEST_PATH = 255
LAYOUTS = ("nchw", "nhwc")


@dataclass(frozen=True)
class ExportRequest:
    """What is asked for.

    Attributes
    ----------
    split : str
        The calibration set, as given.
    root : Folder
        The data set.
    out : LocalFolder
        What is written; vendors' tools read local files.
    allowed : tuple of Folder
        Further folders in which frames may lie.
    form : Format
        With the layout of its tensors resolved.
    spec : ModelSpec or None
        The network's, where the format needs one.
    link : bool
        Make symbolic links instead of copies.
    skip_bad : bool
        Leave out frames that cannot be read, instead of stopping.
    storage_options : mapping
        For a split that is a URL.
    """

    split: str
    root: Folder
    out: LocalFolder
    allowed: tuple[Folder, ...]
    form: Format
    spec: ModelSpec | None
    link: bool = False
    skip_bad: bool = False
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        *,
        split: str,
        root: Folder,
        out: Folder,
        allowed: Iterable[Folder] = (),
        format: str,  # noqa: A002 - the name of the option
        spec: ModelSpec | None = None,
        link: bool = False,
        stack: bool = False,
        resized: bool = False,
        layout: str | None = None,
        skip_bad: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ) -> "ExportRequest":
        """Check the options and make a request of them.

        Raises
        ------
        ExportError
            An unknown format, an option that it has not, or a place whose path the tool cannot read.
        """
        if format not in FORMATS:
            raise ExportError(f"format {format!r}: expected one of {', '.join(FORMATS)}")
        if not isinstance(out, LocalFolder):
            raise ExportError(f"{out.url}: expected a local folder; the tools that read an export read local files")
        form = _shaped(FORMATS[format], spec, stack, resized, layout)
        if link and (form.payload != ORIGINAL or not isinstance(root, LocalFolder)):
            raise ExportError("link is for --format images from a local data set, whose files can be linked to")
        _check_path(out.path, form)
        used = spec if form.payload in (TENSOR, PIXELS) else None
        if form.name == "raw" and used is not None and _BREAKS_LISTS.search(used.input.name or ""):
            raise ExportError(f"[input] name {used.input.name!r}: holds a space, where raw's list would be cut")
        return cls(split, root, out, tuple(allowed), form, used, link, skip_bad, storage_options or {})

    def settings(self) -> dict[str, Any]:
        """Return what shapes the files, by the names of the options: an export continues only under the same."""
        return {
            "root": self.root.url,
            "allow_root": [folder.url for folder in self.allowed],
            "format": self.form.name,
            "resized": self.form.payload == PIXELS and FORMATS[self.form.name].payload != PIXELS,
            "stack": self.form.container != FORMATS[self.form.name].container,
            "layout": self.form.layout,
            "link": self.link,
            **{f"model {key}": value for key, value in (self.model() or {"input": {}})["input"].items()},
        }

    def model(self) -> dict[str, dict[str, Any]] | None:
        """Return the model file as JSON values; None where the format has no use for it."""
        return None if self.spec is None else self.spec.as_dict()


def require_short(paths: Iterable[str]) -> None:
    """Refuse paths that ncnn2table would cut.

    Raises
    ------
    ExportError
        Names the first.
    """
    long = next((path for path in paths if len(os.fsencode(path)) > LONGEST_PATH), None)
    if long is not None:
        raise ExportError(f"{long}: ncnn2table reads {LONGEST_PATH} bytes of a path; choose a shorter folder")


def _check_path(path: str, form: Format) -> None:
    """Refuse a folder whose path the tool would cut."""
    if len(path.splitlines()) > 1:
        raise ExportError(f"{path!r}: holds a line break, where lists of files would be cut")
    if not form.wants_spaces and _BREAKS_LISTS.search(path):
        raise ExportError(f"{path!r}: holds a space, where {form.name}'s list would be cut; choose another folder")
    if form.name == "ncnn" and "," in path:
        raise ExportError(f"{path!r}: holds a comma, where ncnn2table would begin a second list; choose another folder")


def _shaped(form: Format, spec: ModelSpec | None, stack: bool, resized: bool, layout: str | None) -> Format:
    if stack and form.name != "npy":
        raise ExportError(f"stack is for --format npy; {form.name} has one form")
    if resized and form.name != "images":
        raise ExportError("resized is for --format images; the others say by themselves what becomes of a picture")
    if layout is not None and form.payload != TENSOR:
        raise ExportError(f"layout is for formats of tensors; --format {form.name} has none")
    if layout not in (None, *LAYOUTS):
        raise ExportError(f"layout {layout!r}: expected {' or '.join(LAYOUTS)}")
    if layout not in (None, form.layout) and form.name not in EITHER_LAYOUT:
        raise ExportError(f"layout {layout}: {form.name} reads {form.layout} only; leave the option out")
    if resized:
        form = replace(form, payload=PIXELS, suffix=".png")
    if form.payload in (TENSOR, PIXELS) and spec is None:
        raise ExportError(
            f"format {form.name} needs to know the network's input; give --model-spec model.toml or --model"
        )
    if form.payload in (ORIGINAL, NOTHING) or spec is None:
        return form
    if form.payload == TENSOR:
        form = replace(form, layout=layout or form.layout or spec.input.layout)
    return replace(form, container=ARRAY) if stack else form
