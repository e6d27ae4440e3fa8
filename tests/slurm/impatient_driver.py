"""The command with shorter pauses: a job that is lost is missed after 2 s, and not after 10."""

from unittest import mock

from ncdb_dask.cli.main import main
from ncdb_dask.runtime import slurm, slurm_jobs

if __name__ == "__main__":
    with mock.patch.object(slurm_jobs, "LOOK_SECONDS", 1.0), mock.patch.object(slurm, "ADAPT_INTERVAL", "1s"):
        main(prog_name="ncdb-dask")
