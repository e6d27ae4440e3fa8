"""Files that outlive a run: folders, plans, shards, receipts, manifests. Knows neither depth nor Dask."""
