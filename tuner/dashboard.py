"""optuna-dashboard on one study: reads its journal, and can change nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from tuner.errors import TunerError, UsageError, first_line

if TYPE_CHECKING:
    from optuna.storages.journal import BaseJournalBackend

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class DashboardServer(ThreadingMixIn, WSGIServer):
    """Answers browsers until its `serve_forever` is interrupted. Bound when `new_server` returns it."""

    daemon_threads = True


def new_server(name: str, journal: BaseJournalBackend, host: str, port: int) -> DashboardServer:
    """A server of the study `name`, and of no other, at `host`:`port`; port 0 takes any free one.

    journal: opened for reading. Raises TunerError if optuna-dashboard is not installed, UsageError if nothing can
    listen there, StoreError if the journal cannot be read.
    """
    from optuna.storages import JournalStorage

    from tuner.store.journal import replaying

    try:
        from optuna_dashboard import wsgi
    except ModuleNotFoundError as error:
        raise TunerError(
            f"`tuner dashboard` needs the package optuna-dashboard, which is not installed ({error}): install tuner "
            "with its extra, `pip install '.[dashboard]'`"
        ) from None
    logging.getLogger("optuna_dashboard").addFilter(_first_line_only)
    with replaying(name):
        app = wsgi(JournalStorage(journal))
    try:
        return make_server(host, port, _reading_only(app), server_class=DashboardServer, handler_class=_QuietHandler)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"nothing can listen at {host}:{port} ({first_line(error)}): give another --port or --host"
        ) from None


def _reading_only(app: WsgiApp) -> WsgiApp:
    """Refuses whatever would write. The journal would refuse it too, but not in words that the page shows."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return app(environ, start_response)
        start_response("405 Method Not Allowed", [("Content-Type", "application/json"), ("Allow", "GET, HEAD")])
        return [b'{"reason": "this dashboard only shows the study: change it with the tuner command"}']

    return answer


def _first_line_only(record: logging.LogRecord) -> bool:
    """Errors of the store without the stack that optuna-dashboard logs with each."""
    record.msg, record.args = record.getMessage().splitlines()[0], ()
    return True


class _QuietHandler(WSGIRequestHandler):
    """No line for each request: the page asks every few seconds."""

    def log_message(self, *_: Any) -> None:
        pass
