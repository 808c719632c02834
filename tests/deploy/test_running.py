"""The commands of the image and of its services, carried out without containers: a search runs on what they start."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.files import ROOT, VERSION, compose, dockerfile, documents, pod_specs
from tests.deploy.image import Image, build
from tuner.errors import StoreError
from tuner.store import client

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
SERVICES = compose()["services"]
SECRETS = {name: secrets.token_hex(32) for name in compose()["secrets"]}


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    folder = Path(tempfile.mkdtemp(prefix="tuner-image-"))  # not tmp_path: a socket's path must be short
    try:
        built = build(folder)
        for name, value in SECRETS.items():
            (built.root / "run/secrets" / name).write_text(value)
        shutil.copy(ROOT / "cluster/kubernetes/redis.conf", built.root / "etc/redis")
        yield built
    finally:
        shutil.rmtree(folder)


def in_image(image: Image, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=image.root, env=image.environment, capture_output=True, text=True, timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Machine:
    """The services of the compose file as processes of this machine, on ports of their own."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.ports = {port: free_port() for port in ("6379", "6380", "8265", "8080", "8081", "52365")}
        self.processes: list[subprocess.Popen[str]] = []

    def here(self, text: str) -> str:
        """A text of the compose file, made for this machine. Compose writes `$$` for `$`."""
        text = re.sub(r"\b(redis|ray-head):(?=\d)", "127.0.0.1:", text.replace("$$", "$"))
        return re.sub(
            r"(?:(?<=[:=])|^)\d{4,5}\b", lambda match: str(self.ports.get(match[0], match[0])), self.image.inside(text)
        )

    def environment(self, service: str) -> dict[str, str]:
        own = {name: self.here(value) for name, value in SERVICES[service].get("environment", {}).items()}
        # Ray's files and `auto` apart from any other Ray of this machine.
        return {**self.image.environment, **own, "RAY_TMPDIR": str(self.image.root / "ray"), "TUNER_LOGICAL_GPUS": "1"}

    def run(self, service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What `docker compose exec SERVICE ARGUMENTS` would run."""
        return subprocess.run(
            arguments, env=self.environment(service), cwd=self.image.root, capture_output=True, text=True, timeout=120
        )

    def start(self, service: str, *more: str) -> subprocess.Popen[str]:
        command = [*map(self.here, map(str, SERVICES[service]["command"])), *more]
        log = (self.image.root / f"{service}.log").open("w")
        process = subprocess.Popen(
            command, env=self.environment(service), cwd=self.image.root, stdout=log, stderr=log, text=True
        )
        self.processes.append(process)
        return process

    def is_healthy(self, service: str) -> bool:
        """By the health check of the compose file."""
        kind, *command = map(self.here, SERVICES[service]["healthcheck"]["test"])
        command = ["sh", "-c", *command] if kind == "CMD-SHELL" else command
        return self.run(service, *map(self.checking, command)).returncode == 0

    def checking(self, text: str) -> str:
        """A health check on the ports of this machine."""
        text = text.replace("redis-cli ", f"redis-cli -p {self.ports['6379']} ")
        return re.sub(r"\b(52365|8265|8081)\b", lambda match: str(self.ports[match[0]]), text)

    def wait_until_healthy(self, service: str) -> None:
        deadline_s = time.monotonic() + 60
        while not self.is_healthy(service):
            assert self.processes[-1].poll() is None, (self.image.root / f"{service}.log").read_text()
            assert time.monotonic() < deadline_s, (self.image.root / f"{service}.log").read_text()
            time.sleep(0.3)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def machine(image: Image) -> Iterator[Machine]:
    """Redis, head and one worker, begun by the command lines of the compose file."""
    machine = Machine(image)
    try:
        # redis-server reads its port from redis.conf in the container; here it is one of its own.
        conf = image.root / "etc/redis/redis.conf"
        conf.write_text(conf.read_text().replace("port 6379", f"port {machine.ports['6379']}"))
        machine.start("redis")
        machine.wait_until_healthy("redis")
        # On one machine the two nodes' agents would want the same port.
        machine.start("ray-head", f"--dashboard-agent-listen-port={machine.ports['52365']}")
        machine.wait_until_healthy("ray-head")
        machine.start(
            "worker",
            "--num-cpus=2",
            "--num-gpus=1",
            "--dashboard-agent-listen-port=0",
            f"--metrics-export-port={free_port()}",
        )
        yield machine
    finally:
        machine.stop()


def test_the_dockerfile_builds_the_wheel_and_installs_it_with_its_dependencies(image):
    (wheel,) = (image.root / "opt/tuner").glob("*.whl")
    assert wheel.name == f"tuner-{VERSION}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert "tuner/search_spaces/digits.toml" in names
    requirements = (image.root / "opt/tuner/requirements.txt").read_text()
    assert {"ray[default,tune]", "torch", "optuna-dashboard"} <= {
        re.split("[<>=;]", line)[0] for line in requirements.splitlines()
    }
    assert in_image(image, "tuner", "--version").stdout.strip() == VERSION
    where = in_image(image, "python", "-c", "import tuner; print(tuner.__file__)").stdout
    assert where.startswith(str(image.python.parent.parent))
    not_run = [rest for kind, rest in dockerfile() if kind == "RUN" and rest not in image.ran]
    assert [rest.split()[0] for rest in not_run] == ["apt-get", "useradd"]


def test_a_package_that_the_pins_do_not_have_would_fail_the_build(image):
    result = in_image(
        image, "pip", "install", "--no-index", "-c", str(image.root / "opt/tuner/constraints.txt"), "ray==2.59"
    )
    assert result.returncode != 0


def test_redis_keeps_what_tuner_asks_for_and_its_password_is_on_no_command_line(machine):
    url = f"redis://:{SECRETS['redis_password']}@127.0.0.1:{machine.ports['6379']}"
    with client.connect(url) as connected:  # refuses one that may lose data
        assert connected.config_get("appendfsync")["appendfsync"] == "always"
    with pytest.raises(StoreError, match="refuses the user name or password"):
        client.connect(url.replace(SECRETS["redis_password"], "wrong"))
    (redis,) = [process for process in machine.processes if process.args[0] == "sh"]
    assert b"redis-server" in Path(f"/proc/{redis.pid}/cmdline").read_bytes()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert not any(secret.encode() in process.read_bytes() for secret in SECRETS.values())


def test_kubernetes_starts_redis_by_the_same_command(image):
    (container,) = pod_specs()["redis"]["containers"]
    ours = container["command"][2].replace("/run/secrets/redis/password", "/run/secrets/redis_password")
    assert ours == SERVICES["redis"]["command"][2].replace("$$", "$")


def test_the_health_check_of_the_image_is_true_of_a_ray_node(machine):
    (check,) = [rest for kind, rest in dockerfile() if kind == "HEALTHCHECK"]
    command = json.loads(check.split("CMD ", 1)[1])
    healthy = [machine.checking(word) for word in command]
    assert machine.run("ray-head", *healthy).returncode == 0
    assert machine.run("ray-head", *[word.replace("52365", str(free_port())) for word in command]).returncode != 0


def test_prometheus_finds_the_nodes_of_the_cluster_with_the_token_only(machine):
    (job,) = documents(ROOT / "cluster/monitoring/prometheus.yml")[0]["scrape_configs"]
    (discovery,) = job["http_sd_configs"]
    url = machine.here(discovery["url"])
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(url, timeout=10)
    token = Path(machine.image.inside(discovery["authorization"]["credentials_file"])).read_text()
    request = urllib.request.Request(url, headers={"Authorization": f"{discovery['authorization']['type']} {token}"})
    deadline_s = time.monotonic() + 30
    while True:  # Ray writes the list anew each 5 s
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.headers["Content-Type"].startswith("application/json")
            targets = [target for group in json.load(answer) for target in group["targets"]]
        if (
            len([target for target in targets if target.endswith(f":{machine.ports['8080']}")]) == 1
            and len(targets) >= 3
        ):
            break
        assert time.monotonic() < deadline_s, targets
        time.sleep(1)
    (head,) = [target for target in targets if target.endswith(f":{machine.ports['8080']}")]
    with urllib.request.urlopen(f"http://{head}/metrics", timeout=10) as answer:
        assert "\nray_" in answer.read().decode()


def test_the_search_of_the_page_runs_on_the_worker_and_is_kept_where_the_image_says(machine):
    lines = re.findall(
        r"docker compose exec ray-head (tuner search digits .*)", (ROOT / "docker/README.md").read_text()
    )
    search = [*shlex.split(lines[0]), "--trials", "2", "--max-epochs", "2", "--gpus", "1", "--name", "deployed"]
    result = machine.run("ray-head", *search)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 at once, 1 GPU each" in result.stdout
    status = json.loads(machine.run("ray-head", "tuner", "status", "deployed", "--json").stdout)
    assert sum(status["trials"].values()) == 2
    assert list((machine.image.root / "shared/checkpoints/deployed").rglob("*.safetensors"))
    machine.start("dashboard")
    machine.wait_until_healthy("dashboard")
    log = (machine.image.root / "worker.log").read_text()
    assert "start-worker: " in log
    for secret in SECRETS.values():
        assert secret not in result.stdout + result.stderr + log + (machine.image.root / "ray-head.log").read_text()


def test_without_the_token_nobody_joins(machine):
    other = machine.image.root / "run/secrets/other_token"
    other.write_text(secrets.token_hex(32))
    environment = {**machine.environment("ray-head"), "RAY_AUTH_TOKEN_PATH": str(other)}
    address = f"127.0.0.1:{machine.ports['6380']}"
    result = subprocess.run(
        ["ray", "status", "--address", address], env=environment, capture_output=True, text=True, timeout=60, cwd=os.sep
    )
    assert result.returncode != 0
