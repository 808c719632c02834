"""Options and arguments that several commands share, and how their values are read."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.settings import Settings, load_settings
from tuner.store.password import REDIS_VARIABLE, SECRET_VARIABLES, with_password
from tuner.training.objectives import DEFAULT_OBJECTIVE, OBJECTIVES

if TYPE_CHECKING:
    import redis

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Study; the newest one by default.")]
Redis = Annotated[
    str | None,
    typer.Option(
        "--redis",
        envvar=REDIS_VARIABLE,
        metavar="URL",
        help="redis://, rediss:// or unix:// URL of the store; a private server of this user by default. "
        "The shell remembers a password in it: better put that into TUNER_REDIS_PASSWORD or a file that "
        "TUNER_REDIS_PASSWORD_FILE names.",
    ),
]
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure",
        envvar="TUNER_INSECURE",
        help="Allow a Redis or a Ray cluster beyond this machine that asks for no password or token.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar=["TUNER_ADDRESS", "RAY_ADDRESS"],
        metavar="HOST:PORT|auto|URL",
        help="Ray cluster: HOST:PORT or auto joins it from one of its machines, http://HOST:8265 submits to it from "
        "anywhere; a local Ray by default.",
    ),
]
Dashboard = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar=["TUNER_ADDRESS", "RAY_ADDRESS"],
        metavar="URL",
        help="http://HOST:8265 of the cluster's dashboard; by default the one that the search was submitted to.",
    ),
]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach",
        envvar="TUNER_DETACH",
        help="With --address http://...: leave the search alone as soon as it runs there.",
    ),
]
PerGpuText = Annotated[
    str | None,
    typer.Option(
        envvar="TUNER_TRIALS_PER_GPU",
        metavar="N|auto",
        help="Trials that share one GPU (default 1); auto: as many as fit, by the memory that earlier trials took.",
    ),
]
PerGpuAnew = Annotated[
    str | None, typer.Option(metavar="N|auto", help="Trials that share one GPU from now on, or auto.")
]
StrictGpus = Annotated[
    bool,
    typer.Option(
        "--strict-gpus",
        envvar="TUNER_STRICT_GPUS",
        help="Fail if the cluster does not have all the GPUs of --gpus within a minute; by default a search starts "
        "with those that are there.",
    ),
]
StrictData = Annotated[
    bool,
    typer.Option(
        "--strict-data",
        envvar="TUNER_STRICT_DATA",
        help="Refuse the data set if a file in it is broken, empty or no picture; by default such files are named and "
        "left out.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        envvar="TUNER_SET",
        metavar="NAME=VALUE",
        help="Search or hold something else than the space says: lr=log:1e-4:1e-1, dropout=0:0.5, width=16:64:16 (the "
        "last is the step), optimizer=sgd,adamw, or width=32; can be given several times.",
    ),
]
Enqueue = Annotated[
    Path | None,
    typer.Option(
        "--enqueue",
        envvar="TUNER_ENQUEUE",
        metavar="FILE",
        help="Try the configurations of this TOML file first: [[trial]] tables with values for some or all dimensions.",
    ),
]
WarmStart = Annotated[
    str | None,
    typer.Option(
        "--warm-start",
        envvar="TUNER_WARM_START",
        metavar="NAME",
        help="Let the sampler learn from the trials of this earlier study too, as far as they are inside the bounds.",
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        envvar="TUNER_LOG",
        metavar="tensorboard|mlflow",
        help="Write each epoch there too, in the study's folder of --storage or to MLFLOW_TRACKING_URI; repeat it for "
        "both.",
    ),
]
TimeBudget = Annotated[
    str | None,
    typer.Option(
        "--time-budget",
        envvar="TUNER_TIME_BUDGET",
        metavar="TIME",
        help="Stop after this wall-clock time, such as 90s, 30m or 2h (seconds without a unit); no limit by default.",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        envvar="TUNER_BUDGET",
        metavar="20gpuh|8cpuh|MONEY",
        help="What the study may take in all, counted over every resume: GPU-hours, hours of CPU cores, or money with "
        'its price, such as "50 EUR at 2.5/gpuh"; no limit by default.',
    ),
]
ResumedBudget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="20gpuh|8cpuh|MONEY",
        help="What the study may take from now on, in all: what it took so far is part of it.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        envvar="TUNER_MODEL",
        metavar="MODULE:FUNCTION|torchvision:NAME",
        help="Network to train: of a function of yours, package.module:function, or one of torchvision's, such as "
        "torchvision:resnet18; by default the built-in ones, or what the space says.",
    ),
]
Pretrained = Annotated[
    bool,
    typer.Option(
        "--pretrained",
        envvar="TUNER_PRETRAINED",
        help="Begin with torchvision's published weights, from its cache or downloaded.",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        envvar="TUNER_WEIGHTS",
        metavar="FILE",
        help="Begin with the weights in this file, a state dict of the torchvision network.",
    ),
]
SamplerOption = Annotated[
    str | None,
    typer.Option(
        "--sampler",
        envvar="TUNER_SAMPLER",
        metavar="tpe|mfgp|random",
        help="What suggests configurations: Optuna's TPE, a Gaussian process over configuration and epoch, or chance "
        "(default mfgp; tpe with several objectives).",
    ),
]
AshaOption = Annotated[
    str,
    typer.Option(
        "--asha",
        envvar="TUNER_ASHA",
        metavar="stop|promote",
        help="At a rung, stop the trials that are not among the best so far; or pause all, and go on with the best.",
    ),
]
ObjectiveOption = Annotated[
    list[str] | None,
    typer.Option(
        "--objective",
        envvar="TUNER_OBJECTIVE",
        metavar="|".join(OBJECTIVES),
        help="What the search is for: trials and epochs are compared by it. Balanced accuracy is the mean of the "
        "classes' recalls; the loss is minimised. Given again with latency_ms or parameters, the search is for the "
        f"front of both (default {DEFAULT_OBJECTIVE}).",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Start nothing: say the rungs, the trials expected at each, and the hours, from one timed epoch of the "
        "median configuration.",
    ),
]
Profile = Annotated[
    bool,
    typer.Option(
        "--profile",
        envvar="TUNER_PROFILE",
        help="Trace some steps of a trial's second epoch, for the viewers of Chrome and Perfetto.",
    ),
]
ProgressTimeout = Annotated[
    str | None,
    typer.Option(
        "--progress-timeout",
        envvar="TUNER_PROGRESS_TIMEOUT",
        metavar="TIME",
        help="Start a trial's worker anew after so long without an epoch, or five usual epochs if that is longer "
        "(default 5m; 5 minutes more for the first epoch of a process).",
    ),
]


def open_store(url: str | None, *, insecure: bool = True) -> tuple[redis.Redis, Settings]:
    """Connect to the store at `url`, or start the private one. Raises StoreError in one line if that fails.

    Only who puts a study somewhere decides about `insecure`; for all other commands the study is already there.
    """
    from tuner.store import client, embedded

    settings = load_settings()
    url = with_password(url)
    # No process that is started from here on, such as Ray's, has any business with the password in it.
    for variable in SECRET_VARIABLES:
        os.environ.pop(variable, None)
    return client.connect(url or embedded.ensure_running(settings.home), insecure=insecure), settings


def without_password(command: list[str]) -> tuple[list[str], str | None]:
    """A command line without its `--redis URL` if that holds a password, and the URL; else the same and None."""
    rest, url, words = [], None, iter(command)
    for word in words:
        given = [word, *itertools.islice(words, 1)] if word == "--redis" else [word]
        value = given[-1].removeprefix("--redis=")
        if word.partition("=")[0] == "--redis" and ("@" in value or "password=" in value):
            url = value
        else:
            rest += given
    return rest, url
