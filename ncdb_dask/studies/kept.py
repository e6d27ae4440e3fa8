"""What is kept of a cell: a JSON file each, named by all that shapes the cell."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from ncdb_dask.calibration.ranges import Range
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.manifest import MANIFEST_FILE

FORMAT = "ncdb_dask study cell 1"
CELLS_FOLDER = "cells"
NAMED_BY = 16  # hexadecimal digits


@dataclass(frozen=True)
class KeptCell:
    """A cell that is done.

    Attributes
    ----------
    identity : str
        SHA-256 of all that shapes it.
    label : str
        What it is called.
    keys : tuple of (str, str)
        The frames of its set.
    evaluation : str
        The folder of its evaluation, below that of the study.
    figures : mapping of str to float
        Means over the frames of the evaluation.
    seconds : float
        That making and judging it took.
    ranges : mapping of str to Range
        Of the tensors that are rounded, where they are a merge of stored statistics.
    notes : tuple of str
        What a person should know.
    """

    identity: str
    label: str
    keys: tuple[tuple[str, str], ...]
    evaluation: str
    figures: Mapping[str, float]
    seconds: float
    ranges: Mapping[str, Range] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def write(self, out: LocalFolder) -> None:
        """Keep it; `OSError` where the storage fails."""
        values = {"format": FORMAT, **asdict(self)}
        out.write(_name(self.identity), json.dumps(values, indent=1).encode())

    @classmethod
    def read(cls, out: LocalFolder, identity: str) -> "KeptCell | None":
        """Return a cell that is done; None where it is not, or its evaluation is gone.

        Raises
        ------
        OSError
            Where the storage fails.
        """
        try:
            values = json.loads(out.read(_name(identity)))
            if values.pop("format") != FORMAT or values["identity"] != identity:
                return None
            values["keys"] = tuple((root, stem) for root, stem in values["keys"])
            values["ranges"] = {name: Range(**each) for name, each in values["ranges"].items()}
            kept = cls(**values)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError):  # damaged: it is made again
            return None
        evaluated = LocalFolder(f"{out.path}/{kept.evaluation}").list().sizes
        return kept if MANIFEST_FILE in evaluated else None


def _name(identity: str) -> str:
    return f"{CELLS_FOLDER}/{identity[:NAMED_BY]}.json"
