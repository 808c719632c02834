"""A study as people look at it: a fold over its journal. Reads only; needs neither Ray nor torch.

Trials stand in Optuna's journal with Optuna's states; what Optuna has no word for is in user attributes:

| attribute | what |
|---|---|
| `life` | number of the driver's life in which it was launched, 0 once it waits again; see `LIFE` |
| `attempt` | 1 for the first start of the trial on a worker, + 1 with each later one |
| `attempt:<n>` | what attempt n reserves, and how long it was if no report says so, see `tuner.usage` |
| `least_part` | of a GPU: smaller ones were too small for it, see `tuner.packing` |
| `losses` | how many attempts ended because the worker or its machine went away |
| `report:<epoch>` | `Report.details` and {attempt, recorded_s}; the score is the intermediate value |
| `checkpoint` | {path, sha256, epoch, score} of the newest checkpoint that training can go on from |
| `previous_checkpoint` | the one before it, should its file be damaged |
| `best_checkpoint` | the same of the weights with the best score so far |
| `paused` | with ASHA by promotion: the epoch of the rung at which it waits, 0 once it goes on |
| `reason` | why it ended before its last epoch: {kind, ...}, see `TrialRecord.reason` |
| `max_epochs` | after how many epochs it is complete; the spec's if absent |
| `costs` | what its network costs, by the objective; only with several |
| `enqueued` | true if its configuration was given by `--enqueue` |
| `continues`, `continued_from` | the trial whose training it goes on with, and after which epoch |
| `confirms` | the trial whose configuration it trains again with another seed |
| `restarts` | one line each time an attempt went back: a damaged checkpoint, or no memory for whole batches |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tuner.best import Best, best_of, front_of
from tuner.budget import newest_budget
from tuner.confirmed import ranking
from tuner.errors import UsageError
from tuner.ledger import Ledger
from tuner.spec import StudySpec
from tuner.usage import Usage, usage_of

if TYPE_CHECKING:
    from optuna.storages.journal import BaseJournalBackend
    from optuna.trial import FrozenTrial

STATES = ("queued", "running", "paused", "complete", "pruned", "failed")

# Study attributes that change what is left to do; the spec in the store stays as it was created.
TRIALS_WANTED = "trials_wanted"
MAX_EPOCHS = "max_epochs"
# Counts the drivers that have opened the study. A trial runs if a driver lives and the trial was launched in its life.
LIFE = "life"
# `environment:<life>`: what that driver ran with, see `tuner.environment`.
ENVIRONMENT = "environment"


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    state: one of `STATES`; a trial in flight whose driver is gone is queued, for it goes on with `tuner resume`;
        a paused one waits at its rung to be promoted.
    reason: None, or {"kind": "asha", "rung", "rank", "peers", "cutoff"} for a pruned trial, or {"kind": "plateau",
        "waited"} for a complete one that ended early, so many epochs after its best, or {"kind", "detail"} with kind
        diverged, out_of_memory, error or lost for a failed one.
    values: (epoch, score) of every report, by epoch.
    seconds: time that workers spent on its epochs.
    checkpoint, best_checkpoint: {path, sha256, epoch, score} of the newest state that training can go on from, and of
        the best weights; None for pruned and failed trials, whose files are deleted.
    max_epochs: after how many epochs it is complete; None is the spec's number.
    continues, continued_from: the trial whose training it goes on with, and after which epoch.
    confirms: the trial whose configuration it trains again with another seed.
    enqueued: whether its configuration was given by `--enqueue`. usage: what its attempts occupied, by a clock.
    costs: of its network, by objective, from its first report on; empty in a study with one objective.
    """

    number: int
    state: str
    reason: dict[str, Any] | None
    params: dict[str, Any]
    values: list[tuple[int, float]]
    attempt: int
    worker: str | None
    seconds: float
    checkpoint: dict[str, Any] | None
    best_checkpoint: dict[str, Any] | None
    max_epochs: int | None = None
    continues: int | None = None
    continued_from: int = 0
    enqueued: bool = False
    usage: Usage = field(default=Usage(), compare=False)
    confirms: int | None = None
    costs: dict[str, float] = field(default_factory=dict)

    @property
    def is_wanted(self) -> bool:
        """Whether it is one of the trials wanted: it neither trains another one longer nor confirms one."""
        return self.continues is None and self.confirms is None

    @property
    def is_finished(self) -> bool:
        """Whether it is complete, pruned or failed."""
        return self.state in ("complete", "pruned", "failed")

    def rungs(self, spec: StudySpec) -> tuple[int, ...]:
        """Epochs at which it is compared with others; not those that the trial that it continues has passed."""
        levels = spec.rungs(self.max_epochs) if self.confirms is None else ()
        return tuple(level for level in levels if level > self.continued_from)

    def as_dict(self) -> dict[str, Any]:
        """What `tuner trials --json` prints for one trial; how it was trained stays inside."""
        inside = ("checkpoint", "best_checkpoint", "max_epochs", "continued_from", "usage")
        content = {name: value for name, value in vars(self).items() if name not in inside}
        content["seconds"] = round(self.seconds, 3)
        return content


