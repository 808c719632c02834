"""What Tune keeps of a result once all callbacks have seen it."""

from __future__ import annotations

from types import SimpleNamespace

from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.utils.callback import _create_default_callbacks

from tuner.exchange import Report
from tuner.search.forgetting import Forgetting, forget_attempts


def result(epoch):
    numbers = {"training_iteration": epoch, "time_total_s": 1.5, "slot": 0, "done": False}
    where = {"trial_id": "a", "node_ip": "10.0.0.1", "pid": 7}
    return {"report": Report(epoch, 0.5, 1.0, "here:1"), "config": {"number": 3}, **numbers, **where}


def kept_after(results, callbacks):
    trial = Trial("worker", stub=True, trial_id="a")
    for one in results:
        for callback in callbacks:
            callback.on_trial_result(1, [trial], trial, one)
        trial.update_last_result(one)
    return trial


def test_tune_keeps_no_statistics_and_nothing_of_a_report_but_where_the_attempt_runs():
    results = [result(epoch) for epoch in (1, 2, 3)]
    trial = kept_after(results, [Forgetting()])
    assert (trial.metric_analysis, trial.metric_n_steps) == ({}, {})
    assert trial.last_result == {"trial_id": "a", "node_ip": "10.0.0.1", "pid": 7}
    assert str(trial.temporary_state.location) == "10.0.0.1:7"


def test_without_it_tune_keeps_statistics_of_each_number():
    trial = kept_after([result(1)], [])
    assert {"time_total_s", "slot", "training_iteration"} <= set(trial.metric_n_steps)


def test_tune_says_nothing_of_attempts_that_end(capsys):
    forgetting = Forgetting()
    trial = kept_after([result(1)], [forgetting])
    forgetting.on_trial_complete(1, [trial], trial)
    forgetting.on_trial_error(1, [trial], trial)
    told = _create_default_callbacks([forgetting], air_verbosity=None)
    assert [one for one in told if isinstance(one, TrialProgressCallback)] == [forgetting]
    assert capsys.readouterr().out == ""


def controller(*, over, with_process=0, running=0):
    """As Tune's, after `over` attempts, half of which failed; `with_process`: Tune still counts a process as theirs."""
    ended = [Trial("worker", stub=True, trial_id=f"over-{number}") for number in range(over)]
    live = [Trial("worker", stub=True, trial_id=f"live-{number}") for number in range(running)]
    return SimpleNamespace(
        _trials=[*ended, *live],
        _live_trials={*ended[1::2], *live},
        _stopped_trials=set(ended[::2]),
        _failed_trials=set(ended[1::2]),
        _resetting_trials=set(ended[5:6]),
        _trial_to_actor=dict.fromkeys([*live, *ended[:with_process]]),
        _trials_to_cache=set(ended),
    )


def names(trials):
    return sorted(trial.trial_id for trial in trials)


def test_attempts_that_are_over_are_forgotten_once_they_are_some():
    few, some = controller(over=31, running=2), controller(over=40, with_process=3, running=2)
    for one in (few, some):
        forget_attempts(one)
        assert one._trials_to_cache == set()
    assert len(few._trials) == 33
    assert [trial.trial_id for trial in some._trials] == ["over-0", "over-1", "over-2", "live-0", "live-1"]
    assert names(some._stopped_trials | some._failed_trials) == ["over-0", "over-1", "over-2"]
    assert names(some._live_trials) == ["live-0", "live-1", "over-1"]
    assert some._resetting_trials == set()


def test_the_newest_attempt_is_never_forgotten_for_without_any_tune_reads_a_file_at_its_end():
    all_over = controller(over=50)
    forget_attempts(all_over)
    assert names(all_over._trials) == ["over-49"]
