"""docker/compose.yaml, as far as that can be told without a container engine."""

from __future__ import annotations

import jsonschema
import pytest

from tests.deploy.files import compose, dockerfile, image_environment, schema

SERVICES = compose()["services"]
VALIDATOR = jsonschema.Draft7Validator(schema("compose-spec"))


def test_it_is_what_the_compose_specification_allows():
    VALIDATOR.validate(compose())


def test_the_schema_refuses_a_mistyped_key():
    wrong = compose()
    wrong["services"]["redis"]["helthcheck"] = {}
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(wrong)


def test_a_plain_up_starts_redis_head_and_workers_only():
    assert [name for name, service in SERVICES.items() if not service.get("profiles")] == [
        "redis",
        "ray-head",
        "worker",
    ]


def test_redis_is_not_published_and_all_else_to_this_machine_only():
    assert "ports" not in SERVICES["redis"]
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []
    numbers = [port.split(":")[1] for port in published]
    assert len(set(numbers)) == len(numbers)


def test_names_that_services_refer_to_are_there():
    whole = compose()
    for service in SERVICES.values():
        assert set(service.get("secrets", [])) <= set(whole["secrets"])
        assert {config["source"] for config in service.get("configs", [])} <= set(whole["configs"])
        assert set(service.get("depends_on", [])) <= set(SERVICES)
        assert set(service["networks"]) <= set(whole["networks"])
        named = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert {volume for volume in named if not volume.startswith(".")} <= set(whole["volumes"])


def test_each_secret_is_mounted_where_it_is_read():
    for name, service in SERVICES.items():
        text = str(service)
        for secret in compose()["secrets"]:
            assert (f"/run/secrets/{secret}" in text) <= (secret in service.get("secrets", [])), name
    # Redis' password is for those who speak with Redis: training code has no business with it.
    assert {name for name, service in SERVICES.items() if "redis_password" in service.get("secrets", [])} == {
        "redis",
        "ray-head",
        "dashboard",
    }


def test_no_service_is_root_or_may_become_it():
    image_user = next(rest for kind, rest in reversed(dockerfile()) if kind == "USER")
    for name, service in SERVICES.items():
        user = service.get("user", image_user if service["image"].startswith("tuner:") else "root")
        assert user.split(":")[0] not in ("root", "0"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_whatever_waits_for_another_waits_until_that_is_healthy():
    for name, service in SERVICES.items():
        if not service["image"].startswith("tuner:"):
            continue
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, name
            assert "healthcheck" in SERVICES[other]


def test_workers_reserve_gpus_and_share_the_folders_of_the_image():
    (device,) = SERVICES["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    environment = image_environment()
    for name in ("ray-head", "worker", "worker-cpu"):
        mounted = {volume.split(":")[1] for volume in SERVICES[name]["volumes"]}
        assert {"/shared", environment["TUNER_CACHE"]} <= mounted
    assert environment["TUNER_STORAGE"].startswith("/shared/")
    assert environment["TUNER_DATA_DIR"].startswith("/shared/")


def test_workers_lock_gpus_in_a_volume_that_is_mounted_there():
    assert SERVICES["worker"]["command"][:2] == ["start-worker", "/var/lib/gpus"]
    assert "gpus:/var/lib/gpus" in SERVICES["worker"]["volumes"]


def test_the_image_has_the_folders_of_its_volumes_for_its_user():
    # A new volume takes over the owner of the folder that it covers; of one that is not there that is root.
    made = next(rest for kind, rest in dockerfile() if "install --directory --owner=tuner" in rest).split()
    for name, service in SERVICES.items():
        if service["image"].startswith("tuner:"):
            assert {volume.split(":")[1] for volume in service.get("volumes", [])} <= set(made), name
