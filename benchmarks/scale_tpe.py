"""What a suggestion of TPE costs, by the number of trials that have ended."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

from optuna.trial import TrialState
from scale_driver import sleeping_spec

from tuner.search.trials import Trials
from tuner.store.journal import MemoryJournal

_SUGGESTIONS = 10


def suggestion_ms(counts: Sequence[int], repeats: int) -> list[dict[str, Any]]:
    """CPU time of a suggestion after each number of trials, ascending: medians of `repeats` times ten suggestions."""
    trials = Trials(sleeping_spec("suggestions", "/nowhere"), MemoryJournal())
    draw = random.Random(0)
    rows, ended = [], 0
    params: dict[str, Any] = {}
    for count in counts:
        for number in range(ended, count):
            params = trials.question(number).answer() if number < _SUGGESTIONS else params
            varied = {**params, "lr": draw.uniform(0.02, 1.0), "dropout": draw.uniform(0.0, 0.4)}
            score = draw.random()
            trials.add(varied)
            trials.set_score(number, 2, score)
            trials.end(number, TrialState.PRUNED, score)
        ended = count
        found = []
        for _ in range(repeats):
            began_s = time.thread_time()
            for _ in range(_SUGGESTIONS):
                trials.question(count).answer()
            found.append((time.thread_time() - began_s) / _SUGGESTIONS * 1e3)
        spread = {"median": statistics.median(found), "min": min(found), "max": max(found)}
        ms = {**{name: round(value, 2) for name, value in spread.items()}, "n": repeats}
        rows.append({"trials": count, "ms": ms})
    return rows
