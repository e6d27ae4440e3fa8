"""Carrying out a study: frames are run once, ranges are merges, each network is judged."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ncdb_dask.calibration.frames import CalibrationFrame
from ncdb_dask.calibration.statistics import Measured
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.errors import CalibrationError, NcdbError, QuantizationError, RunError, StorageError
from ncdb_dask.quantization.finish import work_folder
from ncdb_dask.quantization.prepare import load
from ncdb_dask.quantization.steps import Way
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.studies.cells import AskedQuantizer, AskedSet, Cell
from ncdb_dask.studies.draw import Key
from ncdb_dask.studies.kept import NAMED_BY, KeptCell
from ncdb_dask.studies.means import Means
from ncdb_dask.studies.networks import Base, Networks
from ncdb_dask.studies.plan import StudyPlan
from ncdb_dask.studies.ranges import Made, NetworkMaker, Ranges, SetRanges, WantedNetwork, WantedRanges

if TYPE_CHECKING:
    from onnx import ModelProto

FP32 = "FP32"
METRICS = ("abs_rel", "rmse", "a1")
STUDYING = "studying cells"
# What no other cell would fare better with.
GENERAL = (RunError, StorageError)


@dataclass(frozen=True)
class Studied:
    """What has come out.

    Attributes
    ----------
    fp32 : Evaluated
        The network as it was given.
    kept : mapping of str to KeptCell
        Cells that are done, by their labels.
    failed : mapping of str to str
        Cells that are not, by their labels, and why.
    """

    fp32: Evaluated
    kept: Mapping[str, KeptCell]
    failed: Mapping[str, str]


def carried_out(plan: StudyPlan, means: Means) -> Studied:
    """Make and judge every cell that is not done.

    Raises
    ------
    NcdbError
        Where the FP32 network cannot be judged, frames cannot be read, or workers or storage fail. What fails for one
        cell alone is told instead.
    OSError
        Where the storage fails.
    """
    with work_folder(Path(plan.out.path) / "study") as work:
        fp32 = means.judge(load(Path(plan.reference.path)), plan.reference.spec, FP32)
        study = _Study(plan, means, work, dict(plan.kept()))
        study.carry_out()
    return Studied(fp32, study.kept, study.failed)


@dataclass
class _Study:
    plan: StudyPlan
    means: Means
    work: Path
    kept: dict[str, KeptCell]
    failed: dict[str, str] = field(default_factory=dict)

    def carry_out(self) -> None:
        left = [cell for cell in self.plan.cells if cell.label not in self.kept]
        merged = [cell for cell in left if cell.quantizer.merged]
        keys = dict(self.plan.drawn)
        self._tell()
        if merged or any(cell.set.late for cell in left):
            frames = [CalibrationFrame(*key) for key in self.plan.union]
            networks = Networks(self.plan.reference, self.plan.reader, frames, self.means.measure, self.work)
            plain = networks.plain(self.means.stream)
            keys |= self._late(list(dict.fromkeys(cell.set for cell in left if cell.set.late)), plain.measured)
            merged = [cell for cell in merged if cell.label not in self.failed]
            for base, some in self._by_base(networks, plain, merged):
                self._merged(base, some, keys)
        for cell in left:
            if not cell.quantizer.merged and cell.label not in self.failed:
                self._each(cell, keys[cell.set.label], partial(self._quantized, cell))

    def _late(self, sets: Sequence[AskedSet], measured: Measured) -> Mapping[str, tuple[Key, ...]]:
        """Choose the sets that need frames to be run before: together, or each alone where that fails."""
        if not sets:
            return {}
        try:
            found = self.means.choose(sets, measured)
        except GENERAL:
            raise
        except NcdbError as error:
            if len(sets) > 1:  # the others may do
                return {label: keys for one in sets for label, keys in self._late([one], measured).items()}
            self._fail([cell for cell in self.plan.cells if cell.set in sets and cell.label not in self.kept], error)
            return {}
        for asked in sets:
            self.plan.write_set(asked, found[asked.label])
        return found

    def _fail(self, cells: Sequence[Cell], error: Exception) -> None:
        """Tell that cells cannot be done; the next run tries them again."""
        own = isinstance(error, NcdbError)
        self.failed |= {cell.label: str(error) if own else f"{type(error).__name__}: {error}" for cell in cells}

    def _by_base(self, networks: Networks, plain: Base, cells: Sequence[Cell]) -> Iterator[tuple[Base, list[Cell]]]:
        """Yield each network that is quantized, and its cells."""
        by_target = dict[object, list[Cell]]()
        for cell in cells:
            made = cell.quantizer.built_in
            assert made is not None
            by_target.setdefault(made.target() if made.equalize else None, []).append(cell)
        for target, some in by_target.items():
            if target is None:
                yield plain, some
                continue
            try:
                base = networks.balanced(plain, some[0].quantizer, self.means.stream)
            except GENERAL:
                raise
            except NcdbError as error:
                self._fail(some, error)
                continue
            yield base, some

    def _merged(self, base: Base, cells: Sequence[Cell], keys: Mapping[str, tuple[Key, ...]]) -> None:
        """Find the ranges of each set, in all ways at once, and judge what comes out."""
        ways, by_set = dict[AskedQuantizer, Way](), dict[AskedSet, list[Cell]]()
        for quantizer in dict.fromkeys(cell.quantizer for cell in cells):
            try:
                ways[quantizer] = base.way(quantizer)
            except NcdbError as error:
                self._fail([cell for cell in cells if cell.quantizer == quantizer], error)
        for cell in cells:
            if cell.quantizer in ways:
                by_set.setdefault(cell.set, []).append(cell)
        wanted = [
            WantedRanges(asked.label, keys[asked.label], tuple(ways[cell.quantizer] for cell in some))
            for asked, some in by_set.items()
        ]
        asked = list[tuple[Cell, Ranges]]()
        found = self.means.stream(SetRanges(base.measured), wanted)
        for number, (some, ranges) in enumerate(zip(by_set.values(), found, strict=True), 1):
            if isinstance(ranges, str):
                self._fail(some, CalibrationError(ranges))
            else:
                asked += zip(some, ranges, strict=True)
            self.means.progress(f"merging statistics of {base.name}", number, len(wanted))
        networks = [
            WantedNetwork(self.plan.identity(cell)[:NAMED_BY], ways[cell.quantizer], ranges) for cell, ranges in asked
        ]
        maker = NetworkMaker(base.measured.folder, self.plan.networks)
        # The workers make networks while others are judged.
        for (cell, _), made in zip(asked, self.means.stream(maker, networks), strict=True):
            self._each(cell, keys[cell.set.label], partial(_taken, made, base.notes))

    def _each(
        self,
        cell: Cell,
        keys: tuple[Key, ...],
        make: "Callable[[], Network]",
    ) -> None:
        """Make a cell, judge it and keep it; what fails is told, and tried again by the next run."""
        started = time.perf_counter()
        try:
            network = make()
            evaluated = self.means.judge(network.model, self.plan.reference.spec, cell.label)
        except (*GENERAL, OSError):
            raise
        except Exception as error:
            if cell.quantizer.built_in is not None and not isinstance(error, NcdbError):
                raise  # of somebody else's backend, anything may come
            self._fail([cell], error)
        else:
            done = KeptCell(
                self.plan.identity(cell),
                cell.label,
                keys,
                os.path.relpath(evaluated.place, self.plan.out.path),
                {name: float(evaluated.measured[name].mean()) for name in METRICS},
                network.seconds + time.perf_counter() - started,
                network.ranges,
                network.notes,
            )
            done.write(self.plan.out)
            self.kept[cell.label] = done
        self._tell()

    def _tell(self) -> None:
        self.means.progress(STUDYING, len(self.kept) + len(self.failed), len(self.plan.cells))

    def _quantized(self, cell: Cell) -> "Network":
        out = os.path.join(self.plan.networks.path, f"{self.plan.identity(cell)[:NAMED_BY]}.onnx")
        return Network(load(self.means.quantize(cell.quantizer, self.plan.set_file(cell.set), out)))


@dataclass(frozen=True)
class Network:
    """A network that is to be judged; its ranges where they are known, and the seconds that others took to make it."""

    model: "ModelProto"
    ranges: Ranges = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def _taken(made: Made | str, notes: tuple[str, ...]) -> Network:
    """Read what a worker has made, and remove the file."""
    if isinstance(made, str):
        raise QuantizationError(made)
    model = load(Path(made.path))
    Path(made.path).unlink()
    return Network(model, made.ranges, notes, made.seconds)


def evaluations(out: LocalFolder, studied: Studied) -> dict[str, Evaluated]:
    """Read the evaluation of each cell; cells of equal networks share one.

    Raises
    ------
    PlanError
        Where one is gone.
    OSError
        Where the storage fails.
    """
    read = dict[str, Evaluated]()
    for kept in studied.kept.values():
        if kept.evaluation not in read:
            read[kept.evaluation] = Evaluated.read(LocalFolder(os.path.join(out.path, kept.evaluation)), kept.label)
    return {label: replace(read[kept.evaluation], label=label) for label, kept in studied.kept.items()}
