"""What must be afterwards as it was: the files that a quantizer reads, and the process that it runs in."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ncdb_dask.testing.inputs import Inputs


@dataclass(frozen=True)
class Surroundings:
    """How things were.

    Attributes
    ----------
    inputs : Inputs
        Network and frames.
    files : mapping of str to str
        Their files and digests.
    folder : str
        The current one.
    environment : mapping of str to str
        Of this process.
    """

    inputs: Inputs
    files: Mapping[str, str]
    folder: str
    environment: Mapping[str, str]

    @classmethod
    def of(cls, inputs: Inputs) -> "Surroundings":
        """Look at how things are now."""
        return cls(inputs, inputs.digests(), os.getcwd(), dict(os.environ))

    def require_same(self) -> None:
        """Compare.

        Raises
        ------
        AssertionError
            Names the first thing that is not as it was.
        """
        now = Surroundings.of(self.inputs)
        for name in sorted(self.files.keys() | now.files.keys()):
            if self.files.get(name) != now.files.get(name):
                what = "removed" if name not in now.files else "added" if name not in self.files else "changed"
                raise AssertionError(f"the quantizer {what} the file {name} of its input")
        if now.folder != self.folder:
            raise AssertionError(f"the quantizer changed the current folder to {now.folder}")
        if now.environment != self.environment:
            raise AssertionError("the quantizer changed the environment of this process")
