"""Claim: a study of 3 sizes x 3 strategies x 4 methods costs less than three times the inference of its pool.

Its evaluations come on top, which any study pays. A ResNet-18 U-Net with random weights at 640 x 384, rendered
pictures, two workers. The pool are the frames of all nine sets together. Inference is reading, preprocessing and
running the FP32 network on each of them once, on the same workers. The cost of the study is its wall time without that
of the judge: drawing sets, the pass with statistics, ranges, networks, and the report. Opening a cluster is not
counted, nor opening the network before the inference. Workers make networks while others are judged, so wall times of
these two overlap; CPU seconds are those of driver and workers together.

    python benchmarks/study.py
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common import markdown
from distributed import Client
from unet import write_unet

import ncdb_dask
from ncdb_dask.api import studies
from ncdb_dask.calibration.frames import CalibrationFrame, FrameReader
from ncdb_dask.dataset.synthetic import write_tree
from ncdb_dask.model.session import NetworkReference, network
from ncdb_dask.runtime.stream import ordered_stream

WIDTH, HEIGHT, LEAST = 640, 384, 6
STRATEGIES = ("random", "stratified", "uniform")
METHODS = ("minmax", "percentile", "mse", "entropy")


@dataclass(frozen=True)
class Inference:
    """Runs the network as it is given on a frame."""

    reference: NetworkReference
    reader: FrameReader

    def __call__(self, frame: CalibrationFrame) -> float:
        return float(network(self.reference).run(self.reader.tensor(frame)[0])[0].mean())


@dataclass
class Spent:
    """Wall time, and CPU time of driver and workers, in seconds."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.wall - other.wall, self.cpu - other.cpu)


class Clock:
    """Tells what was spent, and adds up what is spent in functions."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.inside: dict[str, Spent] = {}

    def now(self) -> Spent:
        return Spent(time.perf_counter(), time.process_time() + sum(self.client.run(time.process_time).values()))

    def spent(self, work: Callable[[], object]) -> Spent:
        started = self.now()
        work()
        return self.now() - started

    def watch(self, owner: object, name: str) -> None:
        """Add up all calls of ``owner.name``."""
        own, self.inside[name] = getattr(owner, name), Spent()

        def timed(*arguments: object, **options: object) -> object:
            started = self.now()
            try:
                return own(*arguments, **options)
            finally:
                self.inside[name] += self.now() - started

        setattr(owner, name, timed)


def write_data(work: Path, frames: int, judged: int) -> dict[str, object]:
    """Write tree, scan and network, and return the recipe without its sizes."""
    write_tree(work / "tree", frames=-(-frames // 4), width=WIDTH, height=HEIGHT)  # of each of six scenes
    items = json.loads((work / "tree" / "val_split.json").read_text())
    (work / "judged.json").write_text(json.dumps(items[:: max(1, len(items) // judged)][:judged]))
    ncdb_dask.scan(work / "tree", work / "scan", split=["train_split.json", "val_split.json"])
    return {
        "network": {"model": str(write_unet(work / "unet.onnx", WIDTH, HEIGHT))},
        "data": {"scan": str(work / "scan"), "exclude": "val_split.json"},
        "evaluation": {"split": str(work / "judged.json"), "block": 1},
        "quantizers": [{"method": list(METHODS)}],
    }


def _told(reached: bool) -> str:
    return "reached" if reached else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=400, help="rendered, to choose from")
    parser.add_argument("--sizes", type=int, nargs=3, default=[50, 100, 200], help="of the sets")
    parser.add_argument("--judged", type=int, default=8, help="frames that each network is judged on")
    parser.add_argument("--work", type=Path, help="where to put tree, network and study")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder, ncdb_dask.open_client(workers=2) as client:
        work = Path(folder)
        recipe = write_data(work, arguments.frames, arguments.judged)
        sets = [{"strategy": strategy, "sizes": arguments.sizes} for strategy in STRATEGIES]
        plan = ncdb_dask.plan_study({**recipe, "sets": sets}, work / "out")
        frames = [CalibrationFrame(*key) for key in plan.union]
        task = Inference(plan.reference, plan.reader)
        list(ordered_stream(task, frames[:2] * 2, client))  # opens the network on both workers
        clock = Clock(client)
        inference = clock.spent(lambda: list(ordered_stream(task, frames, client)))
        for owner, name in ((studies.Judge, "__call__"), (studies, "measured"), (studies, "write_report")):
            clock.watch(owner, name)
        whole = clock.spent(lambda: studies.run_study(plan, client=client))
        judged, measured, report = clock.inside.values()
        cost = whole - judged
        evaluations = len(list((work / "out" / "evaluations").glob("*/_manifest.json")))
        rows = [
            ["inference of the pool", inference],
            ["statistics of the pool", measured],
            ["ranges and networks", cost - measured - report],
            ["table, pictures and page", report],
            ["the study without evaluations", cost],
            [f"{evaluations} evaluations of {arguments.judged} frames", judged],
        ]
        table = [
            [
                name,
                *(
                    f"{each:.1f}"
                    for each in (spent.wall, spent.wall / inference.wall, spent.cpu, spent.cpu / inference.cpu)
                ),
            ]
            for name, spent in rows
        ]
        print(f"{len(plan.cells)} cells, {len(frames)} frames in the pool, two workers\n")
        print(markdown(["", "seconds", "x inference", "CPU seconds", "x inference"], table))
        for what, spent, least in (
            ("wall time, in which judging overlaps", cost.wall, inference.wall),
            ("CPU seconds of driver and workers", cost.cpu, inference.cpu),
        ):
            print(f"\n{what}: {spent / least:.1f} x inference; the target of less than 3 is {_told(spent < 3 * least)}")


if __name__ == "__main__":
    main()
