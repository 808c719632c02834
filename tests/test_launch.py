"""What `tuner search` and `tuner resume` say when they are interrupted, and when there is a study to go on with."""

from __future__ import annotations

import io
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from tuner import launch, preparing
from tuner.errors import Interrupted
from tuner.request import SearchRequest
from tuner.settings import Settings
from tuner.slots import Slots
from tuner.spec import Resources
from tuner.store import catalog

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture
def search(redis_client, tmp_path, cache, monkeypatch):
    """`launch.search` on digits with no Ray: Ctrl-C comes where it would start (`at="ray"`) or leave (`at="end"`)."""

    def run(at: str):
        @contextmanager
        def ray(*_args):
            if at == "ray":
                raise KeyboardInterrupt
            yield Slots(count=1, cpus=1, gpus=0.0, threads=1), ""
            raise KeyboardInterrupt

        monkeypatch.setattr(preparing, "ray_ready", ray)
        monkeypatch.setattr(launch, "run_driver", lambda *_args, **_kwargs: None)
        resources = Resources(gpus=0, workers=1)
        request = SearchRequest("digits", resources, storage=tmp_path, data_dir=tmp_path, name="one")
        settings = Settings(home=tmp_path, cache=Path(cache))
        launch.search(request, redis_client, settings, Console(file=io.StringIO()))

    return run


def test_ctrl_c_while_ray_is_being_left_says_how_to_go_on(search, redis_client):
    with pytest.raises(Interrupted, match="go on with `tuner resume one`") as raised:
        search(at="end")
    assert raised.value.exit_code == 130
    assert catalog.newest(redis_client) == "one"


def test_ctrl_c_before_there_is_a_study_promises_none(search, redis_client):
    with pytest.raises(KeyboardInterrupt):
        search(at="ray")
    assert catalog.list_studies(redis_client) == []
