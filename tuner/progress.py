"""What a person sees while a search runs: a live table in a terminal or a notebook, plain lines anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tuner.best import Best, best_of, front_of
from tuner.ledger import Ledger
from tuner.notebook import NotebookTable, in_notebook
from tuner.spec import StudySpec
from tuner.study import TrialRecord
from tuner.training.objectives import DEFAULT_OBJECTIVE

SILENCE_S = 30.0  # plain lines: the longest time without a word while epochs are reported
TABLE_ROWS = 12  # running trials first, then the ones that changed last

_STYLES = {
    "running": "cyan",
    "complete": "green",
    "pruned": "yellow",
    "failed": "red",
    "queued": "dim",
    "paused": "blue",
}


def format_value(value: object) -> str:
    """A parameter's value, short: numbers to three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def format_params(params: Mapping[str, Any]) -> str:
    """`name=value` for each parameter."""
    return " ".join(f"{name}={format_value(value)}" for name, value in params.items())


def format_seconds(seconds: float) -> str:
    """Seconds as a person writes them: 42s, 3m05s, 2h07m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def format_budget(ledger: Ledger, trials_left: int, elapsed_s: float = 0.0, spent_before_h: float = 0.0) -> str:
    """What is spent, of how much, and what the rest is good for. trials_left: of those wanted.

    elapsed_s, spent_before_h: since when a driver has been spending, and what was spent before.
    """
    text = f"{ledger.budget.of(ledger.spent_h)} of {ledger.budget.words} spent"
    paid = ledger.trials_paid
    if paid is None or trials_left <= 0:
        return text
    if ledger.is_enough_for(trials_left):
        return f"{text}, enough for all trials"
    if paid == 0:
        return f"{text}, too little left for a trial as they were so far"
    per_h = elapsed_s / (ledger.spent_h - spent_before_h) if ledger.spent_h > spent_before_h else 0.0
    when = f"used up in about {format_seconds(max(0.0, ledger.left_h) * per_h)}, " if per_h > 0 else ""
    return f"{text}, {when}enough for about {paid} more trial{'' if paid == 1 else 's'}"


def describe_end(trial: TrialRecord) -> str:
    """Why a trial ended, in a few words; empty while it has not."""
    reason = trial.reason
    if reason is None:
        return ""
    if reason["kind"] == "asha":
        layer = f", layer {reason['layer']}" if "layer" in reason else ""
        return f"rank {reason['rank']} of {reason['peers'] + 1} at epoch {reason['rung']}{layer}"
    if reason["kind"] == "plateau":
        return f"no better score for {reason['waited']} epochs"
    return f"{reason['kind']}: {reason['detail']}"


class SearchView:
    """What is known of a running search: fed by `trial_changed`, asked by the displays. Seconds come from `clock`.

    trials: all that there are; those that confirm others are shown once they run. trials_wanted: 0 for a driver that
    confirms, which then gives only what it shows.
    """

    def __init__(
        self, spec: StudySpec, trials: Iterable[TrialRecord], trials_wanted: int, clock: Callable[[], float]
    ) -> None:
        self.spec = spec
        self._lock = threading.Lock()  # the table is drawn by a thread of its own
        known = list(trials)
        shown = (one for one in known if not trials_wanted or one.confirms is None or one.state == "running")
        self._trials = {trial.number: trial for trial in shown}
        self._wanted = trials_wanted
        self.clock = clock
        self._start_s = clock()
        self._past_before = self._past()
        self._epochs_before = self._epochs()
        self._ledger = Ledger(spec, known) if spec.budget and trials_wanted else None
        self._spent_before_h = self._ledger.spent_h if self._ledger is not None else 0.0

    def change(self, trial: TrialRecord) -> None:
        """Take in a trial's newest record; it becomes the one that changed last."""
        with self._lock:
            self._trials.pop(trial.number, None)
            self._trials[trial.number] = trial
            if self._ledger is not None:
                self._ledger.change(trial)

    def trials(self) -> list[TrialRecord]:
        """All trials, the one that changed last at the end."""
        with self._lock:
            return list(self._trials.values())

    @property
    def trials_wanted(self) -> int:
        """In all: with those that continue or confirm others."""
        return self._wanted + sum(not trial.is_wanted for trial in self.trials())

    @property
    def done(self) -> int:
        """Trials that ended, whichever way."""
        return sum(trial.state in ("complete", "pruned", "failed") for trial in self.trials())

    @property
    def best(self) -> Best | None:
        """The best epoch so far whose weights are kept."""
        return best_of(self.trials(), self.spec)

    def _past(self) -> int:
        """Trials that ended, or wait at a rung: of these few go on, and all others end only with the search."""
        return self.done + sum(trial.state == "paused" for trial in self.trials())

    def _epochs(self) -> int:
        return sum(len(trial.values) for trial in self.trials())

    def summary(self) -> str:
        """One line: trials done, best so far, epochs per minute, time left."""
        elapsed_s = max(self.clock() - self._start_s, 1e-9)
        past_now = self._past() - self._past_before
        best = self.best
        parts = [f"{self.done}/{self.trials_wanted} trials done"]
        if best is not None:
            score = "best" if self.spec.metric == DEFAULT_OBJECTIVE else f"best {self.spec.metric}"
            parts.append(f"{score} {best.value:.4f} (trial {best.trial}, epoch {best.epoch})")
        if front := front_of(self.trials(), self.spec):
            parts.append(f"{len(front)} on the front")
        parts.append(f"{(self._epochs() - self._epochs_before) / elapsed_s * 60:.0f} epochs/min")
        parts.append(f"{format_seconds(elapsed_s)} so far")
        trials_left = self.trials_wanted - self.done
        confirming = any(one.confirms is not None and one.state == "running" for one in self.trials())
        if self._ledger is not None and not confirming:  # no budget holds for who confirms
            with self._lock:
                parts.append(format_budget(self._ledger, trials_left, elapsed_s, self._spent_before_h))
            if self._ledger.trials_paid is None or not self._ledger.is_enough_for(trials_left):
                return ", ".join(parts)  # the budget ends first, or may
        to_come = self.trials_wanted - self._past()
        if past_now > 0 and to_come > 0:
            left_s = elapsed_s / past_now * to_come
            parts.append(f"about {format_seconds(left_s)} left")
        return ", ".join(parts)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings, and the rows of the trials that matter now: the running ones, then those that changed last."""
        names = list(self.spec.space.dimensions)
        rows = []
        newest = self.trials()[::-1]
        for trial in sorted(newest, key=lambda trial: trial.state != "running")[:TABLE_ROWS]:
            epoch, score = trial.values[-1] if trial.values else (0, None)
            row = [str(trial.number), trial.state, f"{epoch}/{trial.max_epochs or self.spec.max_epochs}"]
            row += ["" if score is None else f"{score:.4f}"]
            row += [format_value(trial.costs.get(name, "")) for name in self.spec.costs]
            why = describe_end(trial) or ("" if trial.confirms is None else f"(confirms trial {trial.confirms})")
            rows.append([*row, *(format_value(trial.params.get(name, "")) for name in names), why])
        heading = "score" if self.spec.metric == DEFAULT_OBJECTIVE else self.spec.metric
        return ["trial", "state", "epoch", heading, *self.spec.costs, *names, "why it ended"], rows


class PlainLines:
    """One line for each trial that starts or ends, and for a report after a while of silence; for logs and pipes."""

    def __init__(self, console: Console, view: SearchView) -> None:
        self._console = console
        self._view = view
        self._spoke_s = view.clock()

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None:
        self._line(self._view.summary())

    def trial_changed(self, trial: TrialRecord) -> None:
        """Print the start and the end of trials; all reports in between would drown them."""
        self._view.change(trial)
        if trial.state == "running" and not trial.values:
            given = " (enqueued)" if trial.enqueued else ""
            if trial.confirms is not None:
                given = f" (confirms trial {trial.confirms})"
            self._line(f"trial {trial.number} starts{given}: {format_params(trial.params)}")
        elif trial.state == "queued":
            self._line(f"trial {trial.number} goes back to the queue after attempt {trial.attempt}")
        elif trial.state != "running" or self._view.clock() - self._spoke_s >= SILENCE_S:
            score = f" {trial.values[-1][1]:.4f} after epoch {trial.values[-1][0]}" if trial.values else ""
            end = describe_end(trial)
            self._line(f"trial {trial.number} {trial.state}{score}{f' ({end})' if end else ''}; {self._view.summary()}")

    def stopping(self, why: str) -> None:
        """Say that the search is being stopped."""
        self._line(f"stopping ({why}): waiting for what runs")

    def _line(self, text: str) -> None:
        self._spoke_s = self._view.clock()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveTable:
    """The table that is drawn anew four times a second."""

    def __init__(self, console: Console, view: SearchView) -> None:
        self._view = view
        self._stopping = ""
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self.render)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def trial_changed(self, trial: TrialRecord) -> None:
        """Take in the change; the next drawing shows it."""
        self._view.change(trial)

    def stopping(self, why: str) -> None:
        """Say that the search is being stopped."""
        self._stopping = f"stopping ({why}): waiting for what runs; Ctrl-C again to leave at once"

    def render(self) -> RenderableType:
        """The table as it is now."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        headings, rows = self._view.table()
        for heading in headings[:-1]:
            table.add_column(heading, justify="right" if heading != "state" else "left", no_wrap=True)
        table.add_column(headings[-1], overflow="ellipsis", no_wrap=True)
        for number, state, *rest in rows:
            table.add_row(number, Text(state, style=_STYLES[state]), *rest)
        lines: list[RenderableType] = [table, Text(self._view.summary(), style="bold")]
        if self._stopping:
            lines.append(Text(self._stopping, style="yellow"))
        return Group(*lines)


Display = LiveTable | NotebookTable | PlainLines


def progress_for(console: Console, spec: StudySpec, trials: Iterable[TrialRecord], trials_wanted: int) -> Display:
    """The live table if `console` is a terminal; one for notebooks if it speaks in one; else plain lines."""
    view = SearchView(spec, trials, trials_wanted, time.monotonic)
    if console.is_terminal:
        return LiveTable(console, view)
    if in_notebook() and not console.quiet:
        return NotebookTable(view)
    return PlainLines(console, view)
