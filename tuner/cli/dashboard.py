"""`tuner dashboard`."""

from __future__ import annotations

import contextlib
import warnings
from typing import Annotated

import typer

from tuner.cli.options import Name, Redis, open_store
from tuner.network import is_loopback


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(dashboard)


def dashboard(
    name: Name = None,
    host: Annotated[
        str, typer.Option(envvar="TUNER_DASHBOARD_HOST", help="Address to listen at; there is no password.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="TUNER_DASHBOARD_PORT", min=0, max=65535, help="Port; 0 takes any free one.")
    ] = 8080,
    redis: Redis = None,
) -> None:
    """Show a study in the browser with optuna-dashboard, while it runs or later; it only reads. Ctrl-C ends it."""
    from tuner.dashboard import new_server
    from tuner.store import catalog
    from tuner.store.journal import RedisJournal

    warnings.filterwarnings("ignore", module="optuna")  # of its plots, once for each time the page is drawn
    client, _ = open_store(redis)
    name = name or catalog.newest(client)
    catalog.read_spec(client, name)
    with new_server(name, RedisJournal(client, name), host, port) as server:
        # Each study has a journal of its own, and is number 0 in it.
        typer.echo(f"study {name}: http://{host}:{server.server_port}/dashboard/studies/0 (Ctrl-C ends this)")
        if not is_loopback(host):
            typer.echo(f"warning: whoever reaches {host}:{server.server_port} can read it without a password", err=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
