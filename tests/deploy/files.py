"""The deployable files as Python objects."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
KUBERNETES = ROOT / "cluster" / "kubernetes"
# Everything that is deployed or says how; the dashboard's JSON has tests of its own.
FILES = [
    ROOT / ".dockerignore",
    *(path for folder in ("docker", "cluster") for path in sorted((ROOT / folder).rglob("*")) if path.is_file()),
]
VERSION = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)[1]


def documents(path: Path) -> list[dict[str, Any]]:
    """The YAML documents of a file."""
    return list(yaml.safe_load_all(path.read_text()))


def compose() -> dict[str, Any]:
    return documents(ROOT / "docker" / "compose.yaml")[0]


def schema(name: str) -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "schemas" / f"{name}.json").read_text())


def resources() -> list[dict[str, Any]]:
    """All Kubernetes resources of the repository, the one that runs a search too; not the kustomization."""
    found = [part for path in sorted(KUBERNETES.glob("*.yaml")) for part in documents(path)]
    return [resource for resource in found if resource["kind"] != "Kustomization"]


def resource(kind: str, name: str | None = None) -> dict[str, Any]:
    (found,) = [r for r in resources() if r["kind"] == kind and name in (None, r["metadata"].get("name"))]
    return found


def pod_specs() -> dict[str, dict[str, Any]]:
    """What runs in Kubernetes, by what it is."""
    cluster = resource("RayCluster")["spec"]
    workers = {f"worker {group['groupName']}": group["template"]["spec"] for group in cluster["workerGroupSpecs"]}
    return {
        "redis": resource("StatefulSet")["spec"]["template"]["spec"],
        "head": cluster["headGroupSpec"]["template"]["spec"],
        **workers,
    }


def dockerfile() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    text = (ROOT / "docker" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines()]


def image_environment() -> dict[str, str]:
    """The variables that the image sets."""
    words = [word for kind, rest in dockerfile() if kind == "ENV" for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in words)


def ray_up(name: str) -> dict[str, Any]:
    return documents(ROOT / "cluster" / f"{name}.yaml")[0]


def command_lines(program: str) -> Iterator[tuple[str, list[str]]]:
    """Each command line of `program` in the deployable files, as arguments, with the file that has it.

    In YAML any text or list of words; in Markdown the lines of shell blocks.
    """
    for path in FILES:
        name = str(path.relative_to(ROOT))
        if path.suffix == ".md":
            blocks = re.findall(r"```sh\n(.*?)```", path.read_text(), flags=re.DOTALL)
            texts: list[Any] = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        elif path.suffix == ".yaml":
            texts = list(strings(documents(path)))
        elif path.suffix == ".sh":
            texts = path.read_text().splitlines()
        else:
            continue
        for text in texts:
            words = [str(word) for word in text] if isinstance(text, list) else None
            for line in [words] if words else _split(text):
                starts = [index for index, word in enumerate(line) if word == program and _begins(line, index)]
                if starts:
                    yield name, line[starts[0] + 1 :]


def _begins(line: list[str], index: int) -> bool:
    """Whether a command begins there: not the name of an image, a namespace or a service."""
    return index + 1 < len(line) and (index == 0 or line[index - 1] in ("--", "exec", "ray-head"))


def strings(value: Any) -> Iterator[Any]:
    """Every text in a YAML document, and every list of plain words, which may be a command."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        if all(isinstance(item, str | int) for item in value) and len(value) > 1:
            yield value
        for item in value:
            yield from strings(item)


def _split(text: str) -> list[list[str]]:
    """The commands of a shell text; what is no shell is split as well as can be."""
    found = []
    for command in re.split(r"\n|;|&&|\|\||\||\$\(", text):
        try:
            words = shlex.split(command, comments=True)
        except ValueError:  # a quotation mark of prose
            continue
        # `ray exec FILE 'tuner search ...'`: the last word is a command itself.
        words = [word for word in words if word != "$@"]
        found += [words, *(shlex.split(word) for word in words if word.startswith(("tuner ", "ray ")))]
    return found
