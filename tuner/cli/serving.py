"""`tuner serve`."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from tuner.cli.predicting import Bundle
from tuner.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(serve)


def serve(
    bundle: Bundle,
    host: Annotated[str, typer.Option(help="Address to listen at; this machine alone by default.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8000,
    replicas: Annotated[int, typer.Option(min=1, help="Processes that hold the model.")] = 1,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow a --host that others reach; nobody is asked for a password.")
    ] = False,
) -> None:
    """Answer HTTP requests with an exported model, on Ray Serve, until Ctrl-C. Needs `pip install 'tuner[serve]'`.

    POST /predict takes a picture as the body or several as multipart/form-data; GET /healthz and /metadata.
    """
    try:
        import python_multipart  # noqa: F401
        from ray import serve as ray_serve  # noqa: F401
    except ImportError as error:
        raise UsageError(f"tuner serve needs {error.name or 'Ray Serve'}: pip install 'tuner[serve]'") from None
    from tuner.bundle.serving import serving

    ended = threading.Event()
    with serving(bundle, host=host, port=port, replicas=replicas, insecure=insecure) as url:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        typer.echo(f"serving {bundle} at {url}: POST /predict, GET /healthz, GET /metadata; Ctrl-C ends it")
        ended.wait()
