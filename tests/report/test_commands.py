"""`tuner report`, `tuner show` and `tuner status --watch` on a study in Redis."""

from __future__ import annotations

import json

import pytest
import redis

from tests.factories import new_spec
from tuner import attach
from tuner.cli import app
from tuner.errors import UsageError
from tuner.exchange import Report
from tuner.search.record import StudyRecord
from tuner.store import catalog, lease
from tuner.store.journal import RedisJournal


@pytest.fixture
def record(redis_client: redis.Redis):
    """Of a driver that runs, with one trial that has trained two epochs."""
    spec = new_spec(trials=3)
    catalog.create_study(redis_client, "test", spec.to_json())
    held = lease.acquire(redis_client, "test")
    record = StudyRecord(spec, RedisJournal(redis_client, "test", held.fence))
    assignment = record.next_assignment()
    for epoch in (1, 2):
        record.report(assignment, Report(epoch=epoch, score=0.25 * epoch, seconds=1.5, worker="a:1 (CPU)"))
    yield record
    held.release()


@pytest.fixture
def tuner(redis_url, tmp_path, monkeypatch, capsys):
    """Runs the command line in this process, and gives what it printed."""
    monkeypatch.setenv("TUNER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        app(args=[*arguments, "--redis", redis_url], standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_a_report_of_a_search_that_runs_is_one_file(record, tuner, tmp_path):
    assert "report of study test: test-report.html (4." in tuner("report", "test")
    page = (tmp_path / "test-report.html").read_text()
    assert "still running" in page
    assert "plotly.js v" in page  # the library is in the file
    with pytest.raises(UsageError, match="holds no exported model"):
        tuner("report", "test", "--out", "other.html", "--bundle", "nowhere")
    assert not (tmp_path / "other.html").exists()


def test_show_prints_one_trial_and_names_the_numbers_that_there_are(record, tuner):
    told = tuner("show", "test", "0")
    assert "trial 0 of study test: running" in told
    assert "attempt 1: epochs 1 to 2 on a:1 (CPU), 3s" in told
    content = json.loads(tuner("show", "test", "0", "--json"))
    assert [epoch["score"] for epoch in content["epochs"]] == [0.25, 0.5]
    with pytest.raises(UsageError, match="study test has no trial 7: they are numbered 0 to 0"):
        tuner("show", "test", "7")


def test_status_watch_shows_the_search_until_it_ends_and_then_how_it_stands(record, redis_client, tuner, monkeypatch):
    polls = []

    def sleep(seconds: float) -> None:
        polls.append(seconds)
        record.next_assignment()
        if len(polls) == 2:
            redis_client.delete("tuner:{test}:lease")

    monkeypatch.setattr(attach.time, "sleep", sleep)
    told = tuner("status", "test", "--watch")
    assert polls == [1.0, 1.0]
    assert "trial 1 starts: " in told
    assert "study test: stopped" in told
    assert "go on with `tuner resume test`" in told
    # Of a study that does not run there is nothing to watch.
    assert tuner("status", "test", "--watch").startswith("study test: stopped")
    with pytest.raises(UsageError, match="--watch shows a table, --json prints once"):
        tuner("status", "test", "--watch", "--json")
