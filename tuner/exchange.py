"""What driver and worker say to each other: an assignment one way, one report an epoch the other way."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tuner.training.checkpoint_ref import CheckpointRef

FailureKind = Literal["diverged", "out_of_memory", "error", "lost"]


@dataclass(frozen=True)
class Assignment:
    """One attempt at one trial.

    start_epoch: epochs already trained; the worker's first report is of epoch start_epoch + 1.
    checkpoint: {path, sha256, epoch, score} to go on from, or None to begin.
    """

    number: int
    attempt: int
    params: dict[str, Any]
    start_epoch: int = 0
    checkpoint: dict[str, Any] | None = None


@dataclass(frozen=True)
class Report:
    """One trained epoch.

    epoch: 1-based. score: of the validation split, in the study's metric. seconds: training and validation.
    checkpoint, best: what the worker saved after this epoch, if it saved; both or neither.
    restarted: why the attempt could not use its checkpoint and began at epoch 1 again; empty if it did not.
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

    def details(self) -> dict[str, Any]:
        """What the journal keeps beside the score, JSON-able."""
        return {
            "train_loss": self.train_loss,
            "val_loss": self.val_loss,
            "seconds": round(self.seconds, 4),
            "worker": self.worker,
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
