"""What `--confirm` refuses before anything is started."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.factories import new_spec
from tuner.confirm import confirm
from tuner.confirmed import Confirmation
from tuner.errors import ExportError, LeaseHeld, UsageError
from tuner.settings import load_settings
from tuner.store import catalog, lease


@pytest.fixture
def refused(redis_client):
    catalog.create_study(redis_client, "test", new_spec().to_json())

    def call(error, *, address=None):
        with pytest.raises(error) as caught:
            confirm(
                "test",
                redis_client,
                load_settings(),
                Console(file=io.StringIO()),
                Confirmation(),
                address=address,
                insecure=False,
                change=lambda resources: resources,
            )
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return call


def test_a_study_that_a_driver_runs(refused, redis_client):
    held = lease.acquire(redis_client, "test")
    assert "process" in refused(LeaseHeld)
    held.release()


def test_a_study_without_weights(refused):
    assert refused(ExportError) == "study test has no trained weights, so nothing to confirm: see `tuner trials test`"


def test_the_dashboard_of_a_cluster_with_what_to_do_instead(refused):
    line = refused(UsageError, address="http://head:8265")
    assert line.startswith("only search and resume can be submitted to http://head:8265: run this on a machine of the")
