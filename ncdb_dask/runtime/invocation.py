"""How this program is called as a process of its own."""

import sys


def invoked(python: str = "") -> list[str]:
    """Return the beginning of a command line of ``ncdb-dask``.

    Parameters
    ----------
    python : str
        Its interpreter; this one, if left out.
    """
    # Without -P, a file of the current folder could take the place of a package.
    return [python or sys.executable, "-P", "-m", "ncdb_dask.cli"]
