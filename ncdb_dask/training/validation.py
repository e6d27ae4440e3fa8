"""What a network is worth in metres between epochs: the figures of an evaluation, computed by its own functions."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import torch

from ncdb_dask.errors import DataFault, TrainingError
from ncdb_dask.evaluation.metrics import measure
from ncdb_dask.evaluation.pixels import paired
from ncdb_dask.evaluation.protocol import Protocol
from ncdb_dask.model.decode import decode
from ncdb_dask.model.spec import OutputSpec
from ncdb_dask.training.data import Batch
from ncdb_dask.training.source import Outputs

SHOWN = ("abs_rel", "rmse", "a1")


@dataclass(frozen=True)
class Validation:
    """Means over frames.

    Attributes
    ----------
    figures : dict of str to float
        Names of `SHOWN`.
    frames : int
        That were judged.
    faults : tuple of str
        What was wrong with the others.
    """

    figures: dict[str, float]
    frames: int
    faults: tuple[str, ...]


@torch.no_grad()
def validate(
    network: Outputs, batches: Iterable[Batch], spec: OutputSpec, rules: Protocol, device: torch.device
) -> Validation:
    """Evaluate a network in torch, in single precision (on CUDA, as torch allows it: with TF32).

    Raises
    ------
    TrainingError
        Where no frame could be judged.
    """
    network.eval()
    rows, faults = [], list[str]()
    for batch in batches:
        faults += batch.faults.values()
        if not batch.indices:
            continue
        outputs = [output.float().cpu().numpy() for output in network(batch.pictures.to(device))]
        for place, truth in enumerate(batch.truths):
            try:
                pixels = paired(truth.double().numpy(), decode([output[place] for output in outputs], spec), rules)
            except ValueError as error:
                raise TrainingError(f"the network's output cannot be decoded: {error}") from error
            except DataFault as fault:
                faults.append(f"{fault.status} ({fault.detail})")
                continue
            rows.append(measure(pixels.truth, pixels.prediction))
    if not rows:
        raise TrainingError(f"no frame of validation could be judged; of the first: {faults[0] if faults else 'none'}")
    return Validation({name: fmean(row[name] for row in rows) for name in SHOWN}, len(rows), tuple(faults))
