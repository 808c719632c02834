"""The bundle alone: its own requirements in an empty environment are enough to predict."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from tuner.cli import app

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def wheels(names: list[str], folder: Path) -> None:
    """Pack installed packages, and what they need, into wheels again: as an index would have them, without one."""
    done: set[str] = set()
    while names:
        found = distribution(names.pop())
        if found.name in done:
            continue
        done.add(found.name)
        pack(found, folder)
        needed = [Requirement(text) for text in found.requires or ()]
        names += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]


def pack(found: Distribution, folder: Path) -> None:
    *_, tag = re.findall(r"^Tag: (.*)$", found.read_text("WHEEL") or "", re.MULTILINE)
    name = re.sub(r"[-_.]+", "_", found.name)
    with zipfile.ZipFile(folder / f"{name}-{found.version}-{tag}.whl", "w") as wheel:
        for file in found.files or ():
            if not str(file).startswith("..") and "__pycache__" not in file.parts:
                wheel.write(file.locate(), str(file))


def test_its_requirements_in_an_empty_environment_are_enough_to_say_what_tuner_predict_says(
    colour_bundle, odd_pictures, tmp_path
):
    requirements = (colour_bundle / "requirements.txt").read_text().split()
    assert all(re.fullmatch(r"(numpy|onnxruntime|pillow)==[\d.]+", line) for line in requirements)
    wheels([line.partition("==")[0] for line in requirements], tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, timeout=60)
    python = tmp_path / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-compile"]
    install += ["--find-links", tmp_path, "--requirement", colour_bundle / "requirements.txt"]
    installed = subprocess.run(list(map(str, install)), capture_output=True, text=True, timeout=150)
    assert installed.returncode == 0, installed.stderr
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    wanted = [str(odd_pictures[0].parent), str(tmp_path / "broken.png"), "--json"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ran = subprocess.run(
        [python, colour_bundle / "predict.py", *wanted],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    same = CliRunner().invoke(app, ["predict", str(colour_bundle), *wanted])
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, same.stdout, same.stderr)
    assert same.exit_code == 1
    assert ran.stdout.count('"predictions"') == len(odd_pictures)


def test_predict_py_imports_nothing_but_what_the_requirements_name(colour_bundle):
    tree = ast.parse((colour_bundle / "predict.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) == {"numpy", "onnxruntime", "PIL"}


def test_predict_py_refuses_what_it_cannot_use_in_one_line(colour_bundle, tmp_path):
    def run(*words: str) -> tuple[int, str]:
        command = [sys.executable, colour_bundle / "predict.py", *words]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return ran.returncode, ran.stderr.splitlines()[-1]

    (tmp_path / "empty").mkdir()
    assert run(str(tmp_path / "empty")) == (1, f"error: there are no pictures in {tmp_path / 'empty'}")
    assert run("x.png", "--model", "nowhere.onnx") == (1, "error: there is no file nowhere.onnx")
    code, line = run("x.png", "--top", "0")
    assert (code, line.partition(": ")[2]) == (2, "error: argument --top: 0 is too small: it must be at least 1")
