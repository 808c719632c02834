"""A network by a function of the user's: how its module is found, imported and called, and what it is made of."""

from __future__ import annotations

import ast
import hashlib
import importlib
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import tuner
from tuner.errors import CheckpointError, UsageError, first_line
from tuner.training.config import Hyperparameters, Value
from tuner.training.models import load_state
from tuner.training.modelspec import ModelSpec

BuildFunction = Callable[[dict[str, Value], tuple[int, int, int], int], nn.Module]

# Top-level modules that were imported for a study: the only ones that may be imported anew from elsewhere.
_imported: set[str] = set()


def import_here(name: str, folder: Path) -> BuildFunction:
    """The function `package.module:function`, of a module below `folder` or of an installed one.

    A module below `folder` is imported anew, as it is now. Raises UsageError in one line if there is no such module or
    function, or if importing it fails, with the error of the user's code as its cause.
    """
    module, _, attribute = name.partition(":")
    if module == "__main__":
        raise UsageError(
            f"--model {name}: workers cannot import what is in the program itself or in a notebook: put the function "
            f"into a file, such as mynet.py, and name it mynet:{attribute}"
        )
    _make_room(module, folder)
    try:
        function = getattr(_import(module, folder), attribute)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise UsageError(
                f"--model {name}: there is no module {error.name!r}, neither in {folder} nor installed"
            ) from error
        raise UsageError(f"--model {name} cannot be imported: {describe_error(error, folder)}") from error
    except AttributeError as error:
        if error.name != attribute:
            raise UsageError(f"--model {name} cannot be imported: {describe_error(error, folder)}") from error
        raise UsageError(f"--model {name}: {module} has no function {attribute!r}") from error
    except (Exception, SystemExit) as error:  # whatever the user's module does
        raise UsageError(f"--model {name} cannot be imported: {describe_error(error, folder)}") from error
    if not callable(function):
        raise UsageError(f"--model {name}: {attribute} is of type {type(function).__name__}, not a function")
    return function  # type: ignore[no-any-return]


def import_kept(spec: ModelSpec, folder: Path) -> BuildFunction:
    """The function of a study from the sources that it keeps in `folder`, as they were when it began.

    A module that the study does not keep is an installed one, which must be the one that it began with. Raises
    CheckpointError if a kept file is missing or changed, UsageError if an installed module changed, and what
    `import_here` raises.
    """
    verify_kept(spec, folder)
    for path in spec.files:
        # Also what it imports from its side is to be the kept one.
        sys.modules.pop(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."), None)
    function = import_here(spec.name, folder)
    found = source_sha256(spec.module)
    if found != spec.sha256:
        raise UsageError(
            f"{sys.modules[spec.module].__file__} is not the source of {spec.name} that the study began with (SHA-256 "
            f"{found[:12]}..., not {spec.sha256[:12]}...): install that version, or start a new study"
        )
    return function


def verify_kept(spec: ModelSpec, folder: Path) -> None:
    """Raise CheckpointError if a file that the study keeps is missing or has changed."""
    for path, sha256 in spec.files.items():
        try:
            found = hashlib.sha256((folder / path).read_bytes()).hexdigest()
        except OSError as error:
            raise CheckpointError(f"cannot read {folder / path}: {error.strerror or error}; put it back") from None
        if found != sha256:
            raise CheckpointError(f"{folder / path} has changed since its study began: put back what was there")


def source_sha256(module: str) -> str:
    """Of the file that an imported module came from. Raises UsageError for one that came from none."""
    file = getattr(sys.modules[module], "__file__", None)
    if file is None:
        raise UsageError(f"--model {module}: {module} is not read from a file, so no study could keep what it is")
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def local_sources(folder: Path) -> dict[str, bytes]:
    """The sources below `folder` that are imported now, or by a statement in one of those that has not been reached
    yet, by their paths in it; not those of installed packages."""
    program = Path(tuner.__file__).parent
    files = [getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name != "__main__"]
    waiting = [Path(file) for file in files if isinstance(file, str)]
    found: dict[str, bytes] = {}
    while waiting:
        path = waiting.pop()
        if path.suffix != ".py" or not path.is_relative_to(folder) or path.is_relative_to(program):
            continue
        inside = path.relative_to(folder)
        if {"site-packages", "dist-packages"} & set(inside.parts) or inside.as_posix() in found:
            continue
        found[inside.as_posix()] = path.read_bytes()
        waiting += [folder / other for other in _named_in(found[inside.as_posix()], inside, folder)]
    return dict(sorted(found.items()))


def _named_in(source: bytes, path: Path, folder: Path) -> set[Path]:
    """The files below `folder` that the import statements of the module at `path` name, wherever they stand in it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # not reached so far; a trial that reaches it says so
        return set()
    named = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.parts[: -node.level] if node.level else ()
            module = (*package, *(node.module.split(".") if node.module else ()))
            named |= {(*module, alias.name) for alias in node.names}
    found = set()
    for parts in named:
        # Python prefers what it has: a file of the name of such a module is not what the statement gives.
        loaded = getattr(sys.modules.get(parts[0]), "__file__", None)
        if parts[0] in sys.stdlib_module_names or (loaded and not Path(loaded).is_relative_to(folder)):
            continue
        for end in range(1, len(parts) + 1):
            stem = Path(*parts[:end])
            found |= {file for file in (stem.with_suffix(".py"), stem / "__init__.py") if (folder / file).is_file()}
    return found


def describe_error(error: BaseException, folder: Path) -> str:
    """An error of the user's code in one line, with the innermost place in `folder` that it passed."""
    text = f"{type(error).__name__}: {first_line(error)}"
    if isinstance(error, SyntaxError):
        return text  # says where itself
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)
    ]
    return f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else text


