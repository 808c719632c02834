"""The command line: parse, call one function, print, exit. Heavy libraries are imported by the commands that need them.

Exit codes: 0 done, 1 failed, 2 usage, 69 Redis stayed away, 130 interrupted or detached (143 by SIGTERM).
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import sys
import traceback
from typing import Annotated

import typer
from typer.exceptions import TyperException

from tuner import __version__
from tuner.cli import (
    attaching,
    dashboard,
    data,
    examining,
    exporting,
    looking,
    managing,
    predicting,
    replaying,
    reporting,
    searching,
    serving,
    spaces,
)
from tuner.cli.options import without_password
from tuner.errors import TunerError, first_line
from tuner.settings import DEBUG_VARIABLE, load_settings
from tuner.store.password import REDIS_VARIABLE

app = typer.Typer(
    name="tuner",
    help="Hyperparameter search for image-classifying CNNs: ASHA on Ray, a record in Redis, an exported winner.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[  # noqa: ARG001 - read by `main` before anything is parsed, listed here for the help
        bool, typer.Option("--debug", envvar=DEBUG_VARIABLE, help="Show tracebacks and what Ray and Optuna log.")
    ] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


_COMMANDS = (
    searching,
    looking,
    attaching,
    dashboard,
    replaying,
    reporting,
    exporting,
    predicting,
    serving,
    managing,
    examining,
    spaces,
    data,
)
for module in _COMMANDS:
    module.register(app)


def main() -> None:
    """Entry point of the `tuner` command: runs it and turns every error into one line and an exit code."""
    _hide_password()
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1 or load_settings().debug
    _configure_logging(debug)
    try:
        code = app(args=arguments, prog_name="tuner", standalone_mode=False)
    except TyperException as error:
        if getattr(error, "param", None) is None and error.format_message().startswith("Usage:"):
            typer.echo(error.format_message())  # a command group without a command: its help is the answer
            sys.exit(0)
        code = _fail(_usage_message(error, arguments), 2)
    except TunerError as error:
        if debug:
            traceback.print_exc()
        code = _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        what = f"{type(error).__name__}: {first_line(error)}"
        code = _fail(f"{what}; this is a mistake in tuner, run again with --debug to see where", 1)
    sys.exit(code or 0)


def _hide_password() -> None:
    """Start again without a password in the command line, which `ps` shows to all and Ray keeps with its jobs."""
    command, url = without_password(sys.orig_argv)
    if url is not None:
        os.environ[REDIS_VARIABLE] = url
        os.execv(sys.executable, [sys.executable, *command[1:]])


def _usage_message(error: TyperException, arguments: list[str]) -> str:
    """The parser's message, with the value that it leaves out and the command that tells more."""
    message = error.format_message()
    option_names = getattr(getattr(error, "param", None), "opts", [])
    for word, following in itertools.pairwise([*arguments, ""]):
        name, equals, value = word.partition("=")
        if name in option_names:
            message += f", got {value if equals else following!r}"
    context = getattr(error, "ctx", None)
    message = re.sub(r"(?<=://)[^\s@]*@", "...@", message)  # it may quote a URL that stood where none belongs
    return f"{message} (see `{context.command_path} --help`)" if context is not None else message


def _fail(message: str, code: int) -> int:
    typer.echo(f"error: {message}", err=True)
    return code


def _configure_logging(debug: bool) -> None:
    """Warnings of ours to stderr; Ray and Optuna are heard with --debug only: what matters of them becomes an error."""
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, format="%(name)s: %(message)s")
    if not debug:
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        logging.getLogger("optuna").setLevel(logging.ERROR)
