"""Nothing that the program reads is ever run: no pickle, no eval, nothing that hides one of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tuner"
MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml", "jsonpickle"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
# Functions that unpickle, and those that do so if they are allowed to.
CALLS = {"torch.load", "torch.jit.load", "torch.package", "numpy.loads", "pandas.read_pickle", "torch.hub.load"}
ARCHIVES = {"extractall", "extract", "unpack_archive"}


def offences(source: str) -> list[str]:
    """What `source` does that could run code out of data, as `line: what`."""
    tree = ast.parse(source)
    found = []
    # The one reader of other people's tensors: with this it builds tensors and containers, and nothing else.
    restricted = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call) and loads_weights_only(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node, alias.name) for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names]
            found += [(node, name) for name in names if base.split(".")[0] in MODULES or name in CALLS]
        elif isinstance(node, ast.Name) and node.id in BUILTINS:
            found.append((node, node.id))
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if (name in CALLS and node not in restricted) or name.startswith("builtins.") or node.attr in ARCHIVES:
                found.append((node, name))
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and not is_false(node.value):
            found.append((node.value, "allow_pickle"))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
            refuses = any(keyword.arg == "allow_pickle" for keyword in node.keywords)
            found += [] if refuses else [(node, "np.load without allow_pickle=False")]
    return [f"{node.lineno}: {what}" for node, what in found]


def loads_weights_only(node: ast.Call) -> bool:
    allowed = [keyword.value for keyword in node.keywords if keyword.arg == "weights_only"]
    return ast.unparse(node.func) == "torch.load" and any(
        isinstance(value, ast.Constant) and value.value is True for value in allowed
    )


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_runs_what_it_reads(path: Path) -> None:
    assert offences(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import marshal as m",
        "def f():\n    import shelve",
        "from yaml import load",
        "eval('1')",
        "run = exec",
        "import builtins\nbuiltins.eval('1')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "from torch import load",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        "tarfile.open(path).extractall()",
    ],
)
def test_the_test_above_finds(source: str) -> None:
    assert offences(source) != []


def test_the_test_above_allows_what_only_looks_like_it() -> None:
    assert offences("torch.load(path, weights_only=True)") == []
    assert offences("np.load(path, allow_pickle=False)\nmodel.eval()\nre.compile(text)\nobj.load(x)") == []
