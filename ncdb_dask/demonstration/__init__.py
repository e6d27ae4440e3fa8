"""Everything once: what `ncdb_dask.demo` does, whose folder that is, and what it tells."""
