"""How many frames of each depth range the guide's calibration set takes, for those who watch a scan."""

from ncdb_dask.sampling.allocate import quotas
from ncdb_dask.sampling.strata import DEFAULT_EDGES, DEFAULT_NAMES, DEFAULT_RATIOS, DEFAULT_SIZE

# Name and upper bound in metres of each range.
GUIDE_RANGES = tuple(zip(DEFAULT_NAMES, DEFAULT_EDGES[1:], strict=True))
GUIDE_QUOTAS = dict(
    zip(DEFAULT_NAMES, quotas(DEFAULT_RATIOS, [DEFAULT_SIZE] * len(DEFAULT_RATIOS), DEFAULT_SIZE), strict=True)
)
