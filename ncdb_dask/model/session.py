"""One ONNX Runtime session a network and process: what travels to the workers is a reference, never a session."""

import errno
import os
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ncdb_dask.errors import SpecError
from ncdb_dask.model.decode import decode
from ncdb_dask.model.files import digest, weight_files
from ncdb_dask.model.graph import check_graph, check_outputs, load_graph
from ncdb_dask.model.preprocess import normalised
from ncdb_dask.model.providers import check_available, full_name
from ncdb_dask.model.spec import ModelSpec

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

FATAL = 4  # ONNX Runtime's severity; what is below it is raised as well, or of no use to a user
REASON_LENGTH = 500  # characters of ONNX Runtime's own words that a message repeats
# Codes and places in its source, of which its messages are full.
_NOISE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |/onnxruntime_src/\S+:\d+ ")
# It has no kind of error for this.
_OUT_OF_MEMORY = re.compile("out of memory|failed to allocate|bad.alloc|alloc_failed", re.IGNORECASE)
# ONNX Runtime starts as many as it is told, and needs minutes and gigabytes for a hundred thousand.
MOST_THREADS = 1024
# What compares two networks frame by frame opens each once.
OPEN_AT_ONCE = 2
_opening = threading.Lock()


@dataclass(frozen=True, slots=True)
class NetworkReference:
    """A network as it travels to the workers: where it lies, what it is, and how it is run.

    Attributes
    ----------
    path : str
        Of the ONNX file, absolute.
    sha256 : str
        Of all its files, see `ncdb_dask.model.files.digest`.
    spec : ModelSpec
        With the names of input and output.
    provider : str
        ONNX Runtime's full name of it.
    threads : int
        That one call of the network uses.
    weights : tuple of str
        Other files that hold weights, relative to the folder of `path`.
    """

    path: str
    sha256: str
    spec: ModelSpec
    provider: str = "CPUExecutionProvider"
    threads: int = 1
    weights: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, model: str | os.PathLike[str], spec: ModelSpec, provider: str = "cpu", threads: int = 1
    ) -> "NetworkReference":
        """Check a network against its model file and refer to it.

        Parameters
        ----------
        model : path
            The ONNX file.
        spec : ModelSpec
            Its model file.
        provider : str
            Such as ``cpu``, ``cuda`` or ``TensorrtExecutionProvider``; only the machine that opens it must have it.
        threads : int
            That one call of the network uses.

        Raises
        ------
        SpecError
            For too few or too many threads, an unknown provider, a graph that does not fit its model file
            (`check_graph`, `check_outputs`), or a file that is missing.
        """
        if not 1 <= threads <= MOST_THREADS:
            raise SpecError(f"threads = {threads}; expected 1 to {MOST_THREADS} for a network")
        path, name = os.path.abspath(model), full_name(provider)
        checked = check_graph(path, spec)
        graph = load_graph(path)
        check_outputs(path, graph, checked.output)
        weights = weight_files(path, graph)
        try:
            sha256 = digest(path, weights)
        except OSError as error:
            raise SpecError(
                f"{path}: needs {error.filename or 'its weights'}, which cannot be read ({error.strerror or error}); "
                "put all files of the network in one folder"
            ) from error
        return cls(path, sha256, checked, name, threads, weights)

    def open(self) -> "Network":
        """Return the network, opened in this process; see `network`."""
        return network(self)

    def check_digest(self) -> None:
        """Refuse another network under the same path.

        Raises
        ------
        SpecError
            Where its files are not those that were referred to.
        OSError
            Where one cannot be read, which may pass.
        """
        found = digest(self.path, self.weights)
        if found != self.sha256:
            raise SpecError(
                f"{self.path}: is not the file that the run was planned with (SHA-256 {found[:12]}..., expected "
                f"{self.sha256[:12]}...); put that file there, or plan a new run with this one"
            )


