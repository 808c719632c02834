"""`tuner dashboard` as a user starts it, asked over HTTP as a browser asks."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.factories import new_spec
from tests.program import new_program
from tuner.exchange import Report
from tuner.search.record import StudyRecord
from tuner.store import catalog, client, embedded, lease
from tuner.store.journal import RedisJournal

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def program():
    """With two studies, of which `shown` has one complete trial and one that runs."""
    with new_program() as program:
        with client.connect(embedded.ensure_running(program.home)) as store:
            for name in ("hidden", "shown"):
                spec = new_spec(name=name, max_epochs=1)
                catalog.create_study(store, name, spec.to_json())
                held = lease.acquire(store, name)
                record = StudyRecord(spec, RedisJournal(store, name, held.fence))
                record.report(record.next_assignment(), Report(epoch=1, score=0.75))
                record.next_assignment()
                held.release()
        yield program


@pytest.fixture(scope="module")
def url(program):
    """Of the dashboard of `shown`; a Ctrl-C at the end ends it cleanly."""
    process = program.start("dashboard", "shown", "--port", "0")
    try:
        line = process.stdout.readline()
        yield re.search(r"study shown: (http://127\.0\.0\.1:\d+)/dashboard/studies/0 ", line)[1]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert process.stdout.read() == ""
    finally:
        process.kill()
        process.wait()


def ask(url, **changes):
    """Status and body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **changes), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_study_is_shown_as_it_is_and_no_other(url):
    status, page = ask(f"{url}/dashboard/studies/0")
    assert (status, "<script" in page) == (200, True)
    studies = json.loads(ask(f"{url}/api/studies")[1])["study_summaries"]
    assert [(study["study_id"], study["study_name"]) for study in studies] == [(0, "shown")]
    trials = json.loads(ask(f"{url}/api/studies/0")[1])["trials"]
    assert [(trial["number"], trial["state"]) for trial in trials] == [(0, "Complete"), (1, "Running")]
    assert trials[0]["values"] == [0.75]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/api/studies/0", {}),
        ("POST", "/api/studies/0/rename", {"study_name": "mine"}),
        ("POST", "/api/studies", {"study_name": "new", "directions": ["maximize"]}),
        ("PUT", "/api/studies/0/note", {"body": "note", "version": 1}),
        ("POST", "/api/trials/1/tell", {"state": "Fail"}),
        ("POST", "/api/trials/1/user-attrs", {"user_attrs": {"life": 7}}),
    ],
)
def test_nothing_can_be_changed_through_it(program, url, method, path, body):
    before = journal(program)
    status, answer = ask(
        f"{url}{path}", method=method, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    assert (status, "only shows the study" in json.loads(answer)["reason"]) == (405, True)
    assert journal(program) == before


def journal(program):
    with client.connect(embedded.ensure_running(program.home)) as store:
        return RedisJournal(store, "shown").read_logs(0)


def test_what_cannot_be_shown_is_one_line(program, url):
    assert "there is no study 'nothing'" in program("dashboard", "nothing", code=1)
    taken = url.rpartition(":")[2]
    assert f"nothing can listen at 127.0.0.1:{taken}" in program("dashboard", "shown", "--port", taken, code=2)


def test_without_the_extra_the_line_says_how_to_get_it(program):
    code = "import sys; sys.modules['optuna_dashboard'] = None; from tuner.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "dashboard", "shown"],
        env=program.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert "pip install '.[dashboard]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1