@dataclass(frozen=True)
class Study:
    """A study at one moment.

    trials_wanted: in all, without those that continue or confirm others.
    driver: the holder of the lease, if a living one runs the study.
    raised_max_epochs: what `resume --max-epochs` has made of the spec's number; None if nothing.
    budget: the one that counts, the spec's or what `resume --budget` has made of it; empty: none.
    environments: what each driver ran with (`tuner.environment`), oldest first; none of the drivers from before it was
        kept.
    """

    spec: StudySpec
    trials: tuple[TrialRecord, ...]
    trials_wanted: int
    driver: dict[str, Any] | None
    raised_max_epochs: int | None = None
    environments: tuple[dict[str, Any], ...] = ()
    budget: str = ""

    @property
    def max_epochs(self) -> int:
        """Epochs of a complete trial, for trials that are started now."""
        return self.raised_max_epochs or self.spec.max_epochs

    @property
    def counts(self) -> dict[str, int]:
        """How many trials are in each state, without those that confirm others; all states are there."""
        counts = Counter(trial.state for trial in self.trials if trial.confirms is None)
        return {state: counts[state] for state in STATES}

    @property
    def finished(self) -> int:
        """Trials of those wanted that are complete, pruned or failed; a finished trial is final."""
        return sum(trial.is_finished for trial in self.trials if trial.is_wanted)

    @property
    def state(self) -> str:
        """running, complete (all trials wanted and all that continue others are finished) or stopped; never stored."""
        if self.driver is not None:
            return "running"
        searched = [trial for trial in self.trials if trial.confirms is None]
        done = self.finished >= self.trials_wanted and all(trial.is_finished for trial in searched)
        return "complete" if done else "stopped"

    @property
    def best(self) -> Best | None:
        """The best score whose weights are kept; of equal ones the lowest trial number."""
        return best_of(self.trials, self.spec)

    @property
    def front(self) -> list[Best]:
        """With several objectives the trials that no other one beats in all of them, the best score first."""
        return front_of(self.trials, self.spec)

    @property
    def ledger(self) -> Ledger | None:
        """What it has spent of its budget; None without one."""
        return Ledger(replace(self.spec, budget=self.budget), self.trials) if self.budget else None

    def status(self) -> dict[str, Any]:
        """What `tuner status --json` prints."""
        best, spec = self.best, self.spec
        return {
            "name": self.spec.name,
            "state": self.state,
            "dataset": self.spec.data.dataset,
            "space": self.spec.space.source,
            "trials": self.counts,
            "trials_wanted": self.trials_wanted,
            "best": asdict(best) if best else None,
            "metric": self.spec.metric,
            "direction": self.spec.direction,
            "objectives": list(spec.objectives),
            "front": [asdict(one) for one in self.front],
            "max_epochs": self.max_epochs,
            "rungs": self._rungs(),
            "epochs_trained": sum(len(trial.values) for trial in self.trials),
            "worker_seconds": round(sum(trial.seconds for trial in self.trials), 3),
            "seed": self.spec.seed,
            "warm_start": {"study": spec.warm_start, "trials": len(spec.evidence)} if spec.warm_start else None,
            "confirmed": [one.as_dict() for one in ranking(self)],
            "budget": ledger.status() if (ledger := self.ledger) is not None else None,
            "driver": self.driver,
        }

    def _rungs(self) -> list[dict[str, int]]:
        """For each rung: trials that reported there, how many of them were stopped there, and how many wait there."""
        rungs = []
        for level in self.spec.rungs(self.max_epochs):
            compared = [trial for trial in self.trials if level in trial.rungs(self.spec)]
            arrived = sum(any(epoch == level for epoch, _ in trial.values) for trial in compared)
            stopped = sum((trial.reason or {}).get("rung") == level for trial in self.trials)
            paused = sum(trial.state == "paused" and trial.values[-1][0] == level for trial in self.trials)
            rungs.append({"epoch": level, "arrived": arrived, "stopped": stopped, "paused": paused})
        return rungs


