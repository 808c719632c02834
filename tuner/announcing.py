"""What a search says before it starts: its study, the space, the rungs and what it runs on."""

from __future__ import annotations

from rich.console import Console

from tuner.budget import parse_budget
from tuner.request import SMALL_SPACE
from tuner.slots import Slots
from tuner.spec import StudySpec
from tuner.training.objectives import DEFAULT_OBJECTIVE


def announce(
    console: Console, spec: StudySpec, slots: Slots, dashboard_url: str, trials: int, chosen_for_them: bool
) -> None:
    """Say it. trials: that are wanted; chosen_for_them: whether nobody named the space."""
    for note in slots.notes:
        say(console, note)
    device = f"{slots.gpus:g} GPU each" if slots.gpus else f"{slots.threads} CPU threads each"
    at_once = f"{slots.count or 'none'} at once"
    if slots.can_grow and slots.most is not None and slots.count < slots.most:
        at_once += f" now, up to {slots.most} later"
    why = ""
    if chosen_for_them and spec.space.source == SMALL_SPACE:
        why = f" (made for CPUs; --space {spec.data.dataset} has the bounds for GPUs)"
    rungs = ", ".join(map(str, spec.rungs()))
    how = "paused" if spec.asha == "promote" else "compared"
    compared = f"{how} after epochs {rungs} (reduction factor {spec.reduction_factor})" if rungs else "never compared"
    say(
        console,
        f"study {spec.name}: space {spec.space.source}{why}, {trials} trials of up to {spec.max_epochs} epochs, "
        f"{compared}{_by(spec)}, {at_once}, {device}"
        + (f", {len(spec.enqueued)} enqueued first" if spec.enqueued else "")
        + (f", for {parse_budget(spec.budget).words} in all" if spec.budget else ""),
    )
    if dashboard_url:
        say(console, f"Ray dashboard: {dashboard_url} (its token: `ray get-auth-token`)")


def _by(spec: StudySpec) -> str:
    if spec.costs:
        return f" by the front of {', '.join(spec.objectives)}"
    if spec.metric == DEFAULT_OBJECTIVE:
        return ""
    return f" by {spec.metric} ({'more' if spec.direction == 'maximize' else 'less'} is better)"


def say(console: Console, *texts: str) -> None:
    """Print lines as they are, however long."""
    for text in texts:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
