"""`--warm-start NAME`: which trials of an earlier study the sampler of a new one may learn from, and as what.

A trial counts as complete evidence only if its score means the same as that of a complete trial of the new study: same
data, same network function, and the same number of epochs. The score of any other trial, also of one that was pruned,
is evidence of what it had at the last epoch that both have: as of a trial that was stopped there, which TPE ranks
behind all complete ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tuner.configurations import exists, in_drawing_order, value_in
from tuner.errors import UsageError
from tuner.evidence import Evidence
from tuner.space import Space
from tuner.spec import StudySpec
from tuner.study import Study, TrialRecord
from tuner.training.config import Value

# TPE's time for a suggestion grows with what it sees; the best 25 are all that it ever takes for good (docs/scale.md).
MOST = 250
BEST = 25


def warm_started(spec: StudySpec, earlier: Study) -> tuple[StudySpec, list[str]]:
    """`spec` with the trials of `earlier` as evidence, and what to tell the user of it.

    Raises UsageError if the scores of the two cannot be compared, or none of the trials can be used.
    """
    name = earlier.spec.name
    if (earlier.spec.metric, earlier.spec.direction) != (spec.metric, spec.direction):
        raise UsageError(
            f"--warm-start {name}: it wants to {earlier.spec.direction} {earlier.spec.metric}, and this search to "
            f"{spec.direction} {spec.metric}"
        )
    same_data = earlier.spec.data_fingerprint == spec.data_fingerprint
    same_network = earlier.spec.space.model == spec.space.model
    left_out: Counter[str] = Counter()
    found = []
    for trial in (trial for trial in earlier.trials if trial.confirms is None):
        evidence = _evidence(trial, earlier, spec, comparable=same_data and same_network)
        if isinstance(evidence, str):
            left_out[evidence] += 1
        else:
            found.append(evidence)
    chosen = _chosen(found, maximize=spec.direction == "maximize")
    if len(chosen) < len(found):
        left_out[f"more than the {MOST} that are taken"] = len(found) - len(chosen)
    why = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
    if not chosen:
        raise UsageError(
            f"--warm-start {name}: none of its {len(earlier.trials)} trials can be used" + (f" ({why})" if why else "")
        )
    notes = [
        f"warm start: {len(chosen)} of {len(earlier.trials)} trials of study {name} are evidence for the sampler"
        + (f"; not taken: {why}" if why else "")
    ]
    if not same_data:
        notes.append(
            f"warning: study {name} is of other data ({earlier.spec.data.dataset}): its scores count less than those "
            "of this search"
        )
    if not same_network:
        theirs = earlier.spec.space.model or "the built-in one"
        notes.append(
            f"warning: study {name} is of another network ({theirs}): its scores count less than those of this search"
        )
    if earlier.max_epochs != spec.max_epochs:
        notes.append(
            f"note: trials of study {name} had up to {earlier.max_epochs} epochs, here {spec.max_epochs}: their scores "
            "count as those of trials that were stopped"
        )
    if others := _other_constants(earlier.spec.space, spec.space):
        notes.append(f"note: study {name} had other values of what is constant here: {', '.join(others)}")
    return replace(spec, warm_start=name, evidence=tuple(chosen)), notes


def _evidence(trial: TrialRecord, earlier: Study, spec: StudySpec, *, comparable: bool) -> Evidence | str:
    """The trial as evidence, or why it is none."""
    if not trial.is_finished:
        return "unfinished"
    if trial.state == "failed":
        return "failed"
    params = _params(trial, earlier.spec.space, spec.space)
    if isinstance(params, str):
        return params
    reached = [(epoch, score) for epoch, score in trial.values if epoch <= spec.max_epochs]
    if not reached:
        return f"without a score in the first {spec.max_epochs} epochs"
    epoch, score = reached[-1]
    if trial.state == "complete" and comparable and (trial.max_epochs or earlier.spec.max_epochs) == spec.max_epochs:
        best = max if spec.direction == "maximize" else min
        return Evidence(params, epoch, best(score for _, score in reached), complete=True)
    return Evidence(params, epoch, score, complete=False)


def _params(trial: TrialRecord, old: Space, new: Space) -> dict[str, Value] | str:
    """The values that the trial had of the dimensions of `new`; or why it is no point of that space.

    What the earlier study did not search had its constant, or the default. What is constant now has to be the same
    if it is a word, for another one is another method; a number need not, for it is another degree.
    """
    had = {**old.defaults(), **old.constants, **trial.params}
    now = {**new.defaults(), **new.constants}
    for name in trial.params:
        if name not in new.dimensions and isinstance(had[name], str) and had[name] != now.get(name):
            return f"with another {name} than {now.get(name)}"
    params: dict[str, Value] = {}
    for name in in_drawing_order(new.dimensions):
        table = new.dimensions[name]
        if name not in had or not exists(table, params):
            continue
        try:
            params[name] = value_in(name, had[name], table)
        except UsageError:
            return f"outside the bounds of {name}"
    return {name: params[name] for name in new.dimensions if name in params}


def _chosen(found: Sequence[Evidence], *, maximize: bool) -> list[Evidence]:
    """At most `MOST`, in their order: the best ones, and of the others every so many by rank, so that bad stay bad."""
    if len(found) <= MOST:
        return list(found)
    sign = 1.0 if maximize else -1.0

    def rank(index: int) -> tuple[bool, int, float]:
        known = found[index]
        # As TPE ranks them: complete ones by score, then the others, the later stopped the better.
        return not known.complete, 0 if known.complete else -known.epoch, -sign * known.score

    ranked = sorted(range(len(found)), key=rank)
    best, others = ranked[:BEST], ranked[BEST:]
    wanted = MOST - BEST
    spread = [others[(2 * index + 1) * len(others) // (2 * wanted)] for index in range(wanted)]
    return [found[index] for index in sorted([*best, *spread])]


def _other_constants(old: Space, new: Space) -> list[str]:
    """What is constant in `new` and was searched in `old`, or had another value there."""
    before = {**old.defaults(), **old.constants}
    now = {**new.defaults(), **new.constants}
    return [
        name
        for name, value in now.items()
        if name not in new.dimensions
        and (not isinstance(value, str) if name in old.dimensions else before.get(name) != value)
    ]
