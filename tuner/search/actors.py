"""Any way in which Ray can lose a worker is a lost worker to Tune."""

from __future__ import annotations

from typing import Any

from ray.air.execution._internal import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.execution import tune_controller


def install() -> None:
    """Let Tune use `ActorManager`; it has no setting for that."""
    tune_controller.RayActorManager = ActorManager


class ActorManager(RayActorManager):  # type: ignore[misc]
    """Tune knows two failures of an actor, RayActorError and RayTaskError, and ends the whole run at another (2.60).

    Ray has more: OutOfMemoryError where its memory monitor has killed the worker, ObjectLostError, and so on.
    """

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        super()._actor_task_failed(tracked_actor_task, exception)
