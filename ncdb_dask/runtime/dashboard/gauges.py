"""The same state for Prometheus, beside Dask's own figures at ``/metrics``."""

import time
from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ncdb_dask.runtime.dashboard.state import State

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

# Name, what it says, and where it stands in the state's JSON; each has the labels run and what.
GAUGES = (
    ("shards", "Shards of the plan", "shards"),
    ("shards_done", "Shards that are committed", "shards_done"),
    ("entries", "Entries of the plan", "entries"),
    ("entries_per_second", "Entries a second over the last minute; absent before the first", "entries_per_second"),
    ("elapsed_seconds", "Seconds since the run began, or was continued", "elapsed_seconds"),
    ("remaining_seconds", "Seconds left at the present rate; absent where unknown", "remaining_seconds"),
)
LABELS = ("run", "what")


class _Gauges:
    """Shows every state of this process: prometheus_client knows one registry a process, which may hold schedulers."""

    def __init__(self) -> None:
        self.states = WeakSet[State]()
        self._registered = False
        self._lock = Lock()

    def add(self, state: State) -> None:
        with self._lock:
            self.states.add(state)
            self._register()

    def discard(self, state: State) -> None:
        with self._lock:
            self.states.discard(state)
            self._register()

    def _register(self) -> None:
        from prometheus_client import REGISTRY

        wanted = bool(self.states)
        if wanted and not self._registered:
            REGISTRY.register(self)
        elif self._registered and not wanted:
            REGISTRY.unregister(self)
        self._registered = wanted

    def describe(self) -> "list[GaugeMetricFamily]":
        return []

    def collect(self) -> "Iterator[GaugeMetricFamily]":
        from prometheus_client.core import GaugeMetricFamily

        # A run whose drivers use two schedulers is shown once.
        runs = {run["run"]: run for state in list(self.states) for run in state.as_dict(time.monotonic())["runs"]}
        for name, about, key in GAUGES:
            family = GaugeMetricFamily(f"ncdb_dask_{name}", about, labels=LABELS)
            for run in runs.values():
                if run[key] is not None:
                    family.add_metric(_labels(run), run[key])
            yield family
        done = GaugeMetricFamily("ncdb_dask_entries_done", "Entries that are committed", labels=(*LABELS, "status"))
        state = GaugeMetricFamily("ncdb_dask_run", "1 in the state that the run is in", labels=(*LABELS, "status"))
        for run in runs.values():
            for status, count in run["counts"].items():
                done.add_metric([*_labels(run), status], count)
            state.add_metric([*_labels(run), run["status"]], 1)
        yield from (done, state)


def _labels(run: dict[str, Any]) -> list[str]:
    return [run["run"], run["what"]]


_GAUGES = _Gauges()
show, hide = _GAUGES.add, _GAUGES.discard
