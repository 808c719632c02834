"""A study as Python programs hold it: read it, go on with it, stop it, export its best model. Light to import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.bundle.formats import DEFAULT, Formats
from tuner.confirmed import Confirmation
from tuner.durations import parse_seconds
from tuner.errors import UsageError
from tuner.inprocess import console_for, guest, refuse_below_one, refuse_dashboard, refuse_unless_whole, store
from tuner.packing import PerGpu, parse_trials_per_gpu
from tuner.settings import absolute, load_settings

if TYPE_CHECKING:
    from tuner.best import Best
    from tuner.export import Exported
    from tuner.study import Study as StudyRecord
    from tuner.study import TrialRecord


class Study:
    """A study in the store, as it was when it was last read; `refresh` reads it again.

    Made by `search`, `load` and `studies`. It holds no connection, so that it can be kept for as long as you like.
    """

    def __init__(self, record: StudyRecord, redis: str | None, why_stopped: str = "") -> None:
        self._record = record
        self._redis = redis
        self._why_stopped = why_stopped

    def __repr__(self) -> str:
        best = self.best
        score = "" if best is None else f", best {best.value:.4f} (trial {best.trial}, epoch {best.epoch})"
        return f"<study {self.name}: {self.state}, {self._record.finished} of {self.trials_wanted} trials{score}>"

    @property
    def name(self) -> str:
        """Its name in the store."""
        return self._record.spec.name

    @property
    def state(self) -> str:
        """`running` while a driver lives, here or elsewhere; `complete`; or `stopped`, and `resume` goes on."""
        return self._record.state

    @property
    def why_stopped(self) -> str:
        """Why the run that this object comes from ended early, e.g. "interrupted"; empty if it did not."""
        return self._why_stopped

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """All trials that were started, by number."""
        return self._record.trials

    @property
    def trials_wanted(self) -> int:
        """Trials in all, without those that continue others for more epochs."""
        return self._record.trials_wanted

    @property
    def max_epochs(self) -> int:
        """Epochs of a complete trial."""
        return self._record.max_epochs

    @property
    def metric(self) -> str:
        """What the scores are: the `objective` of the search, such as `val_accuracy`, the share of the validation
        pictures that are classified rightly."""
        return self._record.spec.metric

    @property
    def best(self) -> Best | None:
        """The best epoch whose weights are kept, which `export` exports; None if there is none yet."""
        return self._record.best

    @property
    def front(self) -> list[Best]:
        """With several objectives the best trials, of which no other one is better in all; else empty."""
        return self._record.front

    def status(self) -> dict[str, Any]:
        """What `tuner status --json` prints (docs/json.md)."""
        return self._record.status()

    def refresh(self) -> Study:
        """Read it anew, and return it. Raises StudyNotFound if it was deleted, StoreError."""
        from tuner import launch

        with store(self._redis) as client:
            self._record = launch.load_study(client, self.name)
        return self

    def resume(
        self,
        *,
        trials: int | None = None,
        max_epochs: int | None = None,
        gpus: int | None = None,
        strict_gpus: bool = False,
        trials_per_gpu: PerGpu | None = None,
        workers: int | None = None,
        time_budget: str | float | None = None,
        budget: str | None = None,
        progress_timeout: str | float | None = None,
        wait: str | float | None = None,
        address: str | None = None,
        insecure: bool = False,
        progress: bool = True,
    ) -> Study:
        """Go on with it after any end, and return it: nothing finished is done again, what was in flight goes on.

        trials, budget: in all, what was done before included. max_epochs: more than before, the best trials go on as
        new ones. wait: so long for another driver of the study to end. The others are those of `search`.
        Raises LeaseHeld while another driver runs it, DataError if the data set changed, and what `search` raises.
        """
        from tuner import launch
        from tuner.request import resources_changed

        refuse_below_one(trials=trials, max_epochs=max_epochs)
        refuse_unless_whole(gpus=gpus, workers=workers)
        trials_per_gpu = parse_trials_per_gpu(trials_per_gpu)
        refuse_dashboard(address)
        time_budget_s, progress_timeout_s = parse_seconds(time_budget), parse_seconds(progress_timeout)
        with guest(), store(self._redis, insecure=insecure) as client:
            self._record, stop = launch.resume(
                self.name,
                client,
                load_settings(),
                console_for(progress),
                trials=trials,
                max_epochs=max_epochs,
                time_budget_s=time_budget_s,
                progress_timeout_s=progress_timeout_s,
                address=address,
                insecure=insecure,
                strict_gpus=strict_gpus,
                wait_s=parse_seconds(wait) or 0.0,
                change=resources_changed(gpus=gpus, trials_per_gpu=trials_per_gpu, workers=workers),
                budget=budget,
            )
        self._why_stopped = stop.why
        return self

    def stop(self, *, now: bool = False) -> bool:
        """Ask its driver to stop, wherever that runs: after the running epochs, or `now`. False if none runs it."""
        from tuner.store import catalog

        with store(self._redis) as client:
            return catalog.request_stop(client, self.name, now)

    def export(
        self,
        folder: str | Path,
        *,
        force: bool = False,
        formats: Sequence[str] = DEFAULT,
        half: str | None = None,
        quantize: str | None = None,
        max_drop: float = 0.5,
        confirm: int | None = None,
        seeds: int | None = None,
        prefer: str | Sequence[str] | None = None,
        refit: bool = False,
        gpus: int | None = None,
        trials_per_gpu: int | str | None = None,
        workers: int | None = None,
        address: str | None = None,
        insecure: bool = False,
        progress: bool = True,
    ) -> Exported:
        """Write the best model to `folder`, as `tuner export-best` does, measured once on the test split.

        force: replace an earlier export there. A search that still runs exports its best so far.
        formats: of "onnx", "pt2", "safetensors". half: "fp16" or "bf16", a second file of each; quantize: "int8", a
        further ONNX file; max_drop: points of accuracy on the test split that those may lose.
        confirm, seeds: train so many of the best configurations anew with so many seeds each (3 if one of the two is
        given), as a search would, and export the one with the highest mean; runs that the study has are not repeated.
        prefer: of several objectives, which trial of the front: "latency_ms", "latency_ms<=2", the number of a trial,
        or several limits; the best score unless given.
        gpus, trials_per_gpu, workers, address, insecure: for that, as for `resume`.
        refit: train the winner once more on training and validation pictures, here.
        Raises UsageError if the folder is not empty, ExportError if there is nothing to export or ONNX and PyTorch
        disagree, CheckpointError, DataError; with `confirm` also LeaseHeld while a driver runs the study, Interrupted,
        and what `resume` raises.
        """
        from tuner import launch
        from tuner.confirm import confirm as train_runs
        from tuner.databar import data_progress
        from tuner.export_folder import check_target
        from tuner.request import resources_changed

        wishes = (prefer,) if isinstance(prefer, str) else tuple(prefer or ())
        wanted, confirmation = Formats(tuple(formats), half, quantize, max_drop), _confirmation(confirm, seeds, wishes)
        target, console = absolute(folder, Path()), console_for(progress)
        refuse_unless_whole(gpus=gpus, workers=workers)
        per_gpu = parse_trials_per_gpu(trials_per_gpu)
        if confirmation is None and (gpus, per_gpu, workers) != (None, None, None):
            raise UsageError("gpus, trials-per-gpu and workers are for the runs of confirm: give that too")
        check_target(target, force)
        if confirmation is not None:
            with guest(), store(self._redis, insecure=insecure) as client:
                self._record = train_runs(
                    self.name,
                    client,
                    load_settings(),
                    console,
                    confirmation,
                    address=address,
                    insecure=insecure,
                    change=resources_changed(gpus=gpus, trials_per_gpu=per_gpu, workers=workers),
                )
        from tuner.export import export_best

        with store(self._redis) as client:
            return export_best(
                launch.load_study(client, self.name),
                target,
                cache=load_settings().cache,
                force=force,
                formats=wanted,
                say=lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True),
                reread=lambda: launch.load_study(client, self.name),
                confirmation=confirmation,
                prefer=wishes,
                refitting=(lambda: data_progress(console, self.name)) if refit else None,
            )


def _confirmation(confirm: int | None, seeds: int | None, prefer: tuple[str, ...]) -> Confirmation | None:
    """Both have a default if one of them is given. Raises UsageError for numbers out of range."""
    refuse_unless_whole(confirm=confirm, seeds=seeds)
    if confirm is None and seeds is None:
        return None
    default = Confirmation()
    return Confirmation(
        default.configurations if confirm is None else confirm, default.seeds if seeds is None else seeds, prefer
    )
