"""What a person sees: the live table and the plain lines, drawn to a string with a clock of the test's own."""

import io

import pytest
from rich.console import Console

from tests.factories import new_ref, new_spec
from tests.factories import new_trial as build_trial
from tuner.progress import LiveTable, PlainLines, SearchView, format_seconds, progress_for
from tuner.usage import Attempt, Share, Usage

BEST = new_ref(epoch=9, score=0.95)
ASHA = {"kind": "asha", "rung": 1, "rank": 5, "peers": 6, "cutoff": 0.8}


def new_trial(number, state="running", values=(), **changes):
    return build_trial(number, state=state, values=list(values), **changes)


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


def new_view(trials=(), wanted=4):
    clock = Clock()
    return SearchView(new_spec(), trials, wanted, clock), clock


def drawn(renderable, width=160):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (185, "3m05s"), (3600, "1h00m"), (7620, "2h07m")]
)
def test_seconds_read_as_a_person_writes_them(seconds, text):
    assert format_seconds(seconds) == text


def test_the_summary_tells_done_best_speed_and_time_left():
    view, clock = new_view()
    view.change(new_trial(0, "complete", [(epoch, 0.9) for epoch in range(1, 10)], best_checkpoint=BEST))
    view.change(new_trial(1, "running", [(1, 0.5)]))
    clock.seconds = 60.0
    assert view.summary() == (
        "1/4 trials done, best 0.9500 (trial 0, epoch 9), 10 epochs/min, 1m00s so far, about 3m00s left"
    )


def test_trials_that_wait_at_a_rung_count_as_past_where_time_is_foretold():
    view, clock = new_view()
    view.change(new_trial(0, "paused", [(1, 0.5)]))
    view.change(new_trial(1, "paused", [(1, 0.6)]))
    view.change(new_trial(2, "running"))
    clock.seconds = 60.0
    assert view.summary().endswith("0/4 trials done, 2 epochs/min, 1m00s so far, about 1m00s left")
    view.change(new_trial(2, "paused", [(1, 0.6)]))
    view.change(new_trial(3, "paused", [(1, 0.6)]))
    assert view.summary().endswith("1m00s so far")


def ran(number, seconds, **changes):
    return new_trial(number, usage=Usage((Attempt(Share(1.0, 1), seconds, True),), seconds), **changes)


def test_the_budget_counts_runs_that_confirm_although_they_are_not_shown():
    trials = [ran(0, 360, state="complete"), ran(1, 720, state="complete", confirms=0)]
    view = SearchView(new_spec(budget="1gpuh"), trials, 4, lambda: 0.0)
    assert "1/4 trials done" in view.summary()
    assert "0.3 of 1 GPU-hours spent" in view.summary()


def test_while_nobody_knows_how_many_trials_the_budget_pays_for_no_time_is_foretold():
    clock = Clock()
    view = SearchView(new_spec(budget="1gpuh"), [], 200, clock)
    clock.seconds = 9.0
    for number in range(2):
        view.change(ran(number, 9, state="complete"))
    assert view.summary().endswith("9s so far, 0.005 of 1 GPU-hours spent")
    for number in range(2, 12):
        view.change(ran(number, 9, state="complete"))
    assert view.summary().endswith("0.03 of 1 GPU-hours spent, enough for all trials, about 2m21s left")


def test_no_budget_is_shown_while_a_result_is_confirmed_for_none_holds():
    confirming = ran(1, 0, confirms=0)
    between = [ran(1, 9, state="complete", confirms=0), ran(2, 0, state="queued", confirms=0)]
    view = SearchView(new_spec(budget="1gpuh"), between, 0, lambda: 0.0)
    assert "GPU-hours" not in view.summary()
    attached = SearchView(new_spec(budget="1gpuh"), [ran(0, 360, state="complete"), confirming], 1, lambda: 0.0)
    assert "GPU-hours" not in attached.summary()
    assert "1/2 trials done" in attached.summary()


def test_speed_and_time_left_count_only_what_this_run_did():
    before = [new_trial(0, "complete", [(1, 0.5)] * 9), new_trial(1, "complete", [(1, 0.5)] * 9)]
    view, clock = new_view(before)
    clock.seconds = 60.0
    assert view.summary() == "2/4 trials done, 0 epochs/min, 1m00s so far"


def test_the_table_shows_running_trials_first_with_parameters_and_the_reason_of_the_ended():
    view, _ = new_view()
    view.change(new_trial(0, "running", [(3, 0.71)]))
    view.change(new_trial(1, "pruned", [(1, 0.4)], reason=ASHA))
    lines = drawn(LiveTable(Console(file=io.StringIO()), view).render()).splitlines()
    assert lines[0].split() == ["trial", "state", "epoch", "score", "lr", "width", "norm", "why", "it", "ended"]
    assert lines[1].split() == ["0", "running", "3/9", "0.7100", "0.0123", "32", "batch"]
    assert lines[2].split()[:4] == ["1", "pruned", "1/9", "0.4000"]
    assert "rank 5 of 7 at epoch 1" in lines[2]


def test_the_table_stays_small_however_many_trials_there_are():
    view, _ = new_view([new_trial(number, "complete", [(9, 0.5)]) for number in range(200)], wanted=200)
    assert len(drawn(LiveTable(Console(file=io.StringIO()), view).render()).splitlines()) == 14


def test_a_failed_trial_says_why_in_the_plain_lines():
    view, _ = new_view()
    console = Console(file=io.StringIO(), width=40)
    with PlainLines(console, view) as lines:
        lines.trial_changed(new_trial(0))
        lines.trial_changed(new_trial(0, values=[(1, 0.5)]))
        failed = {"kind": "diverged", "detail": "train loss nan at epoch 2"}
        lines.trial_changed(new_trial(0, "failed", [(1, 0.5)], reason=failed))
        lines.stopping("interrupted")
    printed = console.file.getvalue().splitlines()
    assert printed[0] == "trial 0 starts: lr=0.0123 width=32 norm=batch"
    assert printed[1].startswith(
        "trial 0 failed 0.5000 after epoch 1 (diverged: train loss nan at epoch 2); 1/4 trials"
    )
    assert printed[2] == "stopping (interrupted): waiting for what runs"


def test_plain_lines_are_not_silent_for_long_while_epochs_are_reported():
    view, clock = new_view()
    console = Console(file=io.StringIO())
    lines = PlainLines(console, view)
    for epoch, seconds in [(1, 10.0), (2, 29.0), (3, 31.0), (4, 40.0), (5, 62.0)]:
        clock.seconds = seconds
        lines.trial_changed(new_trial(0, values=[(epoch, 0.5)]))
    printed = console.file.getvalue().splitlines()
    assert [line.split(";")[0] for line in printed] == [
        "trial 0 running 0.5000 after epoch 3",
        "trial 0 running 0.5000 after epoch 5",
    ]


def test_a_terminal_gets_the_table_and_a_pipe_gets_lines():
    spec = new_spec()
    assert isinstance(progress_for(Console(file=io.StringIO(), force_terminal=True), spec, [], 4), LiveTable)
    assert isinstance(progress_for(Console(file=io.StringIO()), spec, [], 4), PlainLines)


def test_trials_that_continue_others_are_counted_beside_those_wanted():
    trials = [new_trial(0, state="complete"), new_trial(1, state="queued", continues=0, max_epochs=27)]
    view = SearchView(new_spec(), trials, 1, lambda: 0.0)
    assert view.summary().startswith("1/2 trials done")