def fold_trial(spec: StudySpec, trial: FrozenTrial, *, life: int | None) -> TrialRecord:
    """One trial of the journal as a `TrialRecord`, its parameters in the order of the space.

    life: of the driver that lives, None if none does.
    """
    from optuna.trial import TrialState

    states = {
        TrialState.WAITING: "queued",
        TrialState.RUNNING: "running" if life is not None and trial.user_attrs.get("life") == life else "queued",
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
    }
    attributes: Mapping[str, Any] = trial.user_attrs
    values = sorted(trial.intermediate_values.items())
    reports = {epoch: attributes.get(f"report:{epoch}", {}) for epoch, _ in values}
    discarded = trial.state in (TrialState.PRUNED, TrialState.FAIL)
    return TrialRecord(
        number=trial.number,
        state="paused" if attributes.get("paused") and not trial.state.is_finished() else states[trial.state],
        reason=attributes.get("reason"),
        params={name: trial.params[name] for name in spec.space.dimensions if name in trial.params},
        values=values,
        attempt=attributes.get("attempt", 0),
        worker=reports[values[-1][0]].get("worker") if values else None,
        seconds=sum(details.get("seconds", 0.0) for details in reports.values()),
        checkpoint=None if discarded else attributes.get("checkpoint"),
        best_checkpoint=None if discarded else attributes.get("best_checkpoint"),
        max_epochs=attributes.get("max_epochs"),
        continues=attributes.get("continues"),
        continued_from=attributes.get("continued_from", 0),
        enqueued=attributes.get("enqueued", False),
        usage=usage_of(attributes, reports, spec.resources, finished=trial.state.is_finished()),
        confirms=attributes.get("confirms"),
        costs={name: attributes["costs"][name] for name in spec.costs if "costs" in attributes},
    )


def read_study(spec: StudySpec, journal: BaseJournalBackend, driver: dict[str, Any] | None) -> Study:
    """Fold the journal. A study whose driver has not written anything yet has no trials.

    Raises StoreError if Redis fails, or the journal cannot be a study's.
    """
    from tuner.collection import no_collection
    from tuner.store.journal import replaying
    from tuner.store.merged import replay

    with replaying(spec.name), no_collection():
        trials, attributes = replay(spec.name, journal)
        return fold_study(spec, trials, attributes, driver)


def fold_study(
    spec: StudySpec, trials: Iterable[FrozenTrial], attributes: Mapping[str, Any], driver: dict[str, Any] | None
) -> Study:
    """The study that `replay` has read."""
    life = attributes.get(LIFE) if driver is not None else None
    lives = [key.partition(":")[2] for key in attributes if key.startswith(f"{ENVIRONMENT}:")]
    return Study(
        spec,
        tuple(fold_trial(spec, trial, life=life) for trial in trials),
        trials_wanted=attributes.get(TRIALS_WANTED, spec.trials),
        driver=driver,
        raised_max_epochs=attributes.get(MAX_EPOCHS),
        budget=newest_budget(spec.budget, attributes),
        environments=tuple(attributes[f"{ENVIRONMENT}:{number}"] for number in sorted(lives, key=int)),
    )


def refuse_fewer_epochs(wanted: int, current: int) -> None:
    """Raises UsageError if `wanted` is below the `current` maximum of a study, by which trials were judged already."""
    if wanted < current:
        raise UsageError(
            f"max-epochs = {wanted} is lower than the study's {current}: give more to train the best trials longer, "
            "or start a new study"
        )
