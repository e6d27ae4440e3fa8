"""The contract of a quantizer, promise by promise."""

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ncdb_dask.errors import CalibrationError, NcdbError
from ncdb_dask.quantization.base import Quantized, Quantizer
from ncdb_dask.testing.inputs import Inputs
from ncdb_dask.testing.likeness import require_alike
from ncdb_dask.testing.material import EXPORT, FEED, FRAME, PROGRESS, STATISTICS, STREAM, make_material
from ncdb_dask.testing.surroundings import Surroundings

Make = Callable[[], Quantizer]
# Of the file to write: any suffix must do, and nothing else may lie beside it.
OUT_NAME = "int8.onnx"


def check_quantizer(make: Make, folder: str | os.PathLike[str]) -> None:
    """Try out whether a quantizer keeps to `ncdb_dask.quantization.base.Quantizer`.

    A small network is quantized a dozen times or two, in this process, with six frames. What is promised:

    1. It answers with a `Quantized` whose report JSON can hold.
    2. It writes `out`, which is not empty, and nothing else beside it.
    3. Where it says ``onnx``, ONNX Runtime runs what it wrote; inputs and outputs have the names, types and shapes that
       they had, and the values on the frames are near.
    4. Network, model file, split and data set stay as they are; so do current folder and environment.
    5. The same material gives the same bytes again.
    6. What was quantized before, by the same object or another, makes no difference.
    7. Where the material fails, the error comes out as it is, or as the cause of another `NcdbError` or ``OSError``,
       and no file is left. Who interrupts is let through.

    Parameters
    ----------
    make : callable
        Returns a new quantizer each time.
    folder : path
        For files on the way, for instance pytest's ``tmp_path``; made if it is not there.

    Raises
    ------
    AssertionError
        For the first promise that is not kept; the message says which, and what happened.
    """
    os.makedirs(folder, exist_ok=True)
    suite = _Suite(make, Path(tempfile.mkdtemp(prefix="check-", dir=folder)))
    suite.check_answers()
    suite.check_failures()


class _Suite:
    """One quantizer on two networks."""

    def __init__(self, make: Make, folder: Path) -> None:
        self._make = make
        self._folder = folder
        self._first = Inputs.write(folder / "first", seed=1)
        self._second = Inputs.write(folder / "second", seed=2)
        self._runs = 0
        self._passed: set[str] = set()

    def check_answers(self) -> None:
        """Check promises 1 to 6."""
        used = self._make()
        _require(isinstance(getattr(used, "name", None), str) and used.name, "has no name; expected a str")
        once = self._bytes(used, self._first)
        again = self._bytes(self._make(), self._first)
        _require(once == again, "made other bytes of the same material the second time (a time, a path, a seed?)")
        other = self._bytes(self._make(), self._second)
        _require(other != once, "made the same bytes of two different networks")
        after = self._bytes(used, self._second)
        _require(after == other, "made other bytes of a network because it had quantized another one before")

    def check_failures(self) -> None:
        """Check promise 7, wherever the quantizer has come by what can fail."""
        for point in (FEED, FRAME, STATISTICS, EXPORT, STREAM, PROGRESS):
            if point not in self._passed:
                continue
            if point != PROGRESS:
                self._check_failure(point, OSError(errno.EIO, "Input/output error, as check_quantizer has it"))
                self._check_failure(point, CalibrationError("a frame cannot be read, as check_quantizer has it"))
            self._check_failure(point, KeyboardInterrupt("as check_quantizer has it"))

    def _bytes(self, quantizer: Quantizer, inputs: Inputs) -> bytes:
        """Quantize, check what can be seen at once, and return the bytes of the file."""
        out, work = self._places()
        material = make_material(inputs, work, self._passed.add)
        before = Surroundings.of(inputs)
        answer = quantizer.quantize(material, out)
        before.require_same()
        _require_answer(answer)
        _require(out.is_file(), f"wrote no file {out.name}")
        _require(out.stat().st_size > 0, f"wrote an empty file {out.name}")
        beside = sorted(path.name for path in out.parent.iterdir() if path != out)
        _require(
            not beside, f"left {', '.join(beside)} beside the file that it was to write; material.work is for that"
        )
        if answer.onnx:
            require_alike(material, out)
        return out.read_bytes()

    def _check_failure(self, point: str, error: BaseException) -> None:
        """Let the material fail at a place, and see what comes out; nothing, where it does not come by this time."""
        passed = []

        def trip(place: str) -> None:
            if place == point:
                passed.append(place)
                raise error

        out, work = self._places()
        what = f"when material's {point} raised {type(error).__name__}, it"
        before = Surroundings.of(self._first)
        try:
            self._make().quantize(make_material(self._first, work, trip), out)
        except BaseException as raised:
            if not passed:
                raise
            _require_passed_on(what, raised, error)
        else:
            _require(not passed, f"{what} went on as if nothing had happened")
            return
        before.require_same()
        left = sorted(path.name for path in out.parent.iterdir())
        _require(not left, f"{what} left {', '.join(left)} behind")

    def _places(self) -> tuple[Path, Path]:
        """Return the file to write, in a folder of its own, and a folder to make for files on the way."""
        self._runs += 1
        place = self._folder / f"run-{self._runs}"
        (place / "out").mkdir(parents=True)
        return place / "out" / OUT_NAME, place / "work"


def _require(kept: object, broken: str) -> None:
    if not kept:
        raise AssertionError(f"the quantizer {broken}")


def _require_answer(answer: object) -> None:
    if not isinstance(answer, Quantized):
        raise AssertionError(f"the quantizer returned {answer!r}; expected a Quantized")
    try:
        json.dumps(dict(answer.report), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"the quantizer's report cannot be written as JSON ({error})") from error
    sentences = isinstance(answer.notes, tuple) and all(isinstance(note, str) for note in answer.notes)
    _require(sentences, f"has the notes {answer.notes!r}; expected a tuple of str")
    _require(isinstance(answer.onnx, bool), f"says onnx={answer.onnx!r}; expected a bool")


def _require_passed_on(what: str, raised: BaseException, error: BaseException) -> None:
    if raised is error:
        return
    if isinstance(raised, AssertionError):
        raise raised
    if not isinstance(error, Exception):
        raise AssertionError(f"the quantizer held up an interruption: {what} raised {raised!r} instead") from raised
    _require(isinstance(raised, NcdbError | OSError), f"{what} raised {raised!r}; expected an NcdbError or OSError")
    causes = list(_causes(raised))
    _require(
        any(cause is error for cause in causes), f"{what} raised {raised!r}, which hides the error; raise it `from`"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__
