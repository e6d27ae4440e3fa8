"""Writing a calibration set: everything that belongs to it first, the split last."""

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ncdb_dask.errors import SampleError
from ncdb_dask.sampling.calibration_set import CalibrationSet
from ncdb_dask.store.folder import Folder, Location, file_at, reported

PICTURE_SUFFIX, SHEET_SUFFIX = ".png", ".sheet.png"


@dataclass(frozen=True)
class SetFiles:
    """Where a set and what belongs to it lie: ``set.json``, ``set.report.json``, ``set.png``, ``set.sheet.png``.

    Attributes
    ----------
    folder : Folder
        Of all of them.
    split : str
        Name of the split.
    """

    folder: Folder
    split: str

    @classmethod
    def at(cls, split: Location, options: Mapping[str, Any] | None = None) -> "SetFiles":
        """Name the files beside a split; `options` are fsspec's for URLs.

        Raises
        ------
        SampleError
            Where the name is not that of a JSON file.
        """
        folder, name = file_at(split, options)
        if not name.endswith(".json") or name == ".json":
            raise SampleError(f"{os.fspath(split)}: expected the name of a split to write, such as calibration.json")
        return cls(folder, name)

    @property
    def stem(self) -> str:
        """The split's name without its suffix."""
        return self.split.removesuffix(".json")

    @property
    def report(self) -> str:
        """Name of the report."""
        return f"{self.stem}.report.json"

    def check_free(self, overwrite: bool, pictures: Collection[str] = ()) -> None:
        """Refuse to replace a file that is not of an earlier set, as its report tells.

        Parameters
        ----------
        overwrite : bool
            Replace it all the same.
        pictures : collection of str
            Suffixes of the pictures that are to be written.

        Raises
        ------
        SampleError
            Where a file is someone's own.
        """
        with reported(self.folder, "read"):
            held = self.folder.list()
            wanted = {self.split, self.report, *(self.stem + suffix for suffix in pictures)}
            foreign = sorted(wanted & {*held.sizes} - self._own_files())
        if wanted & held.folders:
            raise SampleError(f"{self.folder.url}/{min(wanted & held.folders)} is a folder; choose another name")
        if foreign and not overwrite:
            raise SampleError(
                f"{self.folder.url}/{foreign[0]} exists and is of no set that was chosen here, or was changed since; "
                "choose another name, or give --overwrite"
            )

    def _own_files(self) -> set[str]:
        """Name the files of an earlier set: those that its report lists, while its split is the one that it was."""
        try:
            report = json.loads(self.folder.read(self.report))
            digest, pictures = report["sha256"], set(report["pictures"])
        except (OSError, ValueError, KeyError, TypeError):
            return set()
        own = {self.report} | pictures & {self.stem + PICTURE_SUFFIX, self.stem + SHEET_SUFFIX}
        try:
            split = self.folder.read(self.split)
        except FileNotFoundError:
            return own
        return {*own, self.split} if hashlib.sha256(split).hexdigest() == digest else set()

    def places(self, picture: bool, contact_sheet: bool) -> dict[str, str]:
        """Return where each file of a set is written."""
        drawn = {"picture": PICTURE_SUFFIX} if picture else {}
        drawn |= {"contact_sheet": SHEET_SUFFIX} if contact_sheet else {}
        names = {"split": self.split, "report": self.report, **{kind: self.stem + end for kind, end in drawn.items()}}
        return {kind: f"{self.folder.url}/{name}" for kind, name in names.items()}

    def write(self, chosen: CalibrationSet, pictures: Mapping[str, bytes]) -> None:
        """Write the set; `pictures` are PNGs by suffix.

        The pictures of an earlier set, if no new ones take their place, are removed.

        Raises
        ------
        StorageError
            Where the folder cannot be written; an earlier set then stays as it was.
        """
        split = (json.dumps(chosen.items(), indent=1) + "\n").encode()
        named = {self.stem + suffix: data for suffix, data in pictures.items()}
        document = {**chosen.report.as_dict(), "pictures": list(named), "sha256": hashlib.sha256(split).hexdigest()}
        report = (json.dumps(document, indent=1) + "\n").encode()
        with reported(self.folder, "write"):
            outdated = self._own_files() - {*named, self.report, self.split}
            self.folder.write_all({**named, self.report: report, self.split: split})
            for name in outdated:
                self.folder.remove(name)
