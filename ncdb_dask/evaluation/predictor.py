"""Where predictions come from: a network that runs here, or the files that came back from a board."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ncdb_dask.dataset.image import opened
from ncdb_dask.dataset.layout import Tree
from ncdb_dask.dataset.reading import blaming, read_listed, whole
from ncdb_dask.errors import DataFault
from ncdb_dask.evaluation.frame import Frame, Prediction, Size, require_same_view, same_view
from ncdb_dask.evaluation.predictions import read_prediction
from ncdb_dask.model.preprocess import preprocess
from ncdb_dask.model.session import NetworkReference, network
from ncdb_dask.model.spec import InputSpec, ModelSpec
from ncdb_dask.store.folder import LocalFolder

Values = npt.NDArray[np.float64]
# Parts of the width: up to the first, a border counts as the picture's edge; from the second on it does not.
FUSE_EDGE, FUSE_INNER = 0.05, 0.10


@dataclass(frozen=True)
class NetworkPredictor:
    """An ONNX network.

    Attributes
    ----------
    reference : NetworkReference
        The network; each process opens one session of it.
    flip : str
        As in `ncdb_dask.evaluation.protocol.Protocol`.
    """

    reference: NetworkReference
    flip: str = "none"

    def predict(self, frame: Frame, tree: Tree, truth: Size, *, stretch: bool) -> Prediction:
        """Run the network on the frame's picture; see `ncdb_dask.evaluation.frame.Predictor`."""
        spec = self.reference.spec.input
        path, tensor = read_input(frame, tree, spec, truth, stretch=stretch)
        depth = self._depth(tensor, axis=2 if spec.layout == "nchw" else 1)
        require_same_view("the network's output", _shape(depth), "its input", (spec.height, spec.width), stretch)
        return Prediction(depth, {"image_path": path})

    def _depth(self, tensor: npt.NDArray[np.float32], axis: int) -> Values:
        run = network(self.reference).depth
        if self.flip == "none":
            return run(tensor)
        mirrored = run(np.ascontiguousarray(np.flip(tensor, axis)))[:, ::-1]
        return flip_averaged(run(tensor), mirrored, self.flip)


@dataclass(frozen=True)
class FilePredictor:
    """Predictions that were made elsewhere.

    Attributes
    ----------
    folder : LocalFolder
        Where they lie.
    spec : ModelSpec or None
        Of the network that made them, where it is known.
    raw : bool
        Whether the files hold what the network put out, which `spec` decodes, or metres.
    """

    folder: LocalFolder
    spec: ModelSpec | None = None
    raw: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs that the files hold; empty for metres."""
        return self.spec.output.name if self.raw and self.spec is not None else ()

    def predict(self, frame: Frame, tree: Tree, truth: Size, *, stretch: bool) -> Prediction:
        """Read the frame's prediction; see `ncdb_dask.evaluation.frame.Predictor`."""
        if frame.files is None:
            raise DataFault("missing_prediction", f"no prediction for {frame.stem} of {frame.dataset_root}")
        output = self.spec.output if self.raw and self.spec is not None else None
        depth = read_prediction(self.folder, tuple(frame.files), output=output)
        # A network's input may be squeezed, and its output is like its input.
        squeezed = self.spec is not None and same_view(_shape(depth), (self.spec.input.height, self.spec.input.width))
        require_same_view("the prediction", _shape(depth), "the truth", truth, stretch or squeezed)
        return Prediction(depth, {"prediction_path": " ".join(frame.files)})


def read_input(
    frame: Frame, tree: Tree, spec: InputSpec, truth: Size, *, stretch: bool
) -> tuple[str, npt.NDArray[np.float32]]:
    """Return the path of a frame's picture, and what the network gets of it, without the batch dimension.

    Parameters and errors are those of `ncdb_dask.evaluation.frame.Predictor.predict`.
    """
    path = frame.image or tree.locate_image(str(frame.dataset_root), str(frame.stem))
    data = read_listed("image", tree, path, whole)
    with opened(data) as picture:
        size = (picture.height, picture.width)
    require_same_view("the picture", size, "the truth", truth, stretch)
    return path, blaming(path, lambda: preprocess(data, spec))


def flip_averaged(normal: Values, mirrored: Values, how: str) -> Values:
    """Average the prediction of a picture with that of the mirrored one, mirrored back.

    Parameters
    ----------
    normal, mirrored : ndarray of float64, shape (H, W)
        Metres.
    how : str
        ``mean`` of the depths, as AdaBins and ZoeDepth do; or ``fuse``: the mean of the inverse depths, but at the left
        border those of the mirrored picture and at the right border those of the normal one, which see more there
        (Godard et al., 2017).
    """
    if how == "mean":
        return (normal + mirrored) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = 1 / normal, 1 / mirrored
        across = np.linspace(0, 1, normal.shape[1])
        left = np.clip((FUSE_INNER - across) / (FUSE_INNER - FUSE_EDGE), 0, 1)
        right = left[::-1]
        parts = ((right, one), (left, other), (1 - left - right, (one + other) / 2))
        # What has no share is left out, because 0 times the inverse of no depth would be NaN.
        fused: Values = 1 / np.add.reduce([np.where(share == 0, 0, share * inverse) for share, inverse in parts])
        return fused


def _shape(depth: Values) -> Size:
    return depth.shape[0], depth.shape[1]
