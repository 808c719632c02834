"""The wheel carries everything: built, installed into a fresh environment outside the checkout, and used there."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
ROOT = Path(__file__).parent.parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    result = subprocess.run(list(map(str, command)), cwd=cwd, env=kept, capture_output=True, text=True, timeout=150)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, because a build writes into its source folder.
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("tuner", "search_spaces", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_spaces_the_scripts_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "tuner/search_spaces/digits.toml" in names
    assert "tuner/store/append.lua" in names
    assert "tuner/report/assets/report.js" in names
    assert "tuner/py.typed" in names
    assert [name for name in names if name.startswith(("tests/", "benchmarks/", "docker/"))] == []


def test_the_installed_wheel_runs_from_its_own_files_and_lists_its_spaces(wheel, tmp_path):
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # The dependencies are large: those of this environment are used, after what the fresh one has itself. Only the
    # checkout, which this environment holds as an editable install, must not be seen.
    packages = next(Path(folder) for folder in site.getsitepackages() if "site-packages" in folder)
    paths = run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=tmp_path).strip()
    Path(paths, "dependencies.pth").write_text(f"import sys; sys.path.append({str(packages)!r})\n")
    where = run(python, "-c", "import tuner; print(tuner.__file__)", cwd=tmp_path).strip()
    assert where.startswith(str(environment))
    listed = run(environment / "bin" / "tuner", "spaces", "list", cwd=tmp_path)
    assert {line.split(":")[0] for line in listed.splitlines()} >= {"cifar10", "cifar10-small", "digits", "folder"}
