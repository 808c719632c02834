"""`--trials-per-gpu auto` with a real Ray whose two GPUs are numbers; what trials hold on them is pretended."""

from __future__ import annotations

import warnings

import optuna
import pytest
import ray
from optuna.storages import JournalStorage

from tests.factories import new_spec
from tests.replay import Watcher, read_ledger
from tests.sharing import GPU_BYTES, SURPRISING, TOO_LARGE, Sharing
from tuner.search import driver
from tuner.spec import Resources
from tuner.store import catalog
from tuner.store.journal import RedisJournal
from tuner.submit import ray_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def slots():
    """Two GPUs with four cores each, so that at most four trials share one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        ray.init(address="local", num_cpus=8, num_gpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with ray_cluster(None, Resources(gpus=2, trials_per_gpu="auto")) as counted:
            yield counted[0]
    finally:
        ray.shutdown()


def test_trials_share_gpus_by_what_they_hold_back_off_where_that_was_too_much_and_none_is_lost(
    redis_client, slots, tmp_path
):
    spec = new_spec(storage=str(tmp_path / "storage"), trials=7, max_epochs=3, grace_period=3, sampler="random")
    catalog.create_study(redis_client, spec.name, spec.to_json())
    study, _ = driver.run(spec, redis_client, slots, cache=tmp_path, show=Watcher().show, trainable=Sharing)

    assert (slots.count, slots.smallest_part) == (2, 0.25)
    reasons = {trial.number: trial.reason for trial in study.trials if trial.state != "complete"}
    assert reasons == {TOO_LARGE: {"kind": "out_of_memory", "detail": "tried to allocate 48 GiB"}}
    assert study.finished == 7

    rows = [line.split() for line in (tmp_path / "seen").read_text().splitlines()]
    assert max(int(sharing) for _, sharing, *_ in rows) >= 2
    assert max(int(held) for _, _, held, *_ in rows) <= GPU_BYTES
    assert {gpu for gpu, *_ in rows} == {"0", "1"}
    alone = {int(number) for _, _, _, number, part in rows if float(part) == 1}
    assert {0, 1} <= alone, "nothing was known of the first ones"

    stored = optuna.load_study(study_name=spec.name, storage=JournalStorage(RedisJournal(redis_client, spec.name)))
    attributes = [trial.user_attrs for trial in stored.trials]
    parts = [attributes[SURPRISING][f"attempt:{attempt}"]["gpus"] for attempt in (1, 2)]
    assert parts[1] == 2 * parts[0] < 1
    assert attributes[SURPRISING]["restarts"] == [
        f"out of memory in 1/{1 / parts[0]:.0f} of a GPU (tried to allocate 9 GiB): goes on in 1/2 of a GPU"
    ]
    assert attributes[SURPRISING]["least_part"] == 0.5
    assert not any("losses" in values for values in attributes)
    trained = [(number, epoch) for number, _, epoch, _ in read_ledger(tmp_path / "ledger")]
    assert len(trained) == len(set(trained)) == 6 * 3, "no epoch was trained twice"
