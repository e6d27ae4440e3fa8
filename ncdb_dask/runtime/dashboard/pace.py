"""How quickly a run or a worker gets on: now, and in the mean."""

from collections import deque

from ncdb_dask.store.progress import rate_window

# Shards come every few seconds to minutes; a minute smooths what several workers do.
WINDOW_SECONDS = 60.0
# A bucket a second: at least ten minutes of a quick run, and all of a slow one that the window needs.
BUCKETS = 600


class Pace:
    """Rows a second; takes the same memory however long the run is.

    Parameters
    ----------
    now : float
        The time, in seconds on a clock that never goes back, as everywhere here.
    """

    def __init__(self, now: float) -> None:
        self.started = now
        self.rows = self.shards = 0
        self._buckets: deque[tuple[float, int]] = deque(maxlen=BUCKETS)

    def add(self, rows: int, now: float) -> None:
        """Count a shard."""
        self.rows += rows
        self.shards += 1
        if self._buckets and now - self._buckets[-1][0] < 1:
            began, before = self._buckets.pop()
            self._buckets.append((began, before + rows))
        else:
            self._buckets.append((now, rows))

    def mean(self, now: float) -> float | None:
        """Return rows a second since the start, or None before there is one to tell."""
        elapsed = now - self.started
        return self.rows / elapsed if self.shards and elapsed > 0 else None

    def current(self, now: float) -> float | None:
        """Return rows a second over the last minute, or None before there is one to tell."""
        elapsed = now - self.started
        if not self.shards or elapsed <= 0:
            return None
        window = rate_window(elapsed, self.shards, WINDOW_SECONDS)
        return sum(rows for began, rows in self._buckets if began >= now - window) / window
