"""Writing the launch of an attempt into the journal: of a trial that begins, or of one that goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tuner import failpoints
from tuner.exchange import Assignment
from tuner.search.newtrials import NewTrials
from tuner.search.packing import Packing
from tuner.search.trials import Trials
from tuner.store.journal import Journal
from tuner.usage import Share, begun


@dataclass(frozen=True)
class Launch:
    """life: the driver's. share: what a whole slot reserves. packing: which part of one the attempt gets."""

    life: int
    share: Share
    packing: Packing


def create(trials: Trials, journal: Journal, new: NewTrials, max_epochs: int, launch: Launch) -> Assignment:
    """The next new trial, with the parameters that are suggested for it."""
    number = new.number
    params, made_from = new.suggestion()
    # Absent, it is the spec's: `train_longer` changes it for the trials that come after.
    longer = {} if max_epochs == trials.spec.max_epochs else {"max_epochs": max_epochs}
    given = {"enqueued": True} if new.created < len(trials.spec.enqueued) else {}
    part = launch.packing.part(number, params, {})
    attempt = {"attempt:1": begun(launch.share.part(part))}
    with failpoints.durable("trial-created"), journal.transition():
        trials.add(params, attempt=1, life=launch.life, **attempt, **longer, **given, **made_from)
    new.launched()
    return Assignment(number, attempt=1, params=params, max_epochs=max_epochs, part=part)


def relaunch(trials: Trials, journal: Journal, number: int, launch: Launch, **attributes: Any) -> Assignment:
    """The next attempt at a trial, from its checkpoint. attributes: of the trial, to be set with it."""
    trial = trials[number]
    attempt = trial.user_attrs.get("attempt", 0) + 1
    checkpoint = trial.user_attrs.get("checkpoint")
    part = launch.packing.part(number, trial.params, trial.user_attrs)
    share = begun(launch.share.part(part))
    changes = {"attempt": attempt, f"attempt:{attempt}": share, "life": launch.life, **attributes}
    with failpoints.durable("trial-relaunched"), journal.transition():
        for key, value in changes.items():
            trials.set(number, key, value)
    return Assignment(
        number,
        attempt,
        dict(trial.params),
        start_epoch=checkpoint["epoch"] if checkpoint else 0,
        checkpoint=checkpoint,
        previous=trial.user_attrs.get("previous_checkpoint"),
        max_epochs=trial.user_attrs.get("max_epochs", trials.spec.max_epochs),
        continued_from=trial.user_attrs.get("continued_from", 0),
        confirms=trial.user_attrs.get("confirms"),
        part=part,
    )
