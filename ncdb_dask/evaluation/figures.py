"""What the shards of an evaluation tell while it runs."""

import numpy as np
import pyarrow as pa
from pyarrow import compute

from ncdb_dask.store.figures import Chart, Figure

# Networks of interest lie around 0.1; a frame beyond 1 is as wrong as can be and counts in the last bin.
_EDGES = np.linspace(0, 1, 51)
CHARTS = (Chart("abs_rel", "abs_rel of a frame", "", tuple(_EDGES.tolist())),)


def figures_of(table: pa.Table) -> dict[str, Figure]:
    """Return the figures of some rows of an evaluation's table; only rows of status ``ok`` count."""
    values = table.filter(compute.equal(table["status"], "ok"))["abs_rel"].drop_null().to_numpy()
    return {"abs_rel": np.histogram(np.clip(values, 0, 1), _EDGES)[0].tolist()}
