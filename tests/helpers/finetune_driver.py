"""A fine-tuning that is made to die: ``python -m helpers.finetune_driver RECIPE OUT EPOCH STEP``, as a process."""

import os
import signal
import sys

import ncdb_dask
from ncdb_dask.runtime.events import Event, StepProgress


def main(recipe: str, out: str, epoch: str, step: str) -> None:
    def observe(event: Event) -> None:
        if isinstance(event, StepProgress) and event.what.startswith(f"epoch {epoch} of") and event.done == int(step):
            os.kill(os.getpid(), signal.SIGKILL)

    ncdb_dask.finetune(recipe, out, observer=observe)


if __name__ == "__main__":
    main(*sys.argv[1:])
