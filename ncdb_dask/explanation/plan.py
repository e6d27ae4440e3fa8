"""An explanation that can be carried out."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ncdb_dask.calibration.frames import CalibrationFrames, FrameReader
from ncdb_dask.comparison.beside import Intervals
from ncdb_dask.evaluation.request import EvaluationRequest
from ncdb_dask.explanation.explain import LAYERS
from ncdb_dask.explanation.greedy import STEPS, TRIED
from ncdb_dask.explanation.preprocessing import alternatives
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.quantization.ort import OnnxRuntimeQuantizer
from ncdb_dask.quantization.profile import read_profile
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.store.owned import require_own

REQUEST_FILE, REPORT_FILE, PAGE_FILE = "request.json", "report.json", "explanation.html"
STATISTICS_FOLDER, CURED_FOLDER, EVALUATIONS_FOLDER = "statistics", "quantized", "evaluations"
PARTS, CURES = 7, 4


@dataclass(frozen=True)
class ExplanationPlan:
    """What will be explained, and by which frames.

    Attributes
    ----------
    reference : NetworkReference
        The FP32 network, with its model file.
    model_spec : str or None
        Where that lies, if not beside the network.
    out : LocalFolder
        Everything that is made.
    npu : OnnxRuntimeQuantizer
        How the network is rounded, before anything is cured.
    calibration : CalibrationFrames or None
        The calibration set; None for the evaluation frames themselves.
    evaluation : CalibrationFrames
        The frames that are judged.
    reader : FrameReader
        Reads both.
    judging : mapping
        Options of the evaluations, as for `ncdb_dask.plan_evaluation`.
    request : EvaluationRequest
        What they come to.
    splits : mapping of str to tuple of str
        ``evaluation`` and ``calibration``, as they were given.
    scan : ScanTable or None
        Whose histograms of true depth are used.
    suspects : int
        Tensors that are measured one by one.
    fresh : bool
        Whether what an earlier explanation left is removed.
    intervals : Intervals
        How error bars are drawn.
    """

    reference: NetworkReference
    model_spec: str | None
    out: LocalFolder
    npu: OnnxRuntimeQuantizer
    calibration: CalibrationFrames | None
    evaluation: CalibrationFrames
    reader: FrameReader
    judging: Mapping[str, Any]
    request: EvaluationRequest
    splits: Mapping[str, tuple[str, ...]]
    scan: ScanTable | None = None
    suspects: int = 12
    fresh: bool = False
    intervals: Intervals = field(default_factory=Intervals)

    @property
    def evaluations(self) -> int:
        """How many networks are evaluated at most; fewer where lists end early."""
        inputs = len(list(alternatives(self.reference.spec.input)))
        tensors = self.suspects + len(self.reference.spec.output.name)  # the network's outputs come on top
        lists = 2 * sum(max(0, min(TRIED, tensors + LAYERS - step)) for step in range(STEPS))
        added = tensors + LAYERS  # at the end of the list of those who carry the loss
        return 1 + inputs + PARTS + 2 * tensors + LAYERS + lists + added + CURES

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "model": self.reference.path,
            "sha256": self.reference.sha256,
            "spec": self.reference.spec.as_dict(),
            "out": self.out.url,
            "root": self.reader.root.url,
            "npu": self.npu.describe(),
            "splits": {name: list(paths) for name, paths in self.splits.items()},
            "protocol": self.request.options.rules.as_dict(),
            "inputs": dict(self.evaluation.inputs) | dict(self.calibration.inputs if self.calibration else {}),
            "scan": None if self.scan is None else self.scan.folder.url,
            "evaluation_frames": len(self.evaluation.frames),
            "calibration_frames": None if self.calibration is None else len(self.calibration.frames),
            "suspects": self.suspects,
            "evaluations": self.evaluations,
        }

    def text(self) -> str:
        """Return the plan as lines for people."""
        judged = len(self.evaluation.frames)
        kept = "the evaluation frames themselves; give --calibration to judge a calibration set"
        if self.calibration is not None:
            kept = f"{len(self.calibration.frames)} frames of {', '.join(self.splits['calibration'])}"
        method = self.npu.method + (f" {self.npu.percentile:g}" if self.npu.percentile else "")
        rows = {
            "Network": self.reference.path,
            "Rounded as": f"{self.npu.target().scheme.name}, {method}; weights int8, "
            f"{'by channel' if self.npu.per_channel else 'by tensor'}",
            "Calibration": kept,
            "Judged on": f"{judged} frames of {', '.join(self.splits['evaluation'])}",
            **({"Note": f"{self.shared} calibration frames are judged, too"} if self.shared else {}),
            "Protocol": self.request.options.rules.text(),
            "Cost": f"at most {self.evaluations} evaluations of {judged} frames, as a rule half of them; statistics of "
            "all frames, three times; a quantization with bias correction; what an earlier call has done is only read",
            "Into": self.out.url,
        }
        return "\n".join(f"{name:<14}{value}" for name, value in rows.items())

    @property
    def judged_keys(self) -> list[tuple[str, str]]:
        """The keys of the frames that are judged."""
        return keys_of(self.evaluation)

    @property
    def shared(self) -> int:
        """How many frames are both in the calibration set and judged."""
        return 0 if self.calibration is None else len(set(keys_of(self.calibration)).intersection(self.judged_keys))

    @property
    def cured(self) -> str:
        """A name for the network that ``ncdb-dask quantize`` makes, by all that shapes it but the pictures."""
        import onnxruntime

        shaping = {
            "network": self.reference.sha256,
            "spec": self.reference.spec.as_dict(),
            "npu": self.npu.as_dict(),
            "profile": repr(read_profile(self.npu.profile)),
            "frames": keys_of(self.calibration or self.evaluation),
            "root": self.reader.root.url,
            "run": [self.reference.provider, self.reference.threads, onnxruntime.__version__],
        }
        return hashlib.sha256(json.dumps(shaping, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def begin(self) -> None:
        """Say whose folder it is, and forget what another request or a killed one has left.

        Raises
        ------
        PlanError
            Where the folder holds something else.
        OSError
            Where the storage fails.
        """
        require_own(self.out, REQUEST_FILE, "explanation")
        request = json.dumps(self.as_dict(), indent=1).encode()
        if self.fresh:
            for name in (EVALUATIONS_FOLDER, STATISTICS_FOLDER, CURED_FOLDER):
                shutil.rmtree(os.path.join(self.out.path, name), ignore_errors=True)
        for name in self.out.list(EVALUATIONS_FOLDER).sizes:  # networks that were being judged
            self.out.remove(f"{EVALUATIONS_FOLDER}/{name}")
        for name in (REPORT_FILE, PAGE_FILE):  # of an earlier request, perhaps
            self.out.remove(name)
        self.out.write(REQUEST_FILE, request)
        self.out.remove_abandoned()


def keys_of(frames: CalibrationFrames) -> list[tuple[str, str]]:
    """Return the keys of the frames that entries name."""
    return [(str(one.dataset_root), str(one.stem)) for one in frames.frames if one.status is None]
