"""What is evaluated, as a caller names it: a network or a folder of predictions, and its model file."""

import os
from dataclasses import dataclass

from ncdb_dask.errors import EvaluationError
from ncdb_dask.evaluation.listing import SUFFIXES
from ncdb_dask.evaluation.predictor import FilePredictor, NetworkPredictor
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import EvaluationSpec, ModelSpec, find_spec, read_spec
from ncdb_dask.store.folder import LocalFolder, Location

METRES, OUTPUT = "metres", "output"


@dataclass(frozen=True)
class Source:
    """A network or predictions that are there, with their model file read.

    Attributes
    ----------
    path : str
        Of the ONNX file or the folder.
    spec : ModelSpec or None
        The model file; predictions may have none.
    raw : bool
        Whether predictions are what the network put out.
    """

    path: str
    spec: ModelSpec | None
    raw: bool = False

    @classmethod
    def of(cls, model: Location, model_spec: Location | None, values: str = METRES) -> "Source":
        """Look what there is.

        Raises
        ------
        EvaluationError
            Nothing there, a single prediction, or values that do not go with it.
        SpecError
            A model file that is missing or cannot be used.
        """
        path = os.path.abspath(os.path.expanduser(os.fspath(model).removeprefix("file://")))
        if values not in (METRES, OUTPUT):
            raise EvaluationError(f"values {values!r}: expected {METRES} or {OUTPUT}")
        if not os.path.exists(path):
            raise EvaluationError(f"{path}: no such file; expected an ONNX network or a folder of predictions")
        if os.path.isdir(path):
            if model_spec is None and values == OUTPUT:
                raise EvaluationError(
                    "values output: give --model-spec, which says how the network's output becomes metres"
                )
            return cls(path, None if model_spec is None else read_spec(model_spec), values == OUTPUT)
        if path.lower().endswith(SUFFIXES):
            raise EvaluationError(f"{path}: is one prediction; give the folder that holds those of all frames")
        if values != METRES:
            raise EvaluationError(f"values {values}: is for predictions from files; leave it out for a network")
        return cls(path, read_spec(find_spec(path, model_spec)))

    @property
    def evaluation(self) -> EvaluationSpec | None:
        """What the model file says of the evaluation."""
        return None if self.spec is None else self.spec.evaluation

    def predictor(self, provider: str, threads: int, flip: str) -> NetworkPredictor | FilePredictor:
        """Return what gives predictions.

        Raises
        ------
        EvaluationError
            Options of a network for predictions.
        SpecError
            A network that does not fit its model file.
        """
        if not os.path.isdir(self.path):
            assert self.spec is not None  # `of` has read it
            return NetworkPredictor(NetworkReference.of(self.path, self.spec, provider, threads), flip)
        if provider != "cpu" or threads != 1:
            raise EvaluationError("provider and threads are for networks; predictions from files are only read")
        return FilePredictor(LocalFolder(self.path), self.spec, self.raw)
