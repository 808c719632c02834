"""What driver and worker say to each other: an assignment one way, one report an epoch the other way."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tuner.packing import Memory

if TYPE_CHECKING:
    from tuner.training.checkpoint_ref import CheckpointRef

FailureKind = Literal["diverged", "out_of_memory", "error", "lost"]


@dataclass(frozen=True)
class Assignment:
    """One attempt at one trial.

    start_epoch: epochs already trained; the worker's first report is of epoch start_epoch + 1.
    checkpoint: {path, sha256, epoch, score} to go on from, or None to begin.
    previous: the one before it, should that be damaged.
    max_epochs: where the trial ends; 0: where the spec says.
    continued_from: the epoch to which `checkpoint` was trained by the trial that this one trains longer, else 0.
    confirms: the trial whose configuration this one trains again; it is then compared with no others at the rungs.
    part: of its slot, which is then a GPU, that it shares with other trials; it may hold no more memory than that.
    slot: the number that a worker takes which is started for this attempt; a warm one keeps its own.
    """

    number: int
    attempt: int
    params: dict[str, Any]
    start_epoch: int = 0
    checkpoint: dict[str, Any] | None = None
    previous: dict[str, Any] | None = None
    max_epochs: int = 0
    continued_from: int = 0
    confirms: int | None = None
    part: float = 1.0
    slot: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Report:
    """One trained epoch.

    epoch: 1-based. score: of the validation split, in the study's metric. seconds: training and validation.
    checkpoint, best: what the worker saved after this epoch, if it saved; both or neither.
    restarted: one line: why the attempt went back (a damaged checkpoint, or no memory for whole batches) and from
        which epoch it went on; empty if it did not.
    micro_batch: pictures that went through the network at once, for want of memory; 0: whole batches.
    save_error: one line: why the checkpoint that was due could not be saved; empty if it was, or none was due.
    waited: epochs since the best score, if the trial ends here because they are its `stop_patience`; else 0.
    scores: all that `objectives.OBJECTIVES` names, of the validation split; `score` is one of them.
    memory: what the trial holds on its GPU, if that is more than it said before.
    costs: what the network costs (`objectives.COSTS`) in a study that asks for it, with an attempt's first report.
    """

    epoch: int
    score: float
    train_loss: float = 0.0
    val_loss: float = 0.0
    seconds: float = 0.0
    worker: str = ""
    checkpoint: CheckpointRef | None = None
    best: CheckpointRef | None = None
    restarted: str = ""
    micro_batch: int = 0
    save_error: str = ""
    waited: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    memory: Memory | None = None
    costs: dict[str, float] = field(default_factory=dict)

    def details(self) -> dict[str, Any]:
        """What the journal keeps beside the score, JSON-able."""
        unusual = {"micro_batch": self.micro_batch, "save_error": self.save_error}
        return {
            "train_loss": self.train_loss,
            # As many digits as anybody reads: there is one such entry an epoch.
            **{name: round(value, 6) for name, value in self.scores.items()},
            "val_loss": self.val_loss,
            "seconds": round(self.seconds, 4),
            "worker": self.worker,
            **{key: value for key, value in unusual.items() if value},
            **({} if self.memory is None else {"memory": vars(self.memory)}),
        }


@dataclass(frozen=True)
class Failure:
    """A trial that cannot go on: its kind and one line for people."""

    kind: FailureKind
    detail: str
    traceback: str = field(default="", compare=False)

    def as_reason(self) -> dict[str, Any]:
        """The `reason` of the trial in the journal."""
        return {key: value for key, value in asdict(self).items() if value}
