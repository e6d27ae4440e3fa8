"""What a scheduler is given, also one that is running already: it keeps the state, and serves the page."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import SchedulerPlugin
from tornado.web import RedirectHandler, RequestHandler

from ncdb_dask.runtime.dashboard.state import State, WorkerNow

if TYPE_CHECKING:
    from distributed import Scheduler

NAME = "ncdb_dask"  # of the plugin, and of the topic of its events
PAGE = "ncdb"
LOGGER = logging.getLogger(__name__)
# The page takes nothing from elsewhere, and asks only the scheduler that it came from.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Dashboard(SchedulerPlugin):  # type: ignore[misc]
    """Keeps what runs tell by ``log_event``, and shows it at ``/ncdb``."""

    idempotent = True
    name = NAME

    def __init__(self) -> None:
        self.state = State()
        self.scheduler: Scheduler | None = None

    async def start(self, scheduler: "Scheduler") -> None:
        """Begin to show; what the scheduler cannot show is left out."""
        self.scheduler = scheduler
        for address in list(scheduler.workers):
            self.state.join(address, time.monotonic())
        for show in (self._serve, self._link, self._gauge):
            try:
                show(scheduler)
            except Exception as error:
                LOGGER.warning("ncdb_dask: a part of its page cannot be shown (%r)", error)

    async def close(self) -> None:
        """Forget everything with the scheduler."""
        from ncdb_dask.runtime.dashboard import gauges

        gauges.hide(self.state)
        self.scheduler = None

    def add_worker(self, scheduler: "Scheduler", worker: str) -> None:
        """Take note of a worker."""
        self.state.join(worker, time.monotonic())

    def remove_worker(self, scheduler: "Scheduler", worker: str, **kwargs: Any) -> None:
        """Forget a worker."""
        self.state.part(worker)

    def remove_client(self, scheduler: "Scheduler", client: str) -> None:
        """Take note that a driver has left."""
        self.state.leave(client, time.monotonic())

    def log_event(self, topic: str, msg: Any) -> None:
        """Take an event in; one that is none of ours changes nothing."""
        if topic == NAME:
            try:
                self.state.take(msg, time.monotonic())
            except Exception as error:
                LOGGER.debug("ncdb_dask: an event was not understood (%s)", error)

    def as_dict(self) -> dict[str, Any]:
        """Return what the page shows."""
        return self.state.as_dict(time.monotonic(), self._workers())

    def _workers(self) -> Iterator[WorkerNow]:
        for worker in list(self.scheduler.workers.values()) if self.scheduler else ():
            yield WorkerNow(
                address=str(worker.address),
                name=str(worker.name),
                status=str(worker.status.name),
                threads=int(worker.nthreads),
                tasks=len(worker.processing),
                memory=int(worker.metrics.get("memory") or 0),
                memory_limit=int(worker.memory_limit or 0),
            )

    def _serve(self, scheduler: "Scheduler") -> None:
        # Dask tells the prefix of its pages to their own server only.
        prefix = next((app.prefix for app in scheduler.http_application.applications if hasattr(app, "prefix")), "")
        page = files(__package__).joinpath("page.html").read_bytes()
        routes = [
            (f"{prefix}/{PAGE}", _Answer, {"content": "text/html", "answer": lambda: page}),
            (f"{prefix}/{PAGE}/status.json", _Answer, {"content": "application/json", "answer": self._json}),
            (f"{prefix}/{PAGE}/", RedirectHandler, {"url": f"../{PAGE}", "permanent": False}),
        ]
        scheduler.http_application.add_handlers(r".*$", routes)

    def _json(self) -> bytes:
        return json.dumps(self.as_dict(), allow_nan=False).encode()

    def _link(self, scheduler: "Scheduler") -> None:
        if any(hasattr(app, "prefix") for app in scheduler.http_application.applications):
            from distributed.dashboard.scheduler import template_variables

            pages = template_variables(scheduler)["pages"]
            if PAGE not in pages:
                pages.append(PAGE)

    def _gauge(self, scheduler: "Scheduler") -> None:
        from ncdb_dask.runtime.dashboard import gauges

        gauges.show(self.state)


class _Answer(RequestHandler):
    def initialize(self, content: str, answer: Callable[[], bytes]) -> None:
        self.content, self.answer = content, answer

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def get(self) -> None:
        self.set_header("Content-Type", f"{self.content}; charset=utf-8")
        self.write(self.answer())


def state_of(dask_scheduler: "Scheduler") -> dict[str, Any] | None:
    """Return what the page of a scheduler shows, or None where it has none; called on the scheduler."""
    plugin = dask_scheduler.plugins.get(NAME)
    return plugin.as_dict() if isinstance(plugin, Dashboard) else None
