"""The Dockerfile carried out without a container: its COPY and RUN under a folder that stands for `/`."""

from __future__ import annotations

import glob
import os
import re
import shlex
import shutil
import site
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.files import ROOT, dockerfile, image_environment

# Folders of the image that the Dockerfile or the services name.
FOLDERS = (
    "source",
    "dist",
    "opt/tuner",
    "shared",
    "var/cache/tuner",
    "usr/local/bin",
    "run/secrets",
    "var/lib/gpus",
    "data",
    "etc/redis",
)
# Only root in a Debian image can do these.
NOT_HERE = ("apt-get ", "useradd ")


@dataclass(frozen=True)
class Image:
    """`root` stands for `/`, `python` for the image's Python, a virtual environment."""

    root: Path
    python: Path
    environment: dict[str, str]
    ran: tuple[str, ...]

    def inside(self, text: str) -> str:
        """`text` with the image's folders replaced by those under `root`."""
        return inside(self.root, text)


def inside(root: Path, text: str) -> str:
    return re.sub(rf"(?<![\w./~-])/({'|'.join(FOLDERS)})\b", lambda match: f"{root}/{match[1]}", text)


def build(folder: Path) -> Image:
    """All stages in one root: they use different folders. Raises CalledProcessError if a command fails."""
    root = folder / "root"
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
    python = new_environment(folder / "venv")
    kept = {key: os.environ[key] for key in ("HOME", "LANG", "TMPDIR") if key in os.environ}
    path = f"{python.parent}:{root / 'usr/local/bin'}:{os.environ['PATH']}"
    # Whatever is missing here must fail, not be downloaded.
    environment = {
        **kept,
        "PATH": path,
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_CACHE_DIR": "1",
    }
    cwd, ran = root, []
    for kind, rest in dockerfile():
        if kind == "WORKDIR" and rest.startswith("/source"):
            cwd = root / "source"
        elif kind == "COPY":
            copy(root, cwd, rest)
        elif kind == "RUN" and not rest.startswith(NOT_HERE):
            subprocess.run(
                ["sh", "-c", inside(root, rest)],
                cwd=cwd,
                env=environment,
                check=True,
                capture_output=True,
                text=True,
                timeout=120,
            )
            ran.append(rest)
    set_by_image = {name: inside(root, value) for name, value in image_environment().items()}
    return Image(root, python, {**kept, "PATH": path, **set_by_image}, tuple(ran))


def copy(root: Path, cwd: Path, arguments: str) -> None:
    """COPY from the checkout or from another stage."""
    words = shlex.split(arguments)
    options = [word for word in words if word.startswith("--")]
    *sources, target = [word for word in words if word not in options]
    from_stage = any(option.startswith("--from") for option in options)
    to = Path(inside(root, target)) if target.startswith("/") else cwd / target
    for pattern in sources:
        found = glob.glob(inside(root, pattern)) if from_stage else [str(ROOT / pattern)]
        assert found, f"COPY {arguments}: nothing is at {pattern}"
        for path in map(Path, found):
            if path.is_dir():
                shutil.copytree(path, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, to)


def new_environment(folder: Path) -> Path:
    """An environment without the project, where everything that it depends on is installed already; gives its Python.

    5 GB of wheels are not downloaded for a test: links to the packages of the environment that runs it stand for them,
    less the project itself. pip sees them as installed, with their versions.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "python"], check=True, timeout=60)
    python = folder / "python" / "bin" / "python"
    packages = folder / "packages"
    packages.mkdir()
    here = next(Path(path) for path in site.getsitepackages() if "site-packages" in path)
    for entry in here.iterdir():
        if not entry.name.startswith(("tuner", "__editable__")) and entry.suffix != ".pth":
            (packages / entry.name).symlink_to(entry)
    (own,) = (folder / "python" / "lib").glob("python*/site-packages")
    (own / "dependencies.pth").write_text(f"import sys; sys.path.append({str(packages)!r})\n")
    for name in ("pip", "ray", "redis-server", "redis-cli"):
        program = Path(sys.executable).parent / name
        text = program.read_bytes()
        if text.startswith(b"#!"):  # a script names its Python
            text = b"#!" + str(python).encode() + b"\n" + text.split(b"\n", 1)[1]
        (python.parent / name).write_bytes(text)
        (python.parent / name).chmod(0o755)
    return python
