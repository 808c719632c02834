"""The clock is set back by two hours between two lives of a driver: no effect, nothing is ordered by it."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.factories import new_spec
from tests.faults.cluster import ROOT, start_driver
from tests.replay import check_decisions, read_ledger
from tests.trainables import Saving
from tuner.launch import load_study
from tuner.search.record import StudyRecord
from tuner.store import catalog, lease
from tuner.store.journal import MemoryJournal
from tuner.store.keys import StudyKeys
from tuner.study import read_study

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TWO_HOURS_S = 7200

# Python imports it at its start, before anything that could ask for the time. Not replaced: `datetime` for all, since C
# extensions know its layout, and the time for gRPC, whose deadlines are read by C++ code.
SITECUSTOMIZE = f"""
import datetime, sys, time, types
real_s, real_ns, real = time.time, time.time_ns, datetime.datetime
time.time = lambda: real_s() - {TWO_HOURS_S}
time.time_ns = lambda: real_ns() - {TWO_HOURS_S} * 10**9

class Datetime(real):
    @classmethod
    def now(cls, tz=None):
        return real.now(tz) - datetime.timedelta(seconds={TWO_HOURS_S})

def set_dates_back():
    import grpc._channel
    grpc._channel.time = types.SimpleNamespace(time=real_s, perf_counter=time.perf_counter)
    for name, module in list(sys.modules.items()):
        if name.startswith(("tuner.", "optuna.")) and getattr(module, "datetime", None) is real:
            module.datetime = Datetime
"""
# Writes what it takes for the time; one trial at once, so that the search is the same each time.
DRIVER = """
import sys, time
from dataclasses import replace
from pathlib import Path
from tests.replay import Watcher
from tests.trainables import Saving
from tuner.search import driver, sampler
from tuner.spec import Resources, StudySpec
from tuner.store import catalog, client
from tuner.submit import ray_cluster

url, ledger, address, *set_back = sys.argv[1:]
if set_back:
    import sitecustomize
    sitecustomize.set_dates_back()
Path(ledger).with_name("clock").write_text(f"{time.time()} {sampler.datetime.now().isoformat()}")
store = client.connect(url)
spec = StudySpec.from_json(catalog.read_spec(store, "test"))
with ray_cluster(address, Resources(gpus=0, workers=1)) as (slots, _):
    driver.run(spec, store, slots, cache=Path(ledger), show=Watcher().show, trainable=Saving)
"""


def undisturbed(spec, ledger):
    """The same search without a Ray, a Redis, or an interruption."""
    journal = MemoryJournal()
    record = StudyRecord(spec, journal)
    trainable = object.__new__(Saving)
    trainable.spec, trainable.ledger = spec, str(ledger)
    while (assignment := record.next_assignment()) is not None:
        trainable.reset_config(vars(assignment))
        while record.report(assignment, trainable.step()["report"]):
            pass
    return read_study(spec, journal, None)


def what_was_decided(study):
    return [(trial.number, trial.state, trial.reason, trial.params, trial.values) for trial in study.trials]


def test_a_search_resumed_two_hours_earlier_is_the_one_that_would_have_been(redis_client, redis_url, address, tmp_path):
    spec = new_spec(storage=str(tmp_path / "storage"), trials=8)
    catalog.create_study(redis_client, "test", spec.to_json())
    ledger = tmp_path / "ledger"
    killed = start_driver(DRIVER, redis_url, str(ledger), address, TUNER_FAILPOINT="before-report-committed:12")
    assert killed.wait(timeout=60) == -signal.SIGKILL
    before = load_study(redis_client, "test")
    ended = {trial.number: trial for trial in before.trials if trial.is_finished}
    assert 0 < len(ended) < 8
    rows = read_ledger(ledger)

    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    resumed = start_driver(DRIVER, redis_url, str(ledger), address, "set-back", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert resumed.wait(timeout=60) == 0
    seconds, date = (tmp_path / "clock").read_text().split()
    assert TWO_HOURS_S - 100 < time.time() - float(seconds) < TWO_HOURS_S + 100
    assert datetime.now() - datetime.fromisoformat(date) > timedelta(seconds=TWO_HOURS_S - 100)

    study = load_study(redis_client, "test")
    assert study.state == "complete"
    assert {number: study.trials[number] for number in ended} == ended
    assert {number for number, *_ in read_ledger(ledger)[len(rows) :]} & ended.keys() == set()
    check_decisions(redis_client, study)
    elsewhere = replace(spec, storage=str(tmp_path / "elsewhere"))
    assert what_was_decided(study) == what_was_decided(undisturbed(elsewhere, tmp_path / "other-ledger"))


def test_what_people_are_shown_after_the_clock_was_set_back_is_a_date_and_never_an_age(
    redis_client, monkeypatch: pytest.MonkeyPatch
):
    """`since` lies two hours in the future then; the lease still expires after 30 s at most."""
    catalog.create_study(redis_client, "test", new_spec().to_json())
    held = lease.acquire(redis_client, "test")
    holder = replace(held.holder, host="far", since_s=held.holder.since_s + TWO_HOURS_S)
    redis_client.set(StudyKeys("test").lease, holder.to_json(), px=(TWO_HOURS_S + 30) * 1000)
    status = load_study(redis_client, "test").status()
    assert json.loads(json.dumps(status))["driver"]["since_s"] == holder.since_s
    with pytest.raises(
        lease.LeaseHeld, match=r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC; .* wait (30|29) s for its lease"
    ):
        lease.refuse_if_held(redis_client, "test")
