"""`tuner status`, `tuner trials`, `tuner list`: read the store; need neither Ray nor torch."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cli.concluding import front_lines, resume_command
from tuner.cli.options import Json, Name, Redis, open_store
from tuner.confirmed import ranking
from tuner.errors import StoreError, StudyNotFound, UsageError
from tuner.training.objectives import DEFAULT_OBJECTIVE
from tuner.training.remarks import plural

if TYPE_CHECKING:
    import redis as redis_module

    from tuner.study import Study

_TRACEBACKS = 3  # of different places; the others are in `tuner trials --json`


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(status)
    app.command()(trials)
    app.command(name="list")(list_studies)


def status(
    name: Name = None,
    as_json: Json = False,
    live: Annotated[
        bool, typer.Option("--watch", help="Show the live table until the search ends, or Ctrl-C.")
    ] = False,
    redis: Redis = None,
) -> None:
    """How a study stands: its state, trials, best score, rungs and time spent."""
    from tuner.snapshot import look_at

    if live and as_json:
        raise UsageError("--watch shows a table, --json prints once: give one of them")
    client, _ = open_store(redis)
    study = _watched(client, name) if live else look_at(client, name)
    if as_json:
        _print_json(study.status())
        return
    from tuner.progress import format_budget, format_params, format_seconds

    content = study.status()
    counts = ", ".join(f"{count} {state}" for state, count in study.counts.items() if count) or "none yet"
    typer.echo(f"study {study.spec.name}: {study.state}{_driver(study)}")
    typer.echo(f"data set {study.spec.data.dataset}, space {study.spec.space.source}, seed {study.spec.seed}")
    if study.spec.warm_start:
        typer.echo(f"warm start: {len(study.spec.evidence)} trials of study {study.spec.warm_start} are evidence")
    typer.echo(f"trials: {counts}; {study.finished} of {study.trials_wanted} finished")
    best = study.best
    if best is not None:
        typer.echo(f"best: {study.spec.metric} {best.value:.4f}, trial {best.trial}, epoch {best.epoch}")
        typer.echo(f"      {format_params(best.params)}")
    for line in front_lines(study):
        typer.echo(line)
    for line in _confirmations(study):
        typer.echo(line)
    for rung in content["rungs"]:
        typer.echo(f"rung at epoch {rung['epoch']}: {rung['arrived']} trials arrived, {rung['stopped']} stopped there")
    spent = format_seconds(content["worker_seconds"])
    typer.echo(f"{content['epochs_trained']} epochs trained in {spent} of worker time")
    if (ledger := study.ledger) is not None:
        typer.echo(f"budget: {format_budget(ledger, study.trials_wanted - study.finished)}")
    if study.state == "stopped":
        typer.echo(f"go on with `{resume_command(study)}`")


def _confirmations(study: Study) -> list[str]:
    """The trials that confirm others, which are no trials of the search, and how those stand."""
    runs = [trial for trial in study.trials if trial.confirms is not None]
    if not runs:
        return []
    over = sum(trial.is_finished for trial in runs)
    lines = [f"confirmations: {over} of {len(runs)} runs with fresh seeds are over (`tuner export-best --confirm`)"]
    for one in ranking(study):
        spread = "" if one.spread is None else f", standard deviation {one.spread:.4f}"
        lines.append(f"      trial {one.origin.number}: mean {one.mean:.4f} of {plural(len(one.runs), 'run')}{spread}")
    return lines


def _watched(client: redis_module.Redis, name: str | None) -> Study:
    """Show a study for as long as it runs; the study as its driver left it."""
    from rich.console import Console

    from tuner.attach import watch
    from tuner.store import catalog

    return watch(client, name or catalog.newest(client), Console())


def trials(name: Name = None, as_json: Json = False, redis: Redis = None) -> None:
    """The trials of a study: parameters, scores, and why each one ended."""
    from tuner.snapshot import look_at

    study = look_at(open_store(redis)[0], name)
    if as_json:
        _print_json([trial.as_dict() for trial in study.trials])
        return
    from tuner.progress import describe_end, format_seconds, format_value

    names = list(study.spec.space.dimensions)
    heading = "best" if study.spec.metric == DEFAULT_OBJECTIVE else f"best {study.spec.metric}"
    rows = [["trial", "state", "epochs", heading, "time", *study.spec.costs, *names, "why it ended"]]
    choose = max if study.spec.direction == "maximize" else min
    for trial in study.trials:
        best = f"{choose(score for _, score in trial.values):.4f}" if trial.values else ""
        values = [format_value(trial.costs.get(key, "")) for key in study.spec.costs]
        values += [format_value(trial.params.get(key, "")) for key in names]
        number = f"{trial.number} (enqueued)" if trial.enqueued else str(trial.number)
        if trial.confirms is not None:
            number += f" (confirms {trial.confirms})"
        row = [number, trial.state, str(len(trial.values)), best, format_seconds(trial.seconds), *values]
        rows.append([*row, describe_end(trial)])
    _print_table(rows)
    _print_tracebacks(study)


def _print_tracebacks(study: Study) -> None:
    """Where trials failed in code, such as a network of the user's own: the first trial of each place."""
    shown: set[str] = set()
    for trial in study.trials:
        lines = str((trial.reason or {}).get("traceback", "")).splitlines()
        place = next((line for line in reversed(lines) if line.startswith("  File ")), "")
        if place and place not in shown and len(shown) < _TRACEBACKS:
            shown.add(place)
            typer.echo("\n".join(["", f"trial {trial.number} failed by", *lines]))