class Network:
    """A network that is open in this process; `network` returns it.

    Parameters
    ----------
    reference : NetworkReference
        What was opened.
    session : onnxruntime.InferenceSession
        Several threads may use it at once.
    """

    def __init__(self, reference: NetworkReference, session: "InferenceSession") -> None:
        self.reference = reference
        self._session = session

    def run(self, tensor: npt.NDArray[np.float32]) -> list[npt.NDArray[np.generic]]:
        """Return the outputs that the model file names, in its order.

        Parameters
        ----------
        tensor : ndarray of float32, shape (3, height, width) or (height, width, 3)
            As `ncdb_dask.model.preprocess.preprocess` returns it, without the batch dimension.

        Raises
        ------
        SpecError
            Where the network fails.
        OSError
            Where memory runs out.
        """
        spec = self.reference.spec
        try:
            outputs: list[npt.NDArray[np.generic]] = self._session.run(
                list(spec.output.name), {spec.input.name: tensor[None]}
            )
        except Exception as error:  # ONNX Runtime's kinds have no base of their own
            raise _failure(self.reference, "fails when it is run", error) from error
        return outputs

    def depth(self, tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the network's depth in metres, shape (H, W): `run`, then `decode`.

        Raises
        ------
        SpecError
            Where the network fails, or an output is no map.
        OSError
            Where memory runs out.
        """
        outputs = self.run(tensor)
        try:
            return decode(outputs, self.reference.spec.output)
        except ValueError as error:
            raise SpecError(f"{self.reference.path}: {error}") from error


def network(reference: NetworkReference) -> Network:
    """Open a network in this process, or return the one that is open.

    Raises
    ------
    SpecError
        Where the file is another than was referred to, ONNX Runtime cannot open it, or the provider is not to be had.
    OSError
        Where the files cannot be read or memory runs out, which may pass.
    """
    with _opening:  # of threads that come together, one opens it
        return _open(reference)


def check(reference: NetworkReference) -> tuple[int, int]:
    """Try a network on one black picture, before a long run begins, and return the (H, W) of its depth.

    Raises
    ------
    SpecError
        Where the network cannot be opened, fails, or returns no map.
    OSError
        Where its files cannot be read or memory runs out.
    """
    spec = reference.spec.input
    black = np.zeros((spec.height, spec.width, 3), dtype=np.uint8)
    height, width = network(reference).depth(normalised(black, spec)).shape
    return height, width


@lru_cache(maxsize=OPEN_AT_ONCE)
def _open(reference: NetworkReference) -> Network:
    check_available(reference.provider)
    reference.check_digest()
    session = _session(reference)
    # Where a library of it is missing, ONNX Runtime goes on without the provider.
    used = session.get_providers()[0]
    if used != reference.provider:
        raise SpecError(
            f"{reference.path}: ONNX Runtime runs it with {used} instead of {reference.provider}; a library or device "
            "is missing on this machine (ONNX Runtime's own message names it), or choose another provider"
        )
    session.disable_fallback()  # nor may a single run go on with another
    return Network(reference, session)


def _session(reference: NetworkReference) -> "InferenceSession":
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # what is evaluated here is nobody else's business
    try:
        # By path, for the files beside it. Its own fallback would print, and go on with another provider.
        return onnxruntime.InferenceSession(
            reference.path, _options(reference), providers=[reference.provider], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's kinds have no base of their own
        reference.check_digest()  # else it is gone or another by now
        raise _failure(reference, "cannot be opened by ONNX Runtime", error) from error


def _options(reference: NetworkReference) -> "SessionOptions":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Left open, it takes all cores of the machine, whatever the job was given.
    options.intra_op_num_threads = reference.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Threads that spin between two calls take cores from decoding: 17 instead of 11 ms a frame with two callers and two
    # threads on two cores. Without any other work it would gain a sixth of the network's own time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = FATAL
    return options


def _failure(reference: NetworkReference, what: str, error: Exception) -> SpecError | OSError:
    """Say in one line what ONNX Runtime says in several."""
    reason = " ".join(_NOISE.sub("", str(error)).split()) or type(error).__name__
    reason = reason if len(reason) <= REASON_LENGTH else f"{reason[:REASON_LENGTH]}..."
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
        return OSError(errno.ENOMEM, f"out of memory ({reason})", reference.path)
    return SpecError(f"{reference.path}: {what} ({reason}); check the network with onnx.checker or export it anew")
