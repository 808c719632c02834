"""The search itself: a Tune searcher and scheduler over one journal, and the driver that runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tuner.search.watch import PROGRESS_TIMEOUT_S, ProgressWatch

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from tuner.search.packing import Packing
    from tuner.search.scheduler import StudyScheduler
    from tuner.search.searcher import StudySearcher
    from tuner.search.spending import Spending
    from tuner.spec import StudySpec
    from tuner.store.journal import Journal
    from tuner.study import TrialRecord


def new_search(
    spec: StudySpec,
    journal: Journal,
    on_change: Callable[[TrialRecord], None] | None = None,
    *,
    progress_timeout_s: float = PROGRESS_TIMEOUT_S,
    capacity: Callable[[], int] | None = None,
    spending: Spending | None = None,
    packing: Packing | None = None,
    executor: Executor | None = None,
) -> tuple[StudySearcher, StudyScheduler]:
    """A Tune searcher and scheduler that share one study, rebuilt from whatever `journal` already holds.

    Needs no running Ray and, over a `MemoryJournal`, no Redis: a simulator can drive both by Tune's public methods.
    `on_change` is called with the trial's record after each commit. See `ProgressWatch` for `progress_timeout_s`,
    `StudySearcher` for `capacity`, `Spending` for what attempts reserve and the budget, `Packing` for shared GPUs.
    With an `executor` (of one thread) the next suggestion is made while workers train, without the newest score.
    """
    from tuner.search.record import StudyRecord
    from tuner.search.scheduler import StudyScheduler
    from tuner.search.searcher import StudySearcher

    searcher = StudySearcher(StudyRecord(spec, journal, on_change, spending, packing, executor), capacity)
    return searcher, StudyScheduler(searcher, ProgressWatch(progress_timeout_s))
