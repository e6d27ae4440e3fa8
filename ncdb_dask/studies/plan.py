"""A study that can be carried out: the recipe with everything read that it names, and what it will cost."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ncdb_dask.calibration.frames import FrameReader
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.quantization.prepare import load
from ncdb_dask.quantization.target import Target
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.store.folder import LocalFolder, is_temporary
from ncdb_dask.store.owned import require_own
from ncdb_dask.studies.cells import AskedQuantizer, AskedSet, Cell, cells, target_of
from ncdb_dask.studies.cost import plan_text, plan_values
from ncdb_dask.studies.draw import Key, split_items
from ncdb_dask.studies.guide import AFTER, BEFORE
from ncdb_dask.studies.kept import CELLS_FOLDER, KeptCell
from ncdb_dask.studies.ranges import MADE
from ncdb_dask.studies.recipe import StudyRecipe

RECIPE_FILE, REPORT_FILE, TABLE_FILE = "study.json", "report.json", "results.parquet"
PICTURE_FILE, PAGE_FILE = "study.png", "study.html"
SETS_FOLDER, NETWORKS_FOLDER, STATISTICS_FOLDER, EVALUATIONS_FOLDER = "sets", "networks", "statistics", "evaluations"
FOLDERS = (CELLS_FOLDER, SETS_FOLDER, NETWORKS_FOLDER, STATISTICS_FOLDER, EVALUATIONS_FOLDER)


@dataclass(frozen=True)
class StudyPlan:
    """What will be quantized and judged, and where it goes.

    Attributes
    ----------
    recipe : StudyRecipe
        As it was given.
    out : LocalFolder
        The folder of everything that is made.
    reference : NetworkReference
        The FP32 network.
    table : ScanTable
        The frames that may be chosen.
    reader : FrameReader
        Reads them.
    sets : tuple of AskedSet
        Those that are wanted.
    quantizers : tuple of AskedQuantizer
        Ways to quantize.
    drawn : mapping of str to tuple of (str, str)
        The frames of each set, by its label, but for those that are chosen after frames were run.
    union : tuple of (str, str)
        All frames that are run; sets that are chosen late are chosen among them.
    judged : mapping
        What shapes an evaluation, as JSON values: frames, rules and splits.
    frames : int
        Of an evaluation.
    measured : int
        Frames of the union whose statistics are there already.
    fresh : bool
        Whether an earlier study in `out` is forgotten.
    """

    recipe: StudyRecipe
    out: LocalFolder
    reference: NetworkReference
    table: ScanTable
    reader: FrameReader
    sets: tuple[AskedSet, ...]
    quantizers: tuple[AskedQuantizer, ...]
    drawn: Mapping[str, tuple[Key, ...]]
    union: tuple[Key, ...]
    judged: Mapping[str, Any]
    frames: int
    measured: int = 0
    fresh: bool = False

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every set with every way to quantize."""
        return cells(self.sets, self.quantizers)

    @property
    def guide(self) -> tuple[str, str]:
        """The sets before and after in the guide's table."""
        return self.recipe.guide.before or BEFORE, self.recipe.guide.after or AFTER

    @property
    def statistics(self) -> LocalFolder:
        """Where statistics are kept."""
        return LocalFolder(os.path.join(self.out.path, STATISTICS_FOLDER))

    @property
    def networks(self) -> LocalFolder:
        """Where networks are made."""
        return LocalFolder(os.path.join(self.out.path, NETWORKS_FOLDER))

    @cached_property
    def softmax(self) -> bool:
        """Whether the network holds a Softmax."""
        return any(node.op_type == "Softmax" for node in load(Path(self.reference.path)).graph.node)

    def allowed(self, way: AskedQuantizer) -> bool | None:
        """Whether the NPU can run what a quantizer makes; None where that is not known, or no NPU is named."""
        profile = self.recipe.npu.profile
        return way.allowed(profile, self.softmax) if profile else None

    @property
    def nothing_runs(self) -> str:
        """What to do where no quantizer of the recipe is known to fit the NPU; empty where one is, or none is named."""
        profile = self.recipe.npu.profile
        if not profile or any(map(self.allowed, self.quantizers)):
            return ""
        return (
            f"no quantizer of the recipe is known to fit the NPU ({profile}), so that none can be chosen: add "
            f'profile = "{profile}" to [[quantizers]]'
        )

    def set_file(self, asked: AskedSet) -> str:
        """Return the path of a set as a split."""
        return os.path.join(self.out.path, SETS_FOLDER, f"{asked.file}.json")

    def identity(self, cell: Cell) -> str:
        """Return the SHA-256 of what shapes the result of a cell."""
        import onnxruntime

        late, made = cell.set.late, cell.quantizer.built_in
        shaping: dict[str, Any] = {
            "network": self.reference.sha256,
            "spec": self.reference.spec.as_dict(),
            "provider": self.reference.provider,
            "onnxruntime": onnxruntime.__version__,
            "root": self.reader.root.url,
            "judged": self.judged,
            "scheme": None if made is None else _written(made.target()),
            "union": sorted(self.union) if self.on_union(cell) else None,
            "late": [cell.set.strategy, cell.set.size, cell.set.seed, dict(cell.set.options)] if late else None,
        }
        return cell.identity(self.drawn.get(cell.set.label, ()), shaping)

    def on_union(self, cell: Cell) -> bool:
        """Whether a cell rests on the frames of all sets, so that other sets make it another one.

        Channels are balanced by all of them, and sets that are chosen late are chosen among them.
        """
        made = cell.quantizer.built_in
        return cell.set.late or (made is not None and made.equalize and cell.quantizer.merged)

    def kept(self) -> dict[str, KeptCell]:
        """Return the cells that are done, by their labels; `OSError` where the storage fails."""
        if self.fresh:
            return {}
        found = {cell.label: KeptCell.read(self.out, self.identity(cell)) for cell in self.cells}
        return {label: one for label, one in found.items() if one is not None}

    def begin(self) -> None:
        """Write the recipe and the sets into the folder; forget an earlier study if that is wanted.

        Raises
        ------
        PlanError
            Where the folder holds something else.
        OSError
            Where the storage fails.
        """
        require_own(self.out, RECIPE_FILE, "study")
        if self.fresh:
            for name in FOLDERS:
                shutil.rmtree(os.path.join(self.out.path, name), ignore_errors=True)
        for name in (REPORT_FILE, PAGE_FILE, PICTURE_FILE, TABLE_FILE):  # of an earlier recipe, perhaps
            self.out.remove(name)
        # The recipe is first: it says whose folder this is.
        self.out.write(RECIPE_FILE, json.dumps(self.recipe.as_dict(), indent=1).encode())
        for asked in self.sets:
            if asked.label in self.drawn:
                self.write_set(asked, self.drawn[asked.label])

    def tidy(self) -> None:
        """Remove the half-written files that died attempts have left."""
        for name in ("", SETS_FOLDER, CELLS_FOLDER):
            self.out.remove_abandoned(name)
        for name in self.networks.list().sizes:
            if name.endswith(MADE) or is_temporary(name):
                self.networks.remove(name)

    def write_set(self, asked: AskedSet, keys: Sequence[Key]) -> None:
        """Write a set as a split."""
        path = os.path.relpath(self.set_file(asked), self.out.path)
        self.out.write(path, (json.dumps(split_items(keys), indent=1) + "\n").encode())

    @property
    def schemes(self) -> list[Target]:
        """What the channels are balanced for, each once: a pass over all frames each."""
        balanced = (way for way in self.quantizers if way.merged and way.built_in is not None and way.built_in.equalize)
        return list(dict.fromkeys(map(target_of, balanced)))

    @property
    def merged(self) -> bool:
        """Whether the frames of all sets are run."""
        return any(way.merged for way in self.quantizers) or any(asked.late for asked in self.sets)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan and its cost as JSON values."""
        return plan_values(self)

    def text(self) -> str:
        """Return the plan and its cost as lines for people."""
        return plan_text(self)


def _written(target: Target) -> str:
    """Write what is rounded to, the names sorted: a set has another order in every process."""
    return json.dumps(asdict(target), sort_keys=True, default=sorted)
