"""What Tune would keep of each attempt until the search ends, and nobody reads."""

from __future__ import annotations

from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

_KEPT = {"trial_id", "node_ip", "pid"}  # where the attempt runs, for Tune's messages
_FORGET_FROM = 32  # attempts: to forget them takes a look at all that Tune knows


class Forgetting(TrialProgressCallback):  # type: ignore[misc]
    """Told of results after all other callbacks, and leaves nothing of them.

    It stands in the place of the callback by which Tune would say of each attempt, `verbose=0` or not, that it has
    completed without any result.

    Of each number in a result Tune keeps averages and the last ten values for as long as it runs, and of each attempt
    the whole last result: half of what a trial took of the driver's memory, computed anew at each epoch (Ray 2.60).
    """

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,  # noqa: ARG002
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        """Tune is about to keep `result`, as the callbacks leave it."""
        for key in result.keys() - _KEPT:
            del result[key]

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Nothing is said."""

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Nothing is said."""


def forget_attempts(controller: Any) -> None:
    """Let Tune forget the attempts that are over, once they are some. It would keep all, 8 KiB each, and look at each
    of them in every step (Ray 2.60).

    controller: the `TuneController`, while it goes through none of its lists of trials. The newest attempt always
    stays: with none at its end, Tune would read what it wrote at its beginning.
    """
    controller._trials_to_cache.clear()  # for a file that is not written
    ended = controller._stopped_trials | controller._failed_trials
    over = {trial for trial in ended if trial not in controller._trial_to_actor} - {*controller._trials[-1:]}
    if len(over) >= _FORGET_FROM:
        controller._trials[:] = [trial for trial in controller._trials if trial not in over]
        # Tune takes those that failed out of neither of the last two.
        for known in ("_stopped_trials", "_failed_trials", "_live_trials", "_resetting_trials"):
            getattr(controller, known).difference_update(over)
