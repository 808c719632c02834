"""Which module may import which heavy library, and which of our own packages: the architecture as a table."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tuner"
HEAVY = {
    "ray",
    "optuna",
    "redis",
    "torch",
    "torchvision",
    "sklearn",
    "onnx",
    "onnxruntime",
    "safetensors",
    "optuna_dashboard",
    "starlette",
    "plotly",
}

# Path prefix -> heavy libraries it may import, the longest prefix counts. Everything else may import none.
DOORS = {
    "store/": {"redis"},
    "store/journal.py": {"redis", "optuna"},
    "store/merged.py": {"optuna"},
    "search/": {"ray", "optuna"},
    "search/driver.py": {"ray", "redis", "optuna"},
    "search/snapshots.py": {"redis"},
    "worker.py": {"ray", "torch"},
    "submit.py": {"ray"},
    "jobs.py": {"ray", "redis"},
    "attach.py": {"redis", "optuna"},
    "cli/attaching.py": {"redis"},
    "cli/submitting.py": {"redis"},
    "nodes.py": {"ray"},
    "probe.py": {"ray"},
    "telemetry.py": {"ray"},
    "dashboard.py": {"optuna", "optuna_dashboard"},
    "space.py": {"optuna"},
    "study.py": {"optuna"},
    "snapshot.py": {"redis", "optuna"},
    "inprocess.py": {"redis", "optuna"},
    "launch.py": {"redis"},
    "confirm.py": {"redis"},
    "refit.py": {"torch"},
    "preparing.py": {"redis"},
    "dryrun.py": {"ray"},
    "chosen.py": {"torch", "safetensors"},
    "cli/options.py": {"redis"},
    "training/": {"torch", "torchvision", "sklearn", "safetensors"},
    "training/config.py": set(),
    "training/dataspec.py": set(),
    "training/checkpoint_ref.py": set(),
    "training/modelspec.py": set(),
    "doctor.py": {"torch"},
    "export": {"torch", "onnx", "onnxruntime", "safetensors"},
    "report/record.py": {"redis", "optuna"},
    "report/importance.py": {"optuna"},
    "report/sizes.py": {"torch"},
    "report/exported.py": {"torch"},
    "report/page.py": {"plotly"},
    "cli/looking.py": {"redis"},
    "bundle/": {"onnxruntime"},
    "bundle/explaining.py": {"torch"},
    "bundle/writing.py": {"torch", "onnx", "onnxruntime", "safetensors"},
    "bundle/checking.py": {"torch"},
    "bundle/answering.py": {"starlette"},
    "bundle/serving.py": {"ray", "starlette"},
    "cli/serving.py": {"ray"},
}
# Path prefix -> packages of ours that it may not import.
FORBIDDEN = {
    "training/": ["tuner.store", "tuner.search", "tuner.worker", "tuner.study", "tuner.spec", "tuner.cli"],
    "store/": ["tuner.search", "tuner.training", "tuner.worker", "tuner.study", "tuner.spec", "tuner.cli"],
    "search/": ["tuner.cli", "tuner.launch", "tuner.export", "tuner.progress"],
    "export": ["tuner.search", "tuner.store", "tuner.worker", "tuner.cli"],
    "report/": ["tuner.search", "tuner.worker", "tuner.launch", "tuner.cli"],
    "bundle/": ["tuner.search", "tuner.store", "tuner.worker", "tuner.cli"],
    "asha.py": ["tuner."],
    "": ["tuner.cli"],
}
PURE = "tuner.direction."  # which everybody may know
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imports_of(module: str) -> set[str]:
    tree = ast.parse((PACKAGE / module).read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", MODULES)
def test_heavy_libraries_come_in_by_their_doors_only(module):
    prefix = max((door for door in DOORS if module.startswith(door)), key=len, default=None)
    allowed = DOORS[prefix] if prefix is not None else set()
    assert {name.split(".")[0] for name in imports_of(module)} & HEAVY <= allowed


@pytest.mark.parametrize("module", [module for module in MODULES if not module.startswith(("cli/", "__main__"))])
def test_imports_go_one_way(module):
    banned = [name for prefix, names in FORBIDDEN.items() if module.startswith(prefix) for name in names]
    found = [name for name in imports_of(module) if any(f"{name}.".startswith(ban) for ban in banned)]
    assert [name for name in found if not name.startswith(PURE)] == []


@pytest.mark.parametrize("module", ["tuner.cli", "tuner.progress", "tuner.spec", "tuner.study", "tuner.asha"])
def test_importing_it_loads_neither_ray_nor_torch_nor_optuna(module):
    code = f"import sys, {module}; print(sorted({{'ray', 'torch', 'optuna', 'redis'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "[]", result.stderr


def test_help_answers_at_once():
    # Of CPU time, which other work on the machine does not stretch.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "tuner", "--help"], check=True, capture_output=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
