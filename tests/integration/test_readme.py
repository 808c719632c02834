"""Every command of the README, run in its order on a small copy of the layout that the page describes."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.integration]
ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [shlex.split(line, comments=True) for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
SPACE = next(text for kind, text in BLOCKS if kind == "toml")


def write_pictures(root: Path) -> None:
    """Ten classes, each of one colour: `cifar10/train/<class>/*.jpg` and `cifar10/test/<class>/*.jpg`."""
    generator = np.random.default_rng(0)
    for label in range(10):
        colour = generator.integers(0, 255, 3)
        for split, count in (("train", 16), ("test", 4)):
            folder = root / "cifar10" / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                noise = generator.integers(-30, 30, (32, 32, 3))
                pixels = np.clip(colour + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:04d}.jpg")


@pytest.fixture(scope="module")
def folder():
    """The folder that a reader stands in: pictures, the space of the README, a home of its own."""
    path = Path(tempfile.mkdtemp(prefix="tuner-readme-"))
    write_pictures(path / "pictures")
    (path / "my-space.toml").write_text(SPACE)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def environment(folder):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TUNER_", "RAY_"))}
    # The GPUs of the page's cluster are numbers only on a machine without.
    kept["TUNER_LOGICAL_GPUS"] = "1"
    # `--address auto` means the cluster of this page, whatever other tests start meanwhile.
    own = {"TUNER_HOME": str(folder / "home"), "RAY_TMPDIR": str(folder)}
    return {**kept, **own, "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}"}


class Cluster:
    """The README's `ray start`, in the foreground so that it can be ended by its process, on a port of its own."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        command = [*command, "--block", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
        self.log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        deadline_s = time.monotonic() + 60
        while "Ray runtime started" not in log.read_text():
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.2)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)


@pytest.mark.timeout(420)
def test_every_command_runs_in_the_order_of_the_page(folder, environment):
    cluster = None
    try:
        for command in COMMANDS:
            if command[0] == "make":
                subprocess.run([*command, "--dry-run"], cwd=ROOT, check=True, capture_output=True, timeout=30)
                continue
            if command[:2] == ["ray", "start"]:
                cluster = Cluster(command, environment, folder / "ray.log")
                continue
            if "auto" in command:
                assert cluster is not None
                command = [cluster.address if word == "auto" else word for word in command]
            result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180)
            assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
            if command[:2] == ["tuner", "export-best"]:
                check_export(folder / "best")
            if "--address" in command:
                assert "2 at once, 1 GPU each" in result.stdout
    finally:
        if cluster is not None:
            cluster.stop()
        subprocess.run(["tuner", "store", "stop"], cwd=folder, env=environment, check=True, timeout=60)


def check_export(exported: Path) -> None:
    metrics = json.loads((exported / "metrics.json").read_text())
    assert metrics["parity"]["images"] == 40
    assert metrics["accuracy"] > 0.5  # ten colours: chance is 0.1


def test_the_page_has_the_commands_that_a_newcomer_needs():
    first_words = {" ".join(command[:2]) for command in COMMANDS}
    assert {
        "make demo",
        "make test",
        "tuner search",
        "tuner status",
        "tuner export-best",
        "tuner resume",
    } <= first_words


def test_every_folder_of_the_repository_is_in_the_tree_and_the_other_way_round():
    tree = next(text for kind, text in BLOCKS if kind == "text" and text.startswith("tuner/"))
    listed = {line.split("/")[0] for line in tree.splitlines()}
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert listed == {path.split("/")[0] for path in files.splitlines() if "/" in path}


def test_every_linked_file_is_there():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.timeout(240)
def test_make_demo_ends_with_an_exported_model_that_reads_digits():
    result = subprocess.run(
        ["make", "demo", f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True, timeout=230
    )
    assert result.returncode == 0, result.stdout + result.stderr
    metrics = json.loads((ROOT / "demo" / "best" / "metrics.json").read_text())
    assert metrics["accuracy"] >= 0.97
    assert (ROOT / "demo" / "best" / "model.onnx").is_file()
    assert "model and model card:   demo/best/" in result.stdout.splitlines()
