"""A study as people look at it: states, counts, the best, and what is left out of it."""

from tests.factories import new_ref, new_spec, new_trial
from tuner.best import Best, best_of
from tuner.store.journal import MemoryJournal
from tuner.study import Study, read_study


def study_of(*trials, driver=None, wanted=4):
    return Study(new_spec(), trials, wanted, driver)


def test_a_study_whose_driver_has_written_nothing_has_no_trials():
    study = read_study(new_spec(trials=7), MemoryJournal(), None)
    assert (study.trials, study.trials_wanted, study.state, study.best) == ((), 7, "stopped", None)


def test_the_state_follows_from_driver_and_trials():
    ended = [new_trial(number, state=state) for number, state in enumerate(["complete", "pruned", "failed"])]
    assert study_of(*ended, driver={"pid": 1}).state == "running"
    assert study_of(*ended, wanted=4).state == "stopped"
    assert study_of(*ended, wanted=3).state == "complete"


def test_the_best_is_the_best_kept_score_and_of_equal_ones_the_first_trial():
    trials = [
        new_trial(0, state="complete", best_checkpoint=new_ref(epoch=3, score=0.8)),
        new_trial(1, state="complete", best_checkpoint=new_ref(epoch=5, score=0.9)),
        new_trial(2, state="running", best_checkpoint=new_ref(epoch=2, score=0.9)),
        new_trial(3, state="pruned", values=[(1, 0.99)]),
    ]
    assert best_of(trials, new_spec()) == Best(1, 5, 0.9, trials[1].params)
    assert best_of(trials, new_spec(metric="val_loss")) == Best(0, 3, 0.8, trials[0].params)


def test_rungs_count_who_arrived_and_who_was_stopped_there():
    asha = {"kind": "asha", "rank": 2, "peers": 1, "cutoff": 0.5}
    trials = [
        new_trial(0, state="complete", values=[(epoch, 0.5) for epoch in range(1, 10)]),
        new_trial(1, state="pruned", values=[(1, 0.1)], reason={**asha, "rung": 1}),
        new_trial(2, state="pruned", values=[(1, 0.6), (2, 0.6), (3, 0.2)], reason={**asha, "rung": 3}),
    ]
    assert study_of(*trials).status()["rungs"] == [
        {"epoch": 1, "arrived": 3, "stopped": 1, "paused": 0},
        {"epoch": 3, "arrived": 2, "stopped": 1, "paused": 0},
    ]


def test_the_json_of_a_trial_has_no_paths():
    trial = new_trial(0, best_checkpoint=new_ref(), checkpoint=new_ref(), seconds=1.23456)
    assert trial.as_dict() == {
        "number": 0,
        "state": "running",
        "reason": None,
        "params": trial.params,
        "values": [],
        "attempt": 1,
        "worker": "here:1 (CPU)",
        "seconds": 1.235,
        "continues": None,
        "enqueued": False,
        "confirms": None,
        "costs": {},
    }
