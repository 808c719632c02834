"""One contract for both journals, then what only the one in Redis promises."""

from __future__ import annotations

import json
import math
import threading
import warnings
from collections.abc import Callable
from typing import Any

import optuna
import pytest
import redis
from optuna.storages import JournalStorage
from optuna.trial import TrialState, create_trial

from tuner.errors import LeaseLost, StoreError, StoreUnavailable
from tuner.store import catalog, journal, lease
from tuner.store.journal import Journal, MemoryJournal, RedisJournal
from tuner.store.keys import StudyKeys

KEYS = StudyKeys("s")
DISTRIBUTIONS = {
    "lr": optuna.distributions.FloatDistribution(1e-3, 0.3, log=True),
    "width": optuna.distributions.IntDistribution(16, 64, step=16),
    "norm": optuna.distributions.CategoricalDistribution(["none", "batch"]),
}


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


def driver(client: redis.Redis, **times: Any) -> RedisJournal:
    return RedisJournal(client, "s", lease.acquire(client, "s").fence, **times)


def entries(first: int, last: int) -> list[dict[str, Any]]:
    return [{"n": number} for number in range(first, last)]


# The contract of every journal


def test_what_is_appended_is_read_from_any_index(written: Journal, reader: Callable[[], Journal]) -> None:
    written.append_logs(entries(0, 3))
    written.append_logs([])
    written.append_logs(entries(3, 5))
    for journal_ in (written, reader()):
        assert journal_.length() == 5
        assert [journal_.read_logs(start) for start in (0, 3, 5)] == [entries(0, 5), entries(3, 5), []]


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


def whole_study(written: Journal) -> optuna.Study:
    """A study as the driver makes them: complete, pruned, failed and running trials, each created whole."""
    study = optuna.create_study(study_name="s", storage=JournalStorage(written), direction="maximize")
    study.set_user_attr("max_epochs", 27)
    ends = [(TrialState.COMPLETE, [0.75]), (TrialState.PRUNED, [0.25]), (TrialState.FAIL, None), None]
    for number, final in enumerate(ends):
        params = {"lr": 0.01 * (number + 1), "width": 32, "norm": "batch"}
        with written.transition():
            study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=DISTRIBUTIONS))
        trial_id = study.trials[-1]._trial_id
        for epoch in (1, 3, 10):
            with written.transition():
                study._storage.set_trial_intermediate_value(trial_id, epoch, epoch / 16)
                study._storage.set_trial_user_attr(trial_id, "worker", "ann's")
        if final is not None:
            with written.transition():
                study._storage.set_trial_user_attr(trial_id, "reason", {"rung": 3, "cutoff": 0.5})
                study._storage.set_trial_state_values(trial_id, *final)
    return study


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


# Redis


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Unreliable:
    """Stands before the append script: raises the given errors, before or after the call that they belong to."""

    def __init__(self, journal_: RedisJournal, *, before: list[Exception] = [], after: list[Exception] = []) -> None:  # noqa: B006
        self.script, self.before, self.after, self.calls = journal_._script, list(before), list(after), 0
        journal_._script = self  # type: ignore[assignment]

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        if self.before:
            raise self.before.pop(0)
        answer = self.script(*args)
        if self.after:
            raise self.after.pop(0)
        return answer


def stored(client: redis.Redis) -> list[str]:
    return [str(text) for text in client.lrange(KEYS.journal, 0, -1)]


def test_entries_are_canonical_json(redis_client: redis.Redis) -> None:
    driver(redis_client).append_logs([{"b": 1, "a": {"d": [1.5], "c": "é"}}])
    assert stored(redis_client) == ['{"a":{"c":"\\u00e9","d":[1.5]},"b":1}']


def test_a_journal_without_a_fence_only_reads(redis_client: redis.Redis) -> None:
    reading = RedisJournal(redis_client, "s")
    for write in (lambda: reading.append_logs(entries(0, 1)), lambda: whole_study(reading)):
        with pytest.raises(StoreError, match="the journal of study 's' is open for reading only"):
            write()
    assert stored(redis_client) == []


def test_a_driver_that_was_taken_over_is_refused(redis_client: redis.Redis) -> None:
    old = driver(redis_client)
    old.append_logs(entries(0, 1))
    redis_client.delete(KEYS.lease)
    new = driver(redis_client)
    with pytest.raises(LeaseLost, match="this driver holds fence 1, the newest is 2"):
        old.append_logs(entries(1, 2))
    new.append_logs(entries(5, 6))
    assert new.read_logs(0) == [*entries(0, 1), *entries(5, 6)]


