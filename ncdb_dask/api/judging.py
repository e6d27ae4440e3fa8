"""Evaluating networks that are made on the way, each once, whoever asks again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncdb_dask.api.evaluations import plan_evaluation, run_evaluation
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.errors import PlanError
from ncdb_dask.model.spec import ModelSpec
from ncdb_dask.quantization.prepare import save
from ncdb_dask.runtime.events import Observer, nobody
from ncdb_dask.store.folder import LocalFolder, reported

if TYPE_CHECKING:
    from distributed import Client
    from onnx import ModelProto

EVALUATIONS = "evaluations"
NAMED_BY = 16  # hexadecimal digits: of a million networks, two have the same name once in 10^7 folders
RESUMABLE = "the same call goes on from there"


@dataclass(frozen=True)
class Judge:
    """Evaluates networks over the same frames by the same rules.

    An evaluation lies in a folder that is named by the content of its network and model file, so what was judged by an
    earlier call, or as another network that is the same, is only read.

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
        key = _key(model, spec)
        place = LocalFolder(f"{self.out.path}/{EVALUATIONS}/{key}")
        network = Path(f"{self.out.path}/{EVALUATIONS}/{key}.onnx")
        with reported(self.out, "write", RESUMABLE):
            network.parent.mkdir(parents=True, exist_ok=True)
            save(model, network)
            network.with_suffix(".toml").write_text(spec.as_toml())
        try:
            plan = plan_evaluation(network, place.path, **self.options)
        except PlanError:  # the same network, on other frames or by other rules
            plan = plan_evaluation(network, place.path, fresh=True, **self.options)
        run_evaluation(plan, client=self.client, observer=self.observer)
        with reported(self.out, "write", RESUMABLE):
            network.unlink()  # a network each would be more than all the rest
            return Evaluated.read(place, label)


def _key(model: "ModelProto", spec: ModelSpec) -> str:
    digest = hashlib.sha256(model.SerializeToString(deterministic=True))
    digest.update(json.dumps(spec.as_dict(), sort_keys=True).encode())
    return digest.hexdigest()[:NAMED_BY]
