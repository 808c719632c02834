from pathlib import Path

import pytest

from tuner.settings import Settings, load_settings


def test_everything_is_under_one_home_unless_said_otherwise():
    settings = load_settings({"TUNER_HOME": "/somewhere"})
    assert settings == Settings(home=Path("/somewhere"), cache=Path("/somewhere/cache"))
    assert (settings.storage, settings.data_dir) == (Path("/somewhere/checkpoints"), Path("/somewhere/data"))


@pytest.mark.parametrize(("value", "on"), [("1", True), ("true", True), ("", False), ("0", False), ("No", False)])
def test_a_switch_is_off_when_it_says_so(value, on):
    settings = load_settings({"TUNER_DEBUG": value, "TUNER_LOGICAL_GPUS": value})
    assert (settings.debug, settings.logical_gpus) == (on, on)


def test_the_cache_may_be_elsewhere_and_paths_are_absolute():
    settings = load_settings({"TUNER_HOME": "~/t", "TUNER_CACHE": "scratch"})
    assert settings == Settings(home=Path.home() / "t", cache=Path.cwd() / "scratch")
