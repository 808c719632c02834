"""What is recorded: a space, a data set, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tuner.space import Space, load_space

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Task:
    """One table of learning curves.

    space: a shipped space, or a file beside this one.
    val_fraction: share of the training pictures that scores; large, since the score's noise is not what is studied.
    image_size, train_every, val_every: pictures are made so small, and every n-th of each split is used, so that one
        core can record the table.
    configurations: how many; the first `repeated` are trained with three seeds, which shows the noise.
    cliffs: whether some configurations do not learn at all, which trees can tell from their neighbours and small
        networks cannot.
    """

    name: str
    space_source: str
    dataset: str
    val_fraction: float
    configurations: int
    repeated: int
    image_size: int | None = None
    train_every: int = 1
    val_every: int = 1
    cliffs: bool = False

    def space(self) -> Space:
        """The search space."""
        local = HERE / self.space_source
        return load_space(str(local) if local.exists() else self.space_source)

    @property
    def max_epochs(self) -> int:
        """Epochs of a full training, to which the learning rate's schedule belongs."""
        return self.space().search["max_epochs"]

    @property
    def table(self) -> Path:
        """Where the curves lie once they are packed."""
        return HERE / "curves" / f"{self.name}.jsonl.xz"


TASKS = {
    task.name: task
    for task in (
        Task("digits", "digits", "digits", val_fraction=0.5, configurations=400, repeated=24),
        Task("wide", "wide.toml", "digits", val_fraction=0.5, configurations=500, repeated=24, cliffs=True),
        Task(
            "cifar10-small",
            "cifar10-small",
            "cifar10",
            val_fraction=0.1,
            configurations=256,
            repeated=10,
            image_size=16,
            train_every=9,
            val_every=2,
        ),
    )
}
