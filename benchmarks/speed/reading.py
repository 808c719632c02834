"""How long it takes to look at a large study: `tuner status` and `tuner trials --json` against plain Optuna.

    python benchmarks/speed/reading.py           # five minutes; writes benchmarks/results/speed_reading.json
    python benchmarks/speed/reading.py --quick   # seconds, a small study, writes nothing

10,000 trials of 10 reports each are in a Redis that runs on this machine. A: the commands, from the start of the
process to its end. B: a script of a few lines over Optuna's own `JournalRedisBackend`, which prints the same as JSON:

"every entry": the very journal of A, with the losses, worker and checkpoints of each epoch;
"scores only": a study with nothing but parameters and scores.

Optuna saves a pickle of the whole study with every hundredth trial and reads only what came later. This program
unpickles nothing that comes from a server; its driver leaves a snapshot in JSON, compressed, and A is measured with
that and without. The studies are copies of a few dozen trials that were really recorded, with numbers and parameters of
their own.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import redis
from bench import ROOT, Goal, compared, options_of, recording, take_turns, values
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalRedisBackend
from scale_driver import sleeping_spec
from scale_hosted import score
from scale_redis import server

from tuner.exchange import Report
from tuner.search import sampler
from tuner.search.record import StudyRecord
from tuner.search.snapshots import Snapshots
from tuner.spec import StudySpec
from tuner.store import catalog, lease
from tuner.store.journal import MemoryJournal, RedisJournal
from tuner.store.keys import StudyKeys
from tuner.training.checkpoint_ref import CheckpointRef

EPOCHS = 10
EMPTY = "empty"  # a study
_PAGE = 10_000
RECORDED = 40  # trials that were really recorded; all others are copies of them
PLAIN = """
import json, sys, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalRedisBackend
url, name, ask = sys.argv[1:]
study = optuna.load_study(study_name=name, storage=JournalStorage(JournalRedisBackend(url, prefix=name)))
trials = study.get_trials(deepcopy=False)
if ask == "status":
    counts = {}
    for trial in trials:
        counts[trial.state.name] = counts.get(trial.state.name, 0) + 1
    print(json.dumps({"trials": counts, "best": study.best_value, "params": study.best_params}))
else:
    rows = [
        {"number": trial.number, "state": trial.state.name, "params": trial.params, "values": trial.intermediate_values}
        for trial in trials
    ]
    print(json.dumps(rows))