class OwnNetwork:
    """What `TrialTrainer` needs to know of such a network; see `networks.Architecture`.

    spec: its name and source; function: what builds it.
    """

    # Tutorials reshape by `view`, which fails on channels-last activations.
    channels_last = False

    def __init__(self, spec: ModelSpec, function: BuildFunction) -> None:
        self.spec = spec
        self.function = function

    def build(
        self, hp: Hyperparameters, params: Mapping[str, Value], input_shape: tuple[int, int, int], classes: int
    ) -> nn.Module:
        """Call the function with `params`. Raises what it raises; UsageError if it gives no network of that shape."""
        if hp.frozen_epochs:
            raise UsageError(
                f"frozen_epochs = {hp.frozen_epochs} is for torchvision networks, not for {self.spec.name}"
            )
        network = self.function(dict(params), input_shape, classes)
        if not isinstance(network, nn.Module):
            raise UsageError(f"{self.spec.name} returned a {type(network).__name__}, not a torch.nn.Module")
        network.register_forward_pre_hook(_in_plain_memory)
        check_output(self.spec.name, network, input_shape, classes)
        return network

    def normalisation(self, channels: int) -> None:
        """The data set's own."""

    def head(self, network: nn.Module) -> None:
        """Not known."""


def check_output(name: str, network: nn.Module, input_shape: tuple[int, int, int], classes: int) -> None:
    """Put two pictures through, in the network's mode of evaluation. Labels beyond its logits would end a process that
    trains on a GPU. Raises UsageError if the output is no float N x K."""
    network.eval()
    with torch.no_grad():
        check_logits(name, network(torch.zeros(2, *input_shape)), classes)


def check_logits(name: str, logits: Any, classes: int) -> None:
    """Raise UsageError unless `logits`, of two pictures, is a float tensor 2 x `classes`."""
    if not isinstance(logits, Tensor):
        raise UsageError(f"the network of {name} gives a {type(logits).__name__}, not a tensor of logits N x {classes}")
    if tuple(logits.shape) != (2, classes) or not logits.is_floating_point():
        shape = " x ".join(map(str, logits.shape)) or "a single number"
        raise UsageError(
            f"the network of {name} gives {shape} ({str(logits.dtype).removeprefix('torch.')}) for 2 pictures: it must "
            f"give logits, float N x {classes}"
        )


def check_training(name: str, network: nn.Module, input_shape: tuple[int, int, int], classes: int) -> None:
    """Whether a network can be trained, and saved on the way. Raises UsageError if it gives other logits in training
    than N x K, learns nothing, or has state that is no tensor; what the network raises passes through."""
    state = network.state_dict()
    odd = next((key for key, value in state.items() if not isinstance(value, Tensor)), None)
    if odd is not None:
        raise UsageError(f"the state of {name} cannot be saved: {odd} is no tensor")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UsageError(f"the network of {name} has no parameters to learn")
    network.train()
    with torch.no_grad():
        check_logits(name, network(torch.zeros(2, *input_shape)), classes)
    load_state(network, {key: value.clone() for key, value in state.items()})


def _in_plain_memory(_network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # A copy: grey pictures count as contiguous as they are, and convolutions take them for channels-last all the same.
    return (inputs[0].clone(memory_format=torch.contiguous_format), *inputs[1:])


def _make_room(module: str, folder: Path) -> None:
    """Forget a module of an earlier import, so that the one in `folder` is read. Raises UsageError if another one of
    that name is in use."""
    top = module.partition(".")[0]
    if not (folder / top).is_dir() and not (folder / f"{top}.py").is_file():
        return
    loaded = sys.modules.get(top)
    file = getattr(loaded, "__file__", None)
    if loaded is not None and top not in _imported and not (file and Path(file).is_relative_to(folder)):
        raise UsageError(f"--model {module}: there is another module {top!r}, which is in use: rename the file")
    if top == tuner.__name__:
        return
    for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
        del sys.modules[name]
    _imported.add(top)


def _import(module: str, folder: Path) -> Any:
    path = str(folder)
    if path in sys.path:
        sys.path.remove(path)
    sys.path.insert(0, path)
    importlib.invalidate_caches()
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing of ours in a study's folder
    try:
        return importlib.import_module(module)
    finally:
        sys.dont_write_bytecode = before
