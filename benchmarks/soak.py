"""Ten minutes of random kills: driver, worker, redis-server and raylet of a real search, one of them every 20 seconds.

    python benchmarks/soak.py [--minutes 10] [--every-s 20] [--seed 0]

An observer notes every finished trial that `tuner trials --json` ever showed: its own ledger. At the end the search may
finish without kills, and then: every trial is terminal, every finished trial is what it was when it was first
seen, each ASHA decision follows from the journal before it, and the best model exports. A life that ended with its
driver or raylet said how to go on in its last line. Appends what happened to `benchmarks/results/soak.json`. Exits 1 if
anything was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from main_job import circumstances

from tuner import asha
from tuner.launch import load_study
from tuner.store import client, embedded
from tuner.store.keys import StudyKeys

RESULTS = Path(__file__).parent / "results" / "soak.json"
NAME = "soak"
VICTIMS = ("driver", "worker", "redis", "raylet")


class Search:
    """A search that is started again whenever it ends before it is complete."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {**os.environ, "TUNER_HOME": str(home)}
        self.ends: Counter[str] = Counter()
        self.said_how_to_go_on: Counter[str] = Counter()
        self.lives = 0
        self.killed = ""  # the driver or the raylet, if this life had begun to search by then
        self.process = self._start("search", "digits", "--gpus", "0", "--trials", "1000", "--name", NAME)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        self.lives += 1
        self.killed = ""
        log = self._log().open("wb")
        command = [sys.executable, "-m", "tuner", *arguments]
        return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)

    def _log(self) -> Path:
        return self.home / f"life-{self.lives}.log"

    def has_begun(self) -> bool:
        """Whether this life has announced the study: what ends before starts nothing that would have to go on."""
        return f"study {NAME}: space" in self._log().read_text(errors="replace")

    def keep_running(self, *options: str) -> None:
        """Resume it if it has ended."""
        if self.process.poll() is not None:
            self.ends[str(self.process.returncode)] += 1
            if self.killed:
                self._check_last_line()
            known = self.trials()
            again = ["resume", NAME] if known is not None else ["search", "digits", "--gpus", "0", "--name", NAME]
            self.process = self._start(*again, *options)

    def _check_last_line(self) -> None:
        time.sleep(1)  # it is said by another process, after the end of this one
        last_line = self._log().read_text(errors="replace").splitlines()[-1]
        assert f"`tuner resume {NAME}`" in last_line, f"life {self.lives}, {self.killed} killed: {last_line}"
        self.said_how_to_go_on[self.killed] += 1

    def trials(self) -> list[dict[str, Any]] | None:
        """What `tuner trials --json` shows; None while the store cannot be read or the study is not there."""
        command = [sys.executable, "-m", "tuner", "trials", NAME, "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout) if done.returncode == 0 else None


def processes_of(session: int) -> dict[int, str]:
    """pid -> command line of all processes of a session."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if int(status[3]) == session:
                found[int(folder.name)] = command
    return found


def choose(victim: str, search: Search, generator: random.Random) -> int | None:
    """The pid to kill, None if there is no such process now."""
    if search.process.poll() is not None:
        return None
    if victim == "driver":
        return search.process.pid
    if victim == "redis":
        pid_file = next((search.home / "redis").glob("*.pid"), None)
        return int(pid_file.read_text()) if pid_file is not None else None
    wanted = "raylet/raylet" if victim == "raylet" else "ray::"
    pids = [pid for pid, command in processes_of(search.process.pid).items() if wanted in command]
    return generator.choice(pids) if pids else None


def check_decisions(store: Any, study: Any) -> int:
    """Take every decision of the journal again from the reports before it; how many there were."""
    rungs: dict[int, list[float]] = {level: [] for level in study.spec.rungs()}
    reasons = {trial.number: trial.reason or {} for trial in study.trials}
    decisions = 0
    for text in store.lrange(StudyKeys(NAME).journal, 0, -1):
        entry = json.loads(text)
        if entry.get("step") not in rungs or "intermediate_value" not in entry:
            continue
        epoch, score = entry["step"], entry["intermediate_value"]
        decision = asha.decide(score, rungs[epoch], study.spec.reduction_factor)
        assert decision.go_on == (reasons[entry["trial_id"]].get("rung") != epoch), (entry["trial_id"], epoch)
        rungs[epoch].append(score)
        decisions += 1
    return decisions


def main() -> None:
    """Run, kill, check, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="minutes of kills (default 10)")
    parser.add_argument("--every-s", type=float, default=20.0, help="seconds between kills (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of victims (default 0)")
    options = parser.parse_args()
    generator = random.Random(options.seed)
    kills: Counter[str] = Counter()
    ledger: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="tuner-soak-") as folder:
        search = Search(Path(folder))
        end_s = time.monotonic() + options.minutes * 60
        while time.monotonic() < end_s:
            time.sleep(options.every_s)
            for trial in search.trials() or []:
                if trial["state"] in ("complete", "pruned", "failed"):
                    assert ledger.setdefault(trial["number"], trial) == trial, f"trial {trial['number']} changed"
            victim = generator.choice(VICTIMS)
            pid = choose(victim, search, generator)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                kills[victim] += 1
                if victim in ("driver", "raylet") and search.has_begun():
                    search.killed = victim
                print(f"killed the {victim}; {len(ledger)} trials finished, life {search.lives}", flush=True)
                time.sleep(2)
            search.keep_running()
        report = finish(search, ledger)
        subprocess.run([sys.executable, "-m", "tuner", "store", "stop"], env=search.environment, check=True)
    entry = {"minutes": options.minutes, "seed": options.seed, "kills": dict(kills), **report, **circumstances()}
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    RESULTS.write_text(json.dumps([*results, entry], indent=1) + "\n")
    print(json.dumps(entry, indent=1))


def finish(search: Search, ledger: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Let the search end undisturbed, and compare everything with everything."""
    known = search.trials() or []
    deadline_s = time.monotonic() + 600
    search.process.send_signal(signal.SIGINT)
    search.process.wait(timeout=120)
    while True:
        search.keep_running("--trials", str(len(known)))
        if search.process.wait(timeout=max(1.0, deadline_s - time.monotonic())) == 0:
            break
    store = client.connect(embedded.ensure_running(search.home))
    study = load_study(store, NAME)
    final = {trial.number: json.loads(json.dumps(trial.as_dict())) for trial in study.trials}
    assert study.state == "complete", study.counts
    assert {number: final[number] for number in ledger} == ledger, "a finished trial is not what it was"
    decisions = check_decisions(store, study)
    command = [sys.executable, "-m", "tuner", "export-best", NAME, "--out", str(search.home / "best")]
    subprocess.run(command, env=search.environment, check=True, timeout=120)
    metrics = json.loads((search.home / "best" / "metrics.json").read_text())
    assert metrics["validation"]["score"] == study.best.value, "the export is not the best of the journal"
    return {
        "lives": search.lives,
        "exit_codes": dict(search.ends),
        "said_how_to_go_on": dict(search.said_how_to_go_on),
        "trials": study.counts,
        "attempts": dict(Counter(str(trial.attempt) for trial in study.trials)),
        "decisions_checked": decisions,
        "finished_trials_observed": len(ledger),
        "test_accuracy": metrics["accuracy"],
    }


if __name__ == "__main__":
    main()
