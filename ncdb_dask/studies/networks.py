"""The networks of a study: as it was given, and with its channels balanced, each run once on all frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ncdb_dask.calibration.frames import CalibrationFrame, FrameReader
from ncdb_dask.calibration.statistics import Measured
from ncdb_dask.errors import CalibrationError, StudyError
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.quantization.base import Stream
from ncdb_dask.quantization.observe import Difference
from ncdb_dask.quantization.prepare import load, prepared
from ncdb_dask.quantization.qdq import quantized
from ncdb_dask.quantization.steps import SAME, Way, apart, balanced, spread_evenly
from ncdb_dask.studies.cells import AskedQuantizer, target_of

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class Base:
    """A network in FP32 that cells quantize.

    Attributes
    ----------
    name : str
        What it is called.
    network : ModelProto
        Prepared.
    measured : Measured
        Its statistics on all frames.
    notes : tuple of str
        What a person should know of what is made of it.
    """

    name: str
    network: "ModelProto"
    measured: Measured
    notes: tuple[str, ...] = ()

    def way(self, asked: AskedQuantizer) -> Way:
        """Return how ranges of this network are found.

        Raises
        ------
        QuantizationError
            For names of tensors that it does not have.
        """
        made, target = asked.built_in, target_of(asked)
        assert made is not None
        target.check_names(self.measured.tensors)
        return made.way(target.completed(self.network))


@dataclass(frozen=True)
class Networks:
    """Makes them.

    Attributes
    ----------
    reference : NetworkReference
        The network as it was given.
    reader : FrameReader
        Reads the frames.
    frames : sequence of CalibrationFrame
        All frames of the study.
    measure : callable
        As `ncdb_dask.studies.means.Means.measure`.
    work : Path
        For files on the way.
    """

    reference: NetworkReference
    reader: FrameReader
    frames: Sequence[CalibrationFrame]
    measure: "Callable[[ModelProto, Sequence[CalibrationFrame]], Measured]"
    work: Path

    def plain(self, stream: Stream) -> Base:
        """Return the network as quantization wants it, run on all frames.

        Raises
        ------
        NcdbError
            Where it cannot be prepared, is another function then, or frames cannot be read.
        """
        network = prepared(load(Path(self.reference.path)), self.reference.spec.input, self.work)
        measured = self.measure(network, self.frames)
        usable = measured.usable(self.frames)
        if not usable:
            raise StudyError(f"none of the {len(self.frames)} frames of the sets can be read; mend them")
        difference = self._apart(network, "prepared", usable, stream)
        if not difference < SAME:
            raise StudyError(
                f"{self.reference.path}: prepared for quantization, it differs by {difference:.2g} of its largest "
                f"output (allowed: {SAME:g}); export it anew, with a later opset"
            )
        return Base("the network", network, measured)

    def balanced(self, plain: Base, asked: AskedQuantizer, stream: Stream) -> Base:
        """Return the network with its channels balanced for what a quantizer rounds to, run on all frames.

        One that comes out as another function is not used: the plain one is then, with a note.

        Raises
        ------
        NcdbError
            Where it cannot be made, or frames cannot be read.
        """
        statistics = plain.measured.statistics(self.frames, skip_bad=True)
        usable = plain.measured.usable(self.frames)
        left_out = len(self.frames) - len(usable)
        notes = () if not left_out else (f"frames that cannot be read: {left_out}; channels are balanced without them",)
        way = plain.way(asked)
        rounded = quantized(plain.network, way.ranges(statistics), way.target, self.work)
        model = balanced(plain.network, statistics, way.target, rounded.owners).model
        difference = self._apart(model, "balanced", usable, stream)
        if not difference < SAME:
            note = (
                f"the balanced network differs from the given one by {difference:.2g} of its largest output (allowed: "
                f"{SAME:g}), so it was not used"
            )
            return replace(plain, notes=(note,))
        name = f"the network balanced for {way.target.scheme.name}"
        return Base(name, model, self.measure(model, self.frames), notes)

    def _apart(self, other: "ModelProto", name: str, usable: Sequence[CalibrationFrame], stream: Stream) -> float:
        """Return how far a network is from the user's own file, over a few of the frames that could be run."""
        task = apart(Path(self.reference.path), other, self.reference.spec, self.reader, self.work / f"{name}.onnx")
        # A picture may have gone since it was measured.
        found = [one for one in stream(Readable(task), spread_evenly(usable)) if one is not None]
        if not found:
            raise StudyError(f"no frame is left to check the {name} network on: their pictures are gone; restore them")
        return max(found)


@dataclass(frozen=True)
class Readable:
    """The task of telling how far networks are apart; None for a frame that cannot be read."""

    task: Difference

    def __call__(self, frame: CalibrationFrame) -> float | None:
        """Run both networks on one frame."""
        try:
            return self.task(frame)
        except CalibrationError:
            return None
