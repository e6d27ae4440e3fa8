"""``python -m ncdb_dask.cli``, for environments whose scripts are not on the path."""

from ncdb_dask.cli.main import main

if __name__ == "__main__":
    main(prog_name="ncdb-dask")
