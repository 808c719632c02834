"""What a person sees while a data set is decoded: a bar in a terminal, a line now and then anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tuner.progress import format_seconds

if TYPE_CHECKING:
    from tuner.training.decoding import Tell

SPEAK_EVERY_S = 10.0


@contextmanager
def data_progress(console: Console, name: str, clock: Callable[[], float] = time.monotonic) -> Iterator[Tell]:
    """Gives the function that is told how far the decoding of `name` is. clock: seconds."""
    if console.is_terminal:
        with _bar(console, name) as tell:
            yield tell
    else:
        yield _lines(console, name, clock)


@contextmanager
def _bar(console: Console, name: str) -> Iterator[Tell]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        # Until the first word there is nothing to count: what is decoded already is opened at once.
        task = progress.add_task(f"reading data set {name}", total=None, count="")
        stage = ""

        def tell(what: str, done: int, total: int) -> None:
            nonlocal stage
            if what != stage:
                stage = what
                progress.reset(task)
            count = f"{done:,} of {total:,} pictures"
            progress.update(task, description=f"{name}: {what}", total=total, completed=done, count=count)

        yield tell


def _lines(console: Console, name: str, clock: Callable[[], float]) -> Tell:
    stage, first, began_s, spoke_s = "", 0, clock(), clock()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal stage, first, began_s, spoke_s
        now_s = clock()
        if what != stage:
            stage, first, began_s = what, done, now_s
        if now_s - spoke_s < SPEAK_EVERY_S:
            return
        spoke_s = now_s
        left = ""
        if done > first:
            left = f", about {format_seconds((now_s - began_s) / (done - first) * (total - done))} left"
        text = f"{name}: {what}, {done:,} of {total:,} pictures{left}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return tell
