"""cluster/ray-up.yaml and cluster/on-premise.yaml: by the installed Ray's own reading of such files."""

from __future__ import annotations

import itertools
import re
import shlex

import jsonschema
import pytest
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.deploy.files import ROOT, image_environment, ray_up

NAMES = ("ray-up", "on-premise")
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


@pytest.fixture(params=NAMES)
def name(request, monkeypatch):
    monkeypatch.chdir(ROOT)  # files to copy are named from the root
    return request.param


def test_ray_reads_it(name):
    config = prepare_config(ray_up(name))
    validate_config(config)
    assert config["max_workers"] == (8 if name == "ray-up" else 2)


def test_ray_refuses_a_mistyped_key(name):
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config({**ray_up(name), "head_start_rays_commands": []}))


def test_ray_adds_no_command_of_its_own(name):
    # Its defaults for AWS install a development version of Ray.
    written, prepared = ray_up(name), prepare_config(ray_up(name))
    for key in COMMANDS:
        own = [*written.get("setup_commands", []), *written.get(key, [])] if key.endswith("setup_commands") else None
        assert set(prepared[key]) <= set(written.get(key, []) if own is None else own), key


def test_the_files_that_are_copied_are_there_and_the_secret_ones_are_not_in_the_repository(name):
    local = list(ray_up(name)["file_mounts"].values())
    secret = [path for path in local if path.startswith("~")]
    assert secret == ["~/.config/tuner-cluster"]
    assert [path for path in local if path not in secret and not (ROOT / path).exists()] == []


def test_head_and_workers_agree_about_the_port_and_redis_has_another(name):
    config = ray_up(name)
    head, worker = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    assert re.search(r"--head --port=6380 ", head)
    assert "--address=$RAY_HEAD_IP:6380" in worker
    (redis,) = [command for command in config["head_start_ray_commands"] if "redis-server" in command]
    assert "--port" not in redis  # redis.conf's
    assert re.search(r"^port 6379$", (ROOT / "cluster/kubernetes/redis.conf").read_text(), flags=re.MULTILINE)


def test_redis_and_the_dashboard_listen_on_the_head_itself_only(name):
    commands = ray_up(name)["head_start_ray_commands"]
    assert [command.count("--bind 127.0.0.1") for command in commands if "redis-server" in command] == [1]
    assert [command.count("--dashboard-host=127.0.0.1") for command in commands if "--head" in command] == [1]


def test_cloud_workers_are_spot_instances_with_gpus_and_the_head_is_neither():
    types = ray_up("ray-up")["available_node_types"]
    assert types["gpu"]["resources"]["GPU"] == 1
    assert types["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert types["gpu"]["min_workers"] == 0
    assert "InstanceMarketOptions" not in types["head"]["node_config"]
    assert types["head"]["resources"] == {"CPU": 0, "GPU": 0}


def test_the_container_of_cloud_machines_sees_the_folders_of_the_image():
    docker = ray_up("ray-up")["docker"]
    options = shlex.split(" ".join([*docker["run_options"], *docker["head_run_options"]]))
    inside = {word.split(":")[1] for flag, word in itertools.pairwise(options) if flag == "--volume"}
    assert inside == {"/shared", image_environment()["TUNER_CACHE"], "/data"}
    assert "--cap-drop=ALL" in options
    assert "--privileged" not in options
