"""What a demonstration will do, and whose folder it writes into."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncdb_dask.demonstration.variant import Variant
from ncdb_dask.errors import PlanError, QuantizationError
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import find_spec, read_spec
from ncdb_dask.quantization.plan import QuantizationPlan
from ncdb_dask.quantization.result import Quantization, read_quantization
from ncdb_dask.store.driver_records import DRIVER_FOLDER
from ncdb_dask.store.folder import LocalFolder, Location, open_folder, reported
from ncdb_dask.training.shipped import shipped_network

SEED = 42  # the default of all commands
MARKER, TREE, PAGE = "demo.json", "tree", "comparison.html"
FORMAT = "ncdb_dask demo 1"
TRAIN, VAL = "train_split.json", "val_split.json"  # as data sets have them, and as ours is rendered
EXPECTED = "expected a new folder, an empty one, or that of an earlier demo"


@dataclass(frozen=True)
class DemoPlan:
    """A demonstration that can be carried out; paths are relative where they were given so.

    Attributes
    ----------
    out : Path
        The folder of everything.
    root : path or URL
        The data set; rendered first where the network is the shipped one.
    network : Path
        The FP32 network, copied from `shipped` first if that is given.
    shipped : Path or None
        The network that comes with this package.
    model_spec : Path or None
        The model file, where it does not lie beside the network.
    train, val : str
        The splits.
    seed : int
        Of the tree, the sets and the intervals.
    settings : mapping
        What makes one demonstration another than the next, as JSON values.
    """

    out: Path
    root: Location
    network: Path
    shipped: Path | None
    model_spec: Path | None
    train: str
    val: str
    seed: int
    settings: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        out: Path,
        root: Location | None,
        model: Path | None,
        model_spec: Path | None,
        train: str,
        val: str,
        seed: int,
    ) -> "DemoPlan":
        """Check what `demo` was given.

        Raises
        ------
        NcdbError
            A network, a model file or a folder that cannot be used.
        """
        _require_fit(root, model, model_spec, (train, val), seed)
        shipped = shipped_network() if model is None else None
        source = shipped or model
        assert source is not None  # one of them is given
        reference = NetworkReference.of(source, read_spec(find_spec(source, model_spec)))
        settings = {
            "format": FORMAT,
            "root": None if root is None else open_folder(root).url,
            "network": reference.sha256,
            "model_file": reference.spec.as_dict(),
            "splits": [train, val],
            "seed": seed,
        }
        if root is None:
            # By their paths: other splits of these names may lie where the command is given.
            root, train, val = out / TREE, *(str(out / TREE / name) for name in (train, val))
        plan = cls(
            out=out,
            root=root,
            network=source if shipped is None else out / "networks" / source.name,
            shipped=shipped,
            model_spec=model_spec,
            train=train,
            val=val,
            seed=seed,
            settings=json.loads(json.dumps(settings)),
        )
        plan.require_own()
        return plan

    @property
    def scan(self) -> Path:
        """Where the scan goes."""
        return self.out / "scan"

    @property
    def page(self) -> Path:
        """The page of the comparison, which is written last."""
        return self.out / PAGE

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do but to tell of it."""
        return self.page.is_file()

    @property
    def begun(self) -> bool:
        """Whether an earlier start has begun it."""
        return (self.out / MARKER).is_file()

    def set_file(self, strategy: str, size: int) -> Path:
        """Return where a calibration set goes."""
        return self.out / "sets" / f"{strategy}_{size}.json"

    def network_file(self, variant: Variant) -> Path:
        """Return where a quantized network goes."""
        return self.out / "networks" / f"{variant.name}.onnx"

    def evaluation(self, name: str) -> Path:
        """Return where an evaluation goes."""
        return self.out / "evaluations" / name

    def seeded(self) -> tuple[str, ...]:
        """Return the option that commands need for the seed."""
        return () if self.seed == SEED else ("--seed", str(self.seed))

    def described(self) -> tuple[str, ...]:
        """Return the option that commands need for the model file."""
        return () if self.model_spec is None else ("--model-spec", os.fspath(self.model_spec))

    def made_before(self, planned: QuantizationPlan) -> Quantization | None:
        """Return the quantized network that an earlier start has made of the same network and frames."""
        with reported(LocalFolder(str(planned.out.parent)), "read"):
            try:
                made = read_quantization(planned.out)
            except QuantizationError:
                return None
            network, splits = planned.reference.sha256, {*planned.frames.inputs.values()}
            same = made.report["model"]["sha256"] == network and {*made.report["splits"].values()} == splits
            return made if same and planned.out.is_file() else None

    def require_own(self) -> None:
        """Refuse a folder that holds something else than this demonstration; a record of a driver may lie there.

        Raises
        ------
        PlanError
            Which says what it holds.
        """
        if self.out.exists() and not self.out.is_dir():
            raise PlanError(f"{self.out} is a file; {EXPECTED}, name another")
        with reported(LocalFolder(str(self.out)), "read"):
            held = {path.name for path in self.out.iterdir()} if self.out.exists() else set()
            if MARKER in held:
                self._require_same((self.out / MARKER).read_bytes())
            elif foreign := held - {DRIVER_FOLDER}:
                raise PlanError(f"{self.out} holds {min(foreign)!r} and is no demo's; {EXPECTED}, name another")

    def _require_same(self, marker: bytes) -> None:
        try:
            earlier = dict(json.loads(marker))
        except (ValueError, TypeError) as error:
            raise PlanError(f"{self.out / MARKER} is damaged ({error}); {EXPECTED}, name another") from error
        other = [name for name, value in self.settings.items() if earlier.get(name) != value]
        if other:
            raise PlanError(
                f"{self.out} holds a demo with another {' and '.join(other).replace('_', ' ')}; "
                "name another folder, or remove this one"
            )

    def claim(self) -> None:
        """Mark the folder as that of this demonstration.

        Raises
        ------
        NcdbError
            Where it holds something else, or cannot be written.
        """
        self.require_own()
        folder = LocalFolder(str(self.out))
        with reported(folder, "write"):
            folder.write(MARKER, (json.dumps(self.settings, indent=1) + "\n").encode())


def _require_fit(
    root: Location | None,
    model: Path | None,
    model_spec: Path | None,
    splits: tuple[str, str],
    seed: int,
) -> None:
    if (root is None) != (model is None):
        given, missing = ("model", "root") if root is None else ("root", "model")
        raise PlanError(f"{given} is given without {missing}; expected both, your data and your network, or neither")
    if root is None and (model_spec is not None or splits != (TRAIN, VAL)):
        raise PlanError("model_spec, train and val are for your own data; expected root and model with them")
    if seed < 0:
        raise PlanError(f"seed is {seed}; expected 0 or more")
