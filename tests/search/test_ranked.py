"""What TPE is shown in place of the trials leads to the same suggestions, bit for bit, as the trials themselves."""

from __future__ import annotations

import dataclasses
import random

import pytest
from optuna.trial import TrialState

from tests.factories import LR, NORM, WIDTH, new_space, new_spec
from tuner.evidence import Evidence
from tuner.search import samplers
from tuner.search.sampler import StudyWithEvidence
from tuner.search.trials import Trials
from tuner.store.journal import MemoryJournal
from tuner.warmstart import BEST

MOMENTUM = {"type": "float", "low": 0.5, "high": 0.99, "log": False, "step": None, "only_if": {"norm": ["batch"]}}
SPACE = new_space(dimensions={"momentum": MOMENTUM, "lr": LR, "width": WIDTH, "norm": NORM})
OPEN = (TrialState.RUNNING, TrialState.WAITING)


def drawn_params(draw):
    norm = draw.choice(NORM["choices"])
    momentum = {"momentum": draw.uniform(0.5, 0.99)} if norm == "batch" else {}
    return {**momentum, "lr": 10 ** draw.uniform(-3, -0.6), "width": draw.choice([16, 32, 48, 64]), "norm": norm}


def drawn_evidence(draw, count):
    """With scores of which many are equal."""
    return tuple(
        Evidence(
            drawn_params(draw), epoch=draw.choice([1, 3, 9]), score=draw.randrange(9) / 9, complete=draw.random() < 0.1
        )
        for _ in range(count)
    )


def change_something(draw, trials):
    """One of all that may become of a trial, with scores of which many are equal."""
    waiting = [trial for trial in trials.all() if trial.state in OPEN]
    if len(waiting) < 3 or draw.random() < 0.25:
        number = len(trials.all())
        confirms = {"confirms": draw.randrange(number)} if number and draw.random() < 0.1 else {}
        trials.add(drawn_params(draw), **confirms)
        return
    trial = draw.choice(waiting)
    score = draw.randrange(9) / 9
    what = draw.random()
    if what < 0.4:
        trials.set(trial.number, "paused", 0)
        trials.set_score(trial.number, (trial.last_step or 0) + draw.randint(1, 3), score)
    elif what < 0.6 and trial.intermediate_values:
        trials.set(trial.number, "paused", trial.last_step)
    elif what < 0.8:
        trials.end(trial.number, TrialState.PRUNED, score)
    elif what < 0.815:  # fewer than TPE takes for good, so that the order of pruned ones counts
        trials.end(trial.number, TrialState.COMPLETE, score)
    elif what < 0.85:
        trials.end(trial.number, TrialState.FAIL, None)


def plainly_suggested(trials, number):
    """As `Trials.question`, by an Optuna that sees the trials themselves."""
    study = StudyWithEvidence(trials.spec.name, trials._storage, trials._evidence)
    searched = number - sum("confirms" in trial.user_attrs for trial in trials.all())
    return samplers.suggest(
        "tpe", study, trials.spec.space, trials._distributions, levels=(), number=searched, seed=0, given={}
    )


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
@pytest.mark.parametrize("evidence", [0, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_suggestions_are_those_that_the_trials_themselves_lead_to(metric, evidence, seed):
    draw = random.Random(seed)
    spec = dataclasses.replace(new_spec(space=SPACE, metric=metric), evidence=drawn_evidence(draw, evidence))
    trials = Trials(spec, MemoryJournal())
    for change in range(1400):
        change_something(draw, trials)
        if change % 50 == 0:
            number = len(trials.all())
            assert trials.question(number).answer() == plainly_suggested(trials, number)
    states = {trial.state for trial in trials.all()}
    assert states == {TrialState.RUNNING, TrialState.PRUNED, TrialState.COMPLETE, TrialState.FAIL}
    # More than TPE takes for good, so that the order of those that it does not take is never looked at.
    assert sum(trial.state in (TrialState.PRUNED, TrialState.COMPLETE) for trial in trials.all()) > 10 * BEST
