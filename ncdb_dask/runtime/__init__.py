"""Running tasks on Dask: clusters, fan-out, events. Knows nothing of depth."""
