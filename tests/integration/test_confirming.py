"""`export-best --confirm` and `--refit` on a small search of the digits; the driver is killed in the middle."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.program import new_program

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
CONFIRM = ("export-best", "digits", "--confirm", "2", "--seeds", "2")


@pytest.fixture(scope="module")
def tuner():
    with new_program() as program:
        program("search", "digits", "--gpus", "0", "--trials", "3", "--max-epochs", "1")  # without a rung
        yield program


def trials_of(tuner):
    return {trial["number"]: trial for trial in json.loads(tuner("trials", "digits", "--json"))}


def test_a_confirmation_that_was_killed_goes_on_where_it_was_and_its_winner_is_exported_refitted(tuner):
    searched = trials_of(tuner)
    killed = subprocess.run(
        tuner.command(*CONFIRM, "--out", "best"),
        env={**tuner.environment, "TUNER_FAILPOINT": "after-report-committed:2"},
        cwd=tuner.home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert "go on with `tuner export-best digits --confirm 2 --seeds 2`" in killed.stderr
    assert not (tuner.home / "best").exists()
    before = trials_of(tuner)
    over = {number: trial for number, trial in before.items() if trial["state"] == "complete"}
    confirming = [number for number, trial in before.items() if trial["confirms"] is not None]
    assert len(confirming) == 4
    assert sorted(before[number]["state"] for number in confirming) == ["complete", "complete", "queued", "queued"]
    assert "2 of 4 runs with fresh seeds are over" in tuner("status", "digits")

    printed = tuner(*CONFIRM, "--refit", "--out", "best")
    after = trials_of(tuner)
    assert after.keys() == before.keys()
    assert {number: after[number] for number in over} == over
    assert {number: after[number] for number in searched} == searched
    assert {after[number]["state"] for number in confirming} == {"complete"}
    assert "2 of them done already" in printed
    ranking = json.loads(tuner("status", "digits", "--json"))["confirmed"]
    assert sorted(number for one in ranking for number in one["runs"]) == sorted(confirming)
    assert f"  trial {ranking[0]['trial']}: mean {ranking[0]['mean']:.4f}, standard deviation" in printed
    metrics = json.loads((tuner.home / "best" / "metrics.json").read_text())
    assert metrics["confirmation"]["ranking"] == ranking
    assert metrics["validation"]["trial"] in ranking[0]["runs"]
    assert metrics["validation"]["score"] is None
    assert metrics["refit"]["pictures"] == 1438
    assert "none differ" in tuner("replay", "digits")

    # All is there: nothing is trained, and Ray is not even started.
    printed = tuner(*CONFIRM, "--out", "again")
    assert "confirming" not in printed
    assert "refit" not in json.loads((tuner.home / "again" / "metrics.json").read_text())

    tuner("report", "digits", "--bundle", "best", "--out", "report.html")
    page = (tuner.home / "report.html").read_text()
    assert f"trial {ranking[0]['trial']} has the best mean validation accuracy" in page
    assert "The winner was chosen on one run" not in page


def test_what_cannot_be_is_refused_in_one_line(tuner):
    assert tuner("export-best", "digits", "--confirm", "0", code=2) == (
        "error: confirm = 0 is not allowed: it must be a whole number from 1 to 100"
    )
    assert "are for the runs of confirm" in tuner("export-best", "digits", "--gpus", "1", code=2)
