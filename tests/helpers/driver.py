"""A scan that is made to die: ``python -m helpers.driver ROOT OUT EVENT [WORKERS]``, run as a process of its own."""

import os
import signal
import sys

import ncdb_dask
from helpers.faults import die_at_write, nth
from ncdb_dask.runtime.events import Event, ShardDone


def signal_after_first_shard(signum: int):
    def observe(event: Event) -> None:
        if isinstance(event, ShardDone):
            os.kill(os.getpid(), signum)

    return observe


DEATHS = {
    "before-plan": nth("plan.json"),
    "before-data": nth("shard-000002.parquet"),
    "before-receipt": nth("receipts/shard-000002.json"),
    "before-manifest": nth("_manifest.json"),
}


def main(root: str, out: str, event: str, workers: str = "0") -> None:
    observer = signal_after_first_shard(signal.SIGKILL) if event == "after-first-shard" else lambda _: None
    if event in DEATHS:
        die_at_write(DEATHS[event])
    if workers == "0":
        ncdb_dask.scan(root, out, shard_size=4, observer=observer)
        return
    with ncdb_dask.open_client(workers=int(workers)) as client:
        ncdb_dask.scan(root, out, shard_size=4, client=client, observer=observer)


if __name__ == "__main__":
    main(*sys.argv[1:])