"""


class Entries(BaseJournalBackend):
    """Optuna's journal as a list."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """As Optuna asks."""
        return self.entries[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """What a reader would get: JSON has no enumerations."""
        self.entries += json.loads(json.dumps(logs))


def our_entries(spec: StudySpec) -> list[dict[str, Any]]:
    """The journal of `RECORDED` trials, written as a driver writes it that gets a checkpoint with each epoch."""
    sampler.RANDOM_TRIALS = RECORDED + 1
    journal = MemoryJournal()
    record = StudyRecord(replace(spec, trials=RECORDED), journal)
    for number in range(RECORDED):
        assignment = record.next_assignment()
        assert assignment is not None
        for epoch in range(1, EPOCHS + 1):
            reached = score(number, epoch)
            path = f"/storage/{spec.name}/trial-{number:05d}/attempt-1/epoch-{epoch:04d}.safetensors"
            saved = CheckpointRef(path, "0123456789abcdef" * 4, epoch, reached)
            worker = "gpu-machine-017:12345 (NVIDIA H100 80GB HBM3)"
            record.report(
                assignment, Report(epoch, reached, 1.2345 / epoch, 1.3456 / epoch, 12.3456, worker, saved, saved)
            )
    return journal.read_logs(0)


def plain_entries(distributions: dict[str, BaseDistribution]) -> list[dict[str, Any]]:
    """The journal of as many trials of plain Optuna."""
    backend = Entries()
    study = optuna.create_study(
        storage=JournalStorage(backend), study_name="scores", direction="maximize", sampler=RandomSampler(seed=0)
    )
    for number in range(RECORDED):
        trial = study.ask(distributions)
        for epoch in range(1, EPOCHS + 1):
            trial.report(score(number, epoch), epoch)
        study.tell(trial, score(number, EPOCHS))
    return backend.entries


def copies(entries: list[dict[str, Any]], trials: int) -> Iterator[dict[str, Any]]:
    """The entries of the study itself, then those of each trial in turn, until there are so many trials."""
    of_trials: list[list[dict[str, Any]]] = []
    for entry in entries:
        if "trial_id" in entry:
            of_trials[entry["trial_id"]].append(entry)
        elif "datetime_start" in entry:  # it creates a trial
            of_trials.append([entry])
        else:
            yield entry
    for number in range(trials):
        for entry in of_trials[number % len(of_trials)]:
            if "trial_id" in entry:
                yield {**entry, "trial_id": number}
            else:
                params = {name: nudged(value, number) for name, value in entry.get("params", {}).items()}
                yield {**entry, **({"params": params} if params else {})}


def nudged(value: Any, number: int) -> Any:
    """A parameter of a copy: a real number gets a value of its own, as no two trials of a search share one."""
    return value * (1 - number * 1e-7) if isinstance(value, float) and value % 1 else value


def fill(client: redis.Redis, url: str, trials: int) -> dict[str, int]:
    """Write our study and both of Optuna's; how many entries each has."""
    spec = replace(sleeping_spec("ours", "/storage", max_epochs=EPOCHS, grace_period=EPOCHS), trials=trials)
    catalog.create_study(client, spec.name, spec.to_json())
    catalog.create_study(client, EMPTY, replace(spec, name=EMPTY).to_json())
    ours = list(copies(our_entries(spec), trials))
    for start in range(0, len(ours), _PAGE):
        texts = (json.dumps(entry, sort_keys=True, separators=(",", ":")) for entry in ours[start : start + _PAGE])
        client.rpush(StudyKeys(spec.name).journal, *texts)
    write_plain(client, url, "ours", ours, trials)
    scores = list(copies(plain_entries(spec.space.distributions()), trials))
    write_plain(client, url, "scores", scores, trials)
    return {"entries": len(ours), "entries with scores only": len(scores)}


def drive(client: redis.Redis, name: str) -> float:
    """A driver that finds everything done and leaves its snapshot; the seconds that the snapshot took."""
    spec = StudySpec.from_json(catalog.read_spec(client, name))
    held = lease.acquire(client, name)
    journal = RedisJournal(client, name, held.fence)
    snapshots = Snapshots(client, StudyRecord(spec, journal).trials, journal, held.fence)
    began_s = time.perf_counter()
    snapshots.close()
    took_s = time.perf_counter() - began_s
    held.release()
    return took_s


def write_plain(client: redis.Redis, url: str, name: str, entries: list[dict[str, Any]], trials: int) -> None:
    """A study as Optuna's backend keeps it: a key for each entry, and what it pickles by itself when it has created
    every hundredth trial."""
    for start in range(0, len(entries), _PAGE):
        page = enumerate(entries[start : start + _PAGE], start=start)
        client.mset({f"{name}:log:{number}": json.dumps(entry) for number, entry in page})
    client.set(f"{name}:log_number", len(entries) - 1)
    backend = Entries()
    created = -1
    for entry in entries:
        backend.append_logs([entry])  # a copy: what copies share would be pickled once
        created += "trial_id" not in entry and "datetime_start" in entry
        if created == (trials - 1) // 100 * 100:
            break
    JournalRedisBackend(url, prefix=name).save_snapshot(pickle.dumps(JournalStorage(backend)._replay_result))


def main() -> None:
    """Fill a Redis and read it."""
    options = options_of(__doc__).parse_args()
    trials = 200 if options.quick else 10_000
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    with tempfile.TemporaryDirectory(prefix="speed-") as folder, recording("reading", options) as result:
        home = Path(folder)
        with server(home / "redis", "no") as url:
            with redis.Redis.from_url(url, decode_responses=True) as client:
                result["notes"] = {"trials": trials, "reports_each": EPOCHS, **fill(client, url, trials)}
                result["notes"]["seconds for all of the snapshot at once"] = round(drive(client, "ours"), 2)
                snapshot = StudyKeys("ours").snapshot
                kept = client.get(snapshot)
                result["notes"]["bytes of the snapshot"] = len(kept.encode())
            environment = {**os.environ, "TUNER_HOME": str(home), "TUNER_REDIS": url}

            def timed(*command: str, with_snapshot: bool = True) -> dict[str, float]:
                with redis.Redis.from_url(url, decode_responses=True) as client:
                    client.set(snapshot, kept) if with_snapshot else client.delete(snapshot)
                start_s = time.perf_counter()
                done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
                took_s = time.perf_counter() - start_s
                if done.returncode:
                    raise SystemExit(f"{command} failed: {done.stderr[-2000:]}")
                return {"seconds": took_s, "characters": len(done.stdout)}

            ours = (sys.executable, "-m", "tuner")
            plain = (sys.executable, "-W", "ignore", "-c", PLAIN, url)
            for command, ask in (("status", ("status", "ours")), ("trials --json", ("trials", "ours", "--json"))):
                sides = {
                    "A": lambda ask=ask: timed(*ours, *ask),
                    "B": lambda ask=ask: timed(*plain, "ours", ask[0]),
                    "A, journal only": lambda ask=ask: timed(*ours, *ask, with_snapshot=False),
                    "B, scores only": lambda ask=ask: timed(*plain, "scores", ask[0]),
                    "A, no trials": lambda ask=ask: timed(*ours, ask[0], EMPTY, *ask[2:]),
                }
                repeats = options.repeats or (1 if options.quick else 5)
                found = take_turns(sides, repeats, quick=options.quick)
                a, b, journal, scores, empty = (values(found[side], "seconds") for side in sides)
                what = f"tuner {command}"
                result["rows"] += [
                    compared(what, "s", a, b, goal=Goal("ratio", 3.0), less_is_better=True),
                    compared(f"{what}, seconds", "s", a, goal=Goal("a", 4.0, at_least=False)),
                    compared(f"{what}, B with scores only", "s", a, scores, less_is_better=True),
                    compared(f"{what}, A without its snapshot", "s", journal, b, less_is_better=True),
                    compared(f"{what}, A of a study that has no trials", "s", empty),
                ]


if __name__ == "__main__":
    main()