def list_studies(as_json: Json = False, redis: Redis = None) -> None:
    """All studies in the store, newest last."""
    from tuner.snapshot import look_at
    from tuner.store import catalog

    client, _ = open_store(redis)
    entries = []
    for name, created_s, user in catalog.list_studies(client):
        try:
            entries.append((created_s, user, look_at(client, name)))
        except StudyNotFound:
            continue  # deleted a moment ago
        except StoreError as error:
            typer.echo(f"warning: study {name} cannot be read: {error}", err=True)
    if as_json:
        _print_json([_list_entry(created_s, user, study) for created_s, user, study in entries])
        return
    if not entries:
        typer.echo("there is no study yet; start one with `tuner search digits`")
        return
    rows = [["study", "state", "data set", "finished", "best", "created", "by"]]
    for created_s, user, study in entries:
        best = f"{study.best.value:.4f}" if study.best else ""
        if best and study.spec.metric != DEFAULT_OBJECTIVE:
            best += f" {study.spec.metric}"
        created = datetime.fromtimestamp(created_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
        finished = f"{study.finished}/{study.trials_wanted}"
        rows.append([study.spec.name, study.state, study.spec.data.dataset, finished, best, created, user])
    _print_table(rows)


def _list_entry(created_s: float, user: str, study: Study) -> dict[str, Any]:
    return {
        "name": study.spec.name,
        "state": study.state,
        "dataset": study.spec.data.dataset,
        "trials": study.counts,
        "trials_wanted": study.trials_wanted,
        "best_value": study.best.value if study.best else None,
        "metric": study.spec.metric,
        "created_s": created_s,
        "user": user,
    }


def _driver(study: Study) -> str:
    if study.driver is None:
        return ""
    since = datetime.fromtimestamp(study.driver["since_s"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f" (process {study.driver['pid']} of {study.driver['user']} on {study.driver['host']} since {since})"


def _print_table(rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_json(content: Any) -> None:
    typer.echo(_fast_json(content) or json.dumps(content, indent=2, allow_nan=False))


def _fast_json(content: Any) -> str | None:
    """Ten thousand trials in a tenth of a second; None for text that not every terminal can show."""
    import orjson

    try:
        text = orjson.dumps(content, option=orjson.OPT_INDENT_2)
    except TypeError:  # halves of surrogate pairs, of file names that are not UTF-8
        return None
    return text.decode() if text.isascii() else None
