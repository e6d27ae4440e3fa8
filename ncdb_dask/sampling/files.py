"""Writing a calibration set: everything that belongs to it first, the split last."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ncdb_dask.errors import SampleError
from ncdb_dask.sampling.calibration_set import CalibrationSet
from ncdb_dask.store.folder import Folder, open_folder, reported

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
    def at(cls, split: str | os.PathLike[str]) -> "SetFiles":
        """Name the files beside a split.

        Raises
        ------
        SampleError
            Where the name is not that of a JSON file.
        """
        path = os.fspath(split)
        parent, name = os.path.split(path)
        if not name.endswith(".json") or name == ".json":
            raise SampleError(f"{path}: expected the name of a split to write, such as calibration.json")
        return cls(open_folder(parent or "."), name)

    @property
    def stem(self) -> str:
        """The split's name without its suffix."""
        return self.split.removesuffix(".json")

    @property
    def report(self) -> str:
        """Name of the report."""
        return f"{self.stem}.report.json"

    def check_free(self, overwrite: bool) -> None:
        """Refuse to replace a file that is not an earlier set, as its report tells.

        Raises
        ------
        SampleError
            Where the split is someone's own.
        """
        with reported(self.folder, "read"):
            existing = self._existing()
        if existing is not None and not overwrite and self._own_report(existing) is None:
            raise SampleError(
                f"{self.folder.url}/{self.split} exists and is no set that was chosen here; "
                "choose another name, or give --overwrite"
            )

    def _existing(self) -> bytes | None:
        try:
            return self.folder.read(self.split)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _own_report(self, split: bytes) -> dict[str, Any] | None:
        """Return the report beside a split, if that was chosen here and is unchanged."""
        try:
            report: dict[str, Any] = json.loads(self.folder.read(self.report))
            return report if report["sha256"] == hashlib.sha256(split).hexdigest() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, chosen: CalibrationSet, pictures: Mapping[str, bytes]) -> dict[str, str]:
        """Write the set; `pictures` are PNGs by suffix. Returns where everything is.

        An earlier set is gone first, with its pictures: a failure leaves no split beside another one's report.

        Raises
        ------
        StorageError
            Where the folder cannot be written.
        """
        split = (json.dumps(chosen.items(), indent=1) + "\n").encode()
        named = {self.stem + suffix: data for suffix, data in pictures.items()}
        document = {**chosen.report.as_dict(), "pictures": list(named), "sha256": hashlib.sha256(split).hexdigest()}
        report = (json.dumps(document, indent=1) + "\n").encode()
        with reported(self.folder, "write"):
            existing = self._existing()
            if existing is not None:
                own = self._own_report(existing) or {}
                drawn = {self.stem + suffix for suffix in (PICTURE_SUFFIX, SHEET_SUFFIX)} & set(own.get("pictures", ()))
                for name in (self.split, *(drawn - set(named))):
                    self.folder.remove(name)
            for name, data in {**named, self.report: report, self.split: split}.items():
                self.folder.write(name, data)
        return {name: f"{self.folder.url}/{name}" for name in (self.split, self.report, *named)}