def test_a_driver_whose_study_was_deleted_is_refused_though_nobody_took_over(redis_client: redis.Redis) -> None:
    catalog.create_study(redis_client, "s", "{}")
    old = driver(redis_client)
    redis_client.delete(KEYS.lease)  # suspended until it expired
    catalog.delete_study(redis_client, "s")
    with pytest.raises(LeaseLost, match="holds fence 1, the newest is 2"):
        old.append_logs(entries(0, 1))


@pytest.mark.parametrize("lost", [redis.ConnectionError("reset"), redis.TimeoutError("late")])
def test_an_append_whose_reply_was_lost_is_applied_once(redis_client: redis.Redis, lost: Exception) -> None:
    clock = Clock()
    writing = driver(redis_client, clock=clock, sleep=clock.sleep)
    writing.append_logs(entries(0, 2))
    unreliable = Unreliable(writing, after=[lost, lost])
    with writing.transition():
        writing.append_logs(entries(2, 5))
    assert unreliable.calls == 3
    writing.append_logs(entries(5, 6))
    assert RedisJournal(redis_client, "s").read_logs(0) == writing.read_logs(0) == entries(0, 6)


@pytest.mark.parametrize(
    ("away", "what_to_do"),
    [
        (redis.BusyLoadingError("loading"), ""),
        (redis.ReadOnlyError("replica"), ""),
        (redis.OutOfMemoryError("full"), "; give it more memory: CONFIG SET maxmemory BYTES"),
        (
            redis.ResponseError("in script: OOM command not allowed"),
            "; give it more memory: CONFIG SET maxmemory BYTES",
        ),
        (redis.ResponseError("MISCONF"), "; it cannot write its file: free disk space where it keeps its data"),
    ],
)
def test_an_append_outlasts_an_outage(
    redis_client: redis.Redis, away: Exception, what_to_do: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    writing = driver(redis_client, clock=clock, sleep=clock.sleep)
    Unreliable(writing, before=[away] * 100)
    writing.append_logs(entries(0, 1))
    assert stored(redis_client) == ['{"n":0}']
    assert 400 < clock.now_s < 600
    assert [record.getMessage() for record in caplog.records] == [
        f"Redis failed while appending to the journal of study 's': {away}{what_to_do}; waiting for it, 600 s at most",
        f"Redis answers again, after {clock.now_s:.0f} s",
    ]


def test_an_append_gives_up_when_its_time_is_over(redis_client: redis.Redis) -> None:
    clock = Clock()
    writing = driver(redis_client, clock=clock, sleep=clock.sleep, retry_s=60.0)
    Unreliable(writing, before=[redis.ConnectionError("refused")] * 1000)
    with pytest.raises(StoreUnavailable) as end:
        writing.append_logs(entries(0, 1))
    assert 60 <= clock.now_s <= 65
    assert str(end.value) == (
        "Redis failed while appending to the journal of study 's': refused; it stayed so for "
        f"{clock.now_s:.0f} s. Nothing that was recorded is lost: mend it, then `tuner resume s`"
    )
    assert end.value.exit_code == 69


@pytest.mark.parametrize("refusal", [redis.AuthenticationError("no"), redis.ResponseError("WRONGTYPE")])
def test_an_append_that_redis_refuses_is_not_repeated(redis_client: redis.Redis, refusal: Exception) -> None:
    writing = driver(redis_client)
    unreliable = Unreliable(writing, before=[refusal])
    with pytest.raises(StoreError, match=str(refusal)):
        writing.append_logs(entries(0, 1))
    assert unreliable.calls == 1


def test_after_an_append_of_unknown_end_the_journal_asks_redis(redis_client: redis.Redis) -> None:
    writing = driver(redis_client, retry_s=0.0)
    Unreliable(writing, after=[redis.TimeoutError("late")])
    with pytest.raises(StoreError), writing.transition():
        writing.append_logs(entries(0, 2))
    assert writing.read_logs(0) == entries(0, 2)
    writing.append_logs(entries(2, 3))
    assert RedisJournal(redis_client, "s").read_logs(0) == entries(0, 3)


@pytest.mark.parametrize(
    ("others", "length"),
    [(['{"n":8}'], 1), (['{"n":0}', '{"n":1}', '{"n":8}'], 3), (['{"n":0}', '{"n":1}'] * 2, 4)],
    ids=["another-beginning", "as-long-as-expected-but-different", "longer"],
)
def test_a_journal_that_is_not_as_it_was_left_is_an_error_with_both_lengths(
    redis_client: redis.Redis, others: list[str], length: int
) -> None:
    writing = driver(redis_client)
    writing.append_logs(entries(0, 2))
    redis_client.delete(KEYS.journal)
    for text in others:
        redis_client.rpush(KEYS.journal, text)
    with pytest.raises(StoreError, match=f"holds {length} entries where its driver left 2"):
        writing.append_logs(entries(2, 3))
    assert stored(redis_client) == others


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_entries_that_redis_lost_are_written_again_with_the_next(
    redis_client: redis.Redis, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    writing = driver(redis_client)
    writing.append_logs(entries(0, 3))
    redis_client.ltrim(KEYS.journal, 0, kept - 1) if kept else redis_client.delete(KEYS.journal)
    with writing.transition():
        writing.append_logs(entries(3, 5))
    assert RedisJournal(redis_client, "s").read_logs(0) == writing.read_logs(0) == entries(0, 5)
    assert [f"lost the newest {3 - kept} entries" in record.getMessage() for record in caplog.records] == [True] * (
        kept < 3
    )


def test_a_long_loss_is_mended_whole(redis_client: redis.Redis) -> None:
    count = 2 * journal.PAGE_ENTRIES + 1
    writing = driver(redis_client)
    writing.append_logs(entries(0, count))
    redis_client.ltrim(KEYS.journal, 0, journal.PAGE_ENTRIES)
    writing.append_logs(entries(count, count + 1))
    assert RedisJournal(redis_client, "s").read_logs(0) == entries(0, count + 1)


@pytest.mark.parametrize("fence", [None, "4", "nonsense"])
def test_a_redis_that_forgot_the_lease_is_not_written_to(redis_client: redis.Redis, fence: str | None) -> None:
    redis_client.set(KEYS.fence, 4)
    writing = driver(redis_client)
    writing.append_logs(entries(0, 1))
    redis_client.flushall()
    if fence is not None:
        redis_client.set(KEYS.fence, fence)
    with pytest.raises(StoreError, match="does not know the driver of study 's' any more") as refusal:
        writing.append_logs(entries(1, 2))
    assert f"(fence 5, it has {'none' if fence is None else repr(fence)})" in str(refusal.value)
    assert stored(redis_client) == []


def test_a_wait_ends_with_one_more_try_when_the_driver_gives_up(redis_client: redis.Redis) -> None:
    clock, lost = Clock(), threading.Event()
    writing = driver(redis_client, clock=clock, gives_up=lost.is_set, sleep=lambda seconds: lost.set())
    unreliable = Unreliable(writing, before=[redis.ConnectionError("refused")] * 9)
    with pytest.raises(StoreUnavailable):
        writing.append_logs(entries(0, 1))
    assert unreliable.calls == 2


def test_a_redis_that_died_is_revived_between_two_tries(redis_client: redis.Redis) -> None:
    tries: list[str] = []

    def revive() -> None:
        tries.append("revive")
        raise StoreError("its file is damaged")

    clock = Clock()
    writing = driver(redis_client, clock=clock, sleep=clock.sleep, retry_s=0.2, revive=revive)
    Unreliable(writing, before=[redis.ConnectionError("refused")] * 9)
    with pytest.raises(StoreUnavailable, match="refused; it cannot be started again: its file is damaged; it stayed"):
        writing.append_logs(entries(0, 1))
    assert tries == ["revive"] * 2  # not after the last try


def test_reading_can_be_given_patience(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(redis_client).append_logs(entries(0, 1))
    lrange, failures = redis_client.lrange, [redis.ConnectionError("reset"), redis.TimeoutError("late")]

    def unreliable(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return lrange(*args)

    monkeypatch.setattr(redis_client, "lrange", unreliable)
    clock = Clock()
    reading = RedisJournal(redis_client, "s", retry_s=60.0, clock=clock, sleep=clock.sleep)
    assert reading.read_logs(0) == entries(0, 1)
    assert failures == []


def test_an_entry_above_one_mebibyte_is_refused_before_anything_is_written(redis_client: redis.Redis) -> None:
    writing = driver(redis_client)
    with pytest.raises(StoreError, match="an entry of 1048587 bytes is too large for the journal: at most 1048576"):
        writing.append_logs([{"n": 0}, {"text": "x" * (1 << 20)}][::-1])
    assert stored(redis_client) == []


def test_an_entry_above_one_mebibyte_is_not_read(redis_client: redis.Redis) -> None:
    redis_client.rpush(KEYS.journal, json.dumps({"text": "x" * (1 << 20)}))
    with pytest.raises(StoreError, match="entry 0 of the journal has 1048588 characters, more than 1048576"):
        RedisJournal(redis_client, "s").read_logs(0)


def test_a_journal_that_is_no_list_is_one_line(redis_client: redis.Redis) -> None:
    redis_client.set(KEYS.journal, "{}")
    with pytest.raises(StoreError, match="Redis failed while reading the journal of study 's': WRONGTYPE"):
        RedisJournal(redis_client, "s").read_logs(0)


def test_a_reader_fetches_only_what_is_new(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    writing, reading = driver(redis_client), RedisJournal(redis_client, "s")
    writing.append_logs(entries(0, 3))
    assert reading.read_logs(0) == entries(0, 3)
    fetched = count_fetched(redis_client, monkeypatch)
    writing.append_logs(entries(3, 5))
    assert reading.read_logs(3) == entries(3, 5)
    assert fetched == [3]  # the last known entry, to see that it is still there, and the two new ones


def test_a_driver_reads_without_a_round_trip(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(redis_client).append_logs(entries(0, 3))
    redis_client.delete(KEYS.lease)
    writing = driver(redis_client)
    assert writing.read_logs(0) == entries(0, 3)
    fetched = count_fetched(redis_client, monkeypatch)
    writing.append_logs(entries(3, 5))
    assert writing.read_logs(0) == entries(0, 5)
    assert fetched == []


def count_fetched(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each LRANGE answers from now on."""
    fetched: list[int] = []
    lrange = client.lrange

    def counted(*args: Any) -> Any:
        page = lrange(*args)
        fetched.append(len(page))
        return page

    monkeypatch.setattr(client, "lrange", counted)
    return fetched


@pytest.mark.parametrize("count", [3_999, 4_000, 10_000])
def test_long_journals_are_written_at_once_and_read_in_pages(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    driver(redis_client).append_logs(entries(0, count))
    fetched = count_fetched(redis_client, monkeypatch)
    reading = RedisJournal(redis_client, "s")
    assert reading.read_logs(0) == entries(0, count)
    assert max(fetched) == journal.PAGE_ENTRIES
    assert reading.read_logs(count - 1) == entries(count - 1, count)


@pytest.mark.parametrize("now", [[], ['{"n":0}'], ['{"n":0}', '{"n":8}', '{"n":2}', '{"n":3}']])
def test_a_reader_notices_that_the_journal_was_rolled_back(redis_client: redis.Redis, now: list[str]) -> None:
    driver(redis_client).append_logs(entries(0, 2))
    reading = RedisJournal(redis_client, "s")
    reading.read_logs(0)
    redis_client.delete(KEYS.journal)
    for text in now:
        redis_client.rpush(KEYS.journal, text)
    with pytest.raises(StoreError, match="was rolled back or deleted: entry 1, which was read before"):
        reading.read_logs(2)


@pytest.mark.parametrize("text", ["nonsense", "[1]", "3", "", '{"n":NaN}', "[" * 100_000])
def test_an_unreadable_entry_is_named(redis_client: redis.Redis, text: str) -> None:
    redis_client.rpush(KEYS.journal, '{"n":0}', text)
    reading = RedisJournal(redis_client, "s")
    with pytest.raises(StoreError) as refusal:
        reading.read_logs(0)
    expected = f"entry 1 of the journal is not a JSON object but {text[:100]!r}; the study cannot be read"
    assert str(refusal.value) == expected


def test_a_reader_without_redis_fails_at_once() -> None:
    away = redis.Redis(unix_socket_path="/nonexistent/socket", retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))
    with pytest.raises(StoreError, match="Redis failed while reading the journal of study 's'"):
        RedisJournal(away, "s").read_logs(0)
