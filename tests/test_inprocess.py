"""A search leaves the process that it runs in as it was found."""

from __future__ import annotations

import logging
import os
import signal
import threading

import pytest

import tuner
from tuner.errors import TunerError, UsageError
from tuner.inprocess import guest, store


def test_environment_log_levels_and_handlers_are_afterwards_what_they_were(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("TUNE_DISABLE_SIGINT_HANDLER", raising=False)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    levels = [logging.getLogger(name).level for name in ("ray", "optuna")]
    before = dict(os.environ)
    with guest():
        os.environ["RAY_AUTH_MODE"] = "disabled"
        os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        logging.getLogger("ray").setLevel(logging.DEBUG)
        logging.getLogger("optuna").setLevel(logging.DEBUG)
        os.environ["MINE"] = "stays"
    assert os.environ.pop("MINE") == "stays"
    assert dict(os.environ) == before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert [logging.getLogger(name).level for name in ("ray", "optuna")] == levels


def test_processes_that_a_search_starts_do_not_see_the_store_but_other_threads_find_it(monkeypatch, redis_url):
    monkeypatch.setenv("TUNER_REDIS", redis_url)
    monkeypatch.setenv("TUNER_HOME", "/nowhere")  # no private server could be started there
    with guest():
        assert "TUNER_REDIS" not in os.environ
        with store(None) as client:
            assert client.ping()
    assert os.environ["TUNER_REDIS"] == redis_url


def test_a_second_search_in_the_process_is_refused_while_the_first_runs():
    refusals = []

    def second():
        try:
            tuner.search("digits", gpus=0)
        except TunerError as error:
            refusals.append(str(error))

    with guest():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(refusals) == 1
    assert "a search runs in this process already" in refusals[0]
    with guest():
        pass  # and not for ever


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"trials": 0}, "trials = 0 is too small"),
        ({"max_epochs": -1}, "max_epochs = -1 is too small"),
        ({"workers": 0}, "workers = 0 is too small"),
        ({"time_budget": 0}, "time 0 is not understood"),
        ({"address": "http://head:8265"}, "`tuner search --address http://head:8265` submits"),
        ({"space": {"space": {"lr": {"type": "float", "low": 1.0}}}}, "of a dict: lr: high is missing"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_starts(monkeypatch, redis_url, arguments, part):
    monkeypatch.setenv("TUNER_REDIS", redis_url)
    with pytest.raises(UsageError, match=part.replace("(", r"\(")):
        tuner.search("digits", **arguments)
