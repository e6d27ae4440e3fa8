"""Evaluating networks that are made on the way, each once, whoever asks again."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncdb_dask.api.evaluations import plan_evaluation, run_evaluation
from ncdb_dask.api.locations import several
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.dataset.split_file import read_splits
from ncdb_dask.errors import PlanError
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.quantization.prepare import save
from ncdb_dask.runtime.events import Observer, nobody
from ncdb_dask.store.folder import LocalFolder, open_folder, reported

if TYPE_CHECKING:
    from distributed import Client
    from onnx import ModelProto

EVALUATIONS = "evaluations"
NAMED_BY = 16  # hexadecimal digits: of a million networks, two have the same name once in 10^7 folders
RESUMABLE = "the same call goes on from there"


@dataclass(frozen=True)
class Judge:
    """Evaluates networks over the same frames by the same rules.

    An evaluation lies in a folder that is named by the content of its network, model file and splits, and by the
    rules, so what was judged by an earlier call, or as another network that is the same, is only read.

    Attributes
    ----------
    out : LocalFolder
        Holds `EVALUATIONS`, a folder a network. Every worker sees it.
    options : mapping
        As for `plan_evaluation`, but for network and model file.
    client : distributed.Client, optional
        Where to run; this process if left out.
    """

    out: LocalFolder
    options: Mapping[str, Any]
    client: "Client | None" = field(default=None, repr=False)
    observer: Observer = nobody

    def __call__(self, model: "ModelProto", spec: ModelSpec, label: str) -> Evaluated:
        """Evaluate a network, or read its evaluation.

        Parameters
        ----------
        model : onnx.ModelProto
            With its weights.
        spec : ModelSpec
            Its model file.
        label : str
            What it is called.

        Raises
        ------
        NcdbError
            Where it cannot be evaluated, or not a single frame could be.
        """
        key = self._key(model, spec)
        place = LocalFolder(f"{self.out.path}/{EVALUATIONS}/{key}")
        network = Path(f"{self.out.path}/{EVALUATIONS}/{key}.onnx")
        with reported(self.out, "write", RESUMABLE):
            network.parent.mkdir(parents=True, exist_ok=True)
            save(model, network)
            network.with_suffix(".toml").write_text(spec.as_toml())
        try:
            try:
                plan = plan_evaluation(network, place.path, **self.options)
            except PlanError:  # the folder was moved here: a plan holds whole paths
                plan = plan_evaluation(network, place.path, fresh=True, **self.options)
            run_evaluation(plan, client=self.client, observer=self.observer)
        finally:
            for path in (network, network.with_suffix(".toml")):  # a network each would be more than all the rest
                path.unlink(missing_ok=True)
        with reported(self.out, "read", RESUMABLE):
            return Evaluated.read(place, label)

    @cached_property
    def _rules(self) -> str:
        """What shapes a figure besides the network, as JSON; data that was replaced is not seen."""
        import onnxruntime

        options = {name: value for name, value in self.options.items() if name not in ("threads", "storage_options")}
        storage = self.options.get("storage_options")
        root, scan = self.options.get("root"), self.options.get("scan")
        splits = several(self.options.get("split") or ())
        data = None if root is None else open_folder(root, storage)
        read = read_splits([os.fspath(name) for name in splits], data, storage) if data is not None and splits else []
        content = {"splits": [split.sha256 for split in read], "scan": None if scan is None else os.fspath(scan)}
        return json.dumps([options, content, onnxruntime.__version__], sort_keys=True, default=str)

    def _key(self, model: "ModelProto", spec: ModelSpec) -> str:
        digest = hashlib.sha256(model.SerializeToString(deterministic=True))
        digest.update(json.dumps(spec.as_dict(), sort_keys=True).encode())
        digest.update(self._rules.encode())
        return digest.hexdigest()[:NAMED_BY]
