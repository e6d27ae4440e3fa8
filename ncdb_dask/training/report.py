"""The files at the end of a fine-tuning."""

import json

from ncdb_dask.store.folder import LocalFolder
from ncdb_dask.training.picture import finetune_picture
from ncdb_dask.training.plan import PICTURE_FILE, REPORT_FILE
from ncdb_dask.training.result import Finetuned


def write_report(out: LocalFolder, done: Finetuned) -> None:
    """Write the picture, and the report last.

    Raises
    ------
    OSError
        Where the storage fails.
    """
    report = json.dumps(done.as_dict(), indent=1, allow_nan=False).encode()
    out.write_all({PICTURE_FILE: finetune_picture(done), REPORT_FILE: report})
