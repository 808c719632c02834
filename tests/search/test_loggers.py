"""`--log`: what Ray Tune's callbacks are told is our trials and epochs, and what goes wrong there ends no search."""

from __future__ import annotations

import pickle
import struct
from types import SimpleNamespace

import pytest

from tests.factories import new_space, new_spec
from tuner.errors import UsageError
from tuner.exchange import Assignment, Failure, Report
from tuner.search import loggers
from tuner.search.loggers import EpochLogger, new_loggers, refuse_missing

PARAMS = {"lr": 0.01, "width": 32, "norm": "batch"}


class Told:
    """A callback of Tune's that remembers."""

    def __init__(self, fails=""):
        self.calls = []
        self.fails = fails

    def _call(self, *call):
        self.calls.append(call)
        if call[0] == self.fails:
            raise OSError("disk full")

    def setup(self, **info):
        self._call("setup")

    def log_trial_start(self, run):
        self._call("start", str(run), run.config)

    def log_trial_result(self, iteration, run, result):
        self._call("result", iteration, str(run), result)

    def log_trial_end(self, run, failed):
        self._call("end", str(run), failed)


def attempt(number, attempt=1):
    """What Tune calls a trial."""
    return SimpleNamespace(config=vars(Assignment(number, attempt, PARAMS)), local_path="/throw-away")


def epoch_of(number, score=0.5):
    return {"report": Report(epoch=number, score=score, train_loss=1.0, val_loss=float("nan"), seconds=2.0), "slot": 0}


def new_logger(tmp_path, told):
    spec = new_spec(space=new_space(constants={"batch_size": 64}))
    return EpochLogger("somewhere", spec, told, tmp_path)


def test_all_attempts_at_a_trial_are_one_run_with_its_parameters_and_epochs(tmp_path):
    told = Told()
    logger = new_logger(tmp_path, told)
    logger.setup()
    for number in (1, 2):
        again = attempt(3, number)
        logger.on_trial_start(1, [], again)
        logger.on_trial_result(1, [], again, epoch_of(number))
        logger.on_trial_error(1, [], again) if number == 1 else logger.on_trial_complete(1, [], again)
    run, values = "trial-0003", {"val_accuracy": 0.5, "train_loss": 1.0, "seconds": 2.0}
    begins = ("start", run, {"batch_size": 64, **PARAMS})
    assert told.calls == [
        ("setup",),
        begins,
        ("result", 1, run, {**values, "training_iteration": 1}),
        ("end", run, True),
        begins,
        ("result", 2, run, {**values, "training_iteration": 2}),
        ("end", run, False),
    ]
    assert pickle.loads(pickle.dumps(logger)) is not None  # noqa: S301 - of what was just made here


def test_an_epoch_that_failed_is_no_number(tmp_path):
    told = Told()
    logger = new_logger(tmp_path, told)
    logger.on_trial_result(1, [], attempt(0), {"report": Failure("diverged", "nan"), "slot": 0})
    assert told.calls == []


@pytest.mark.parametrize("fails", ["setup", "start", "result", "end"])
def test_an_error_is_said_once_and_ends_the_logging_alone(tmp_path, caplog, fails):
    told = Told(fails)
    logger = new_logger(tmp_path, told)
    logger.setup()
    for number in range(2):
        logger.on_trial_start(1, [], attempt(number))
        logger.on_trial_result(1, [], attempt(number), epoch_of(1))
        logger.on_trial_complete(1, [], attempt(number))
    assert [record.getMessage() for record in caplog.records] == [
        "writing to somewhere failed (OSError: disk full); the search goes on without it"
    ]
    assert told.calls[-1][0] == fails


def test_tensorboard_files_lie_beside_the_checkpoints(tmp_path):
    spec = new_spec(storage=str(tmp_path), log=("tensorboard",))
    (logger,) = new_loggers(spec)
    logger.setup()
    logger.on_trial_start(1, [], attempt(0))
    logger.on_trial_result(1, [], attempt(0), epoch_of(4, 0.75))
    logger.on_trial_complete(1, [], attempt(0))
    (events,) = (tmp_path / "test" / "tensorboard" / "trial-0000").iterdir()
    assert (4, "ray/tune/val_accuracy", 0.75) in read_events(events)
    assert any(tag == "_hparams_/experiment" for _, tag, _ in read_events(events))


def read_events(path):
    """(step, tag, value) of each value in an event file: records of length (8 bytes), CRC (4), content, CRC (4)."""
    from tensorboardX.proto.event_pb2 import Event

    content, place, found = path.read_bytes(), 0, []
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        event = Event.FromString(content[place + 12 : place + 12 + length])
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        place += 16 + length
    return found


def test_what_is_not_known_or_not_installed_is_refused(monkeypatch):
    refuse_missing(("tensorboard",))
    with pytest.raises(UsageError, match="--log wandb is not known: give tensorboard or mlflow"):
        refuse_missing(("wandb",))
    monkeypatch.setattr(loggers, "find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=r"--log mlflow needs the package mlflow: pip install 'tuner\[mlflow\]'"):
        refuse_missing(("mlflow",))
    with pytest.raises(UsageError, match="log = 'wandb' is not known"):
        new_spec(log=("wandb",))


def test_mlflow_is_told_where_nothing_is_said_to_use_a_file_beside_the_checkpoints(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow is not installed: pip install 'tuner[mlflow]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (logger,) = new_loggers(new_spec(storage=str(tmp_path), log=("mlflow",)))
    (tmp_path / "test").mkdir()
    logger.setup()
    logger.on_trial_start(1, [], attempt(0))
    logger.on_trial_result(1, [], attempt(0), epoch_of(1))
    logger.on_trial_complete(1, [], attempt(0))
    assert (tmp_path / "test" / "mlflow.db").exists()
