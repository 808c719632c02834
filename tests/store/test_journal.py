"""One contract for both journals: in memory and in Redis."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.trial import TrialState, create_trial

from tests.store.journals import driver, entries, whole_study
from tuner.errors import LeaseLost, StoreError
from tuner.store import journal
from tuner.store.journal import Journal, MemoryJournal, RedisJournal


@pytest.fixture(params=["memory", "redis"])
def written(request: pytest.FixtureRequest) -> Journal:
    """A journal to write to."""
    return MemoryJournal() if request.param == "memory" else driver(request.getfixturevalue("redis_client"))


@pytest.fixture
def reader(written: Journal, request: pytest.FixtureRequest) -> Callable[[], Journal]:
    """Opens what was written as another process would."""
    if isinstance(written, MemoryJournal):
        return lambda: written
    client = request.getfixturevalue("redis_client")
    return lambda: RedisJournal(client, "s")


@pytest.fixture(autouse=True)
def quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_what_is_appended_is_read_from_any_index(written: Journal, reader: Callable[[], Journal]) -> None:
    written.append_logs(entries(0, 3))
    written.append_logs([])
    written.append_logs(entries(3, 5))
    for journal_ in (written, reader()):
        assert journal_.length() == 5
        assert [journal_.read_logs(start) for start in (0, 3, 5)] == [entries(0, 5), entries(3, 5), []]


def test_its_first_entries_are_a_journal_of_their_own(written: Journal) -> None:
    written.append_logs(entries(0, 5))
    first = written.first(3)
    assert first.read_logs(0) == entries(0, 3)
    first.append_logs(entries(7, 8))
    assert written.read_logs(0) == entries(0, 5)


def test_a_live_study_sees_an_entry_as_a_rebuilt_one_will(written: Journal, reader: Callable[[], Journal]) -> None:
    written.append_logs([{"b": (1, 2), "a": {10: 0.1, 9: None}, "state": TrialState.PRUNED, "text": "é\n"}])
    expected = {"a": {"9": None, "10": 0.1}, "b": [1, 2], "state": 2, "text": "é\n"}
    assert written.read_logs(0) == reader().read_logs(0) == [expected]
    assert json.dumps(written.read_logs(0)) == json.dumps(reader().read_logs(0))


def test_changing_a_read_entry_changes_nothing(written: Journal) -> None:
    written.append_logs([{"attrs": {"a": 1}}])
    written.read_logs(0)[0]["attrs"]["a"] = 2
    assert written.read_logs(0) == [{"attrs": {"a": 1}}]


@pytest.mark.parametrize(("value", "error"), [(math.nan, ValueError), (math.inf, ValueError), (object(), TypeError)])
def test_what_json_cannot_hold_is_refused_whole(written: Journal, value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        written.append_logs([{"n": 0}, {"value": value}])
    assert written.read_logs(0) == []


def test_a_transition_is_seen_inside_at_once_and_outside_at_its_end(
    written: Journal, reader: Callable[[], Journal]
) -> None:
    written.append_logs(entries(0, 2))
    outside = reader() if not isinstance(written, MemoryJournal) else None
    with written.transition():
        written.append_logs(entries(2, 3))
        written.append_logs(entries(3, 5))
        assert [written.read_logs(start) for start in (0, 1, 2, 4, 5)] == [
            entries(0, 5),
            entries(1, 5),
            entries(2, 5),
            entries(4, 5),
            [],
        ]
        assert written.length() == 5
        if outside is not None:
            assert outside.read_logs(0) == entries(0, 2)
    assert reader().read_logs(0) == entries(0, 5)


def test_a_transition_does_not_nest(written: Journal) -> None:
    with (
        pytest.raises(AssertionError, match="a transition inside a transition"),
        written.transition(),
        written.transition(),
    ):
        raise RuntimeError("not reached")
    with written.transition():
        written.append_logs(entries(0, 1))
    assert written.read_logs(0) == entries(0, 1)


def test_a_failed_transition_writes_nothing_and_the_storage_must_be_rebuilt(
    written: Journal, reader: Callable[[], Journal]
) -> None:
    written.append_logs(entries(0, 1))
    with pytest.raises(ValueError, match="JSON"), written.transition():  # noqa: PT012
        written.append_logs(entries(1, 3))
        written.append_logs([{"value": math.nan}])
    for use in (lambda: written.read_logs(3), lambda: written.append_logs(entries(1, 2))):
        with pytest.raises(AssertionError, match="build a new JournalStorage on this journal"):
            use()
    assert written.read_logs(0) == entries(0, 1)  # as a new storage begins
    written.append_logs(entries(1, 2))
    assert reader().read_logs(0) == entries(0, 2)


def test_a_transition_that_fails_before_it_appended_needs_no_rebuilding(written: Journal) -> None:
    written.append_logs(entries(0, 1))
    with pytest.raises(RuntimeError), written.transition():
        raise RuntimeError
    assert written.read_logs(1) == []


def test_optuna_reads_back_the_study_that_it_wrote(written: Journal, reader: Callable[[], Journal]) -> None:
    study = whole_study(written)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a journal backend of one's own is neither experimental nor deprecated
        loaded = optuna.load_study(study_name="s", storage=JournalStorage(reader()))
    assert loaded.trials == study.trials
    assert loaded.user_attrs == study.user_attrs
    assert (loaded.direction, loaded.best_trial.number) == (study.direction, 0)
    states = [trial.state for trial in loaded.trials]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING]
    assert loaded.trials[1].intermediate_values == {1: 0.0625, 3: 0.1875, 10: 0.625}
    assert loaded.trials[0].params == {"lr": 0.01, "width": 32, "norm": "batch"}


def test_a_whole_trial_is_one_entry(written: Journal) -> None:
    whole_study(written)
    creations = [entry for entry in written.read_logs(0) if entry["op_code"] == 4]
    assert [len(entry["params"]) for entry in creations] == [3, 3, 3, 3]


def test_a_second_driver_goes_on_with_the_study_of_the_first(written: Journal, reader: Callable[[], Journal]) -> None:
    first = whole_study(written)
    running_id = first.trials[3]._trial_id
    second = optuna.load_study(study_name="s", storage=JournalStorage(written))
    second._storage.set_trial_state_values(running_id, TrialState.COMPLETE, [0.875])
    second.add_trial(create_trial(state=TrialState.FAIL, params={}, distributions={}))
    loaded = optuna.load_study(study_name="s", storage=JournalStorage(reader()))
    assert loaded.trials == second.trials
    assert [trial.number for trial in loaded.trials] == [0, 1, 2, 3, 4]
    assert loaded.best_value == 0.875


def test_what_optuna_cannot_replay_is_one_line_and_our_own_errors_pass(written: Journal) -> None:
    written.append_logs([{"n": 0}])
    with pytest.raises(StoreError) as refusal, journal.replaying("s"):
        JournalStorage(written)
    assert str(refusal.value) == (
        "the journal of study 's' holds entries that tuner did not write (KeyError: 'op_code'); the study "
        "cannot be read"
    )
    with pytest.raises(LeaseLost), journal.replaying("s"):
        raise LeaseLost("taken over")
