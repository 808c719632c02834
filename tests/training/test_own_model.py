"""A network by the user's own function: found, imported as it is, refused in one line, and trained like any other."""

from __future__ import annotations

import hashlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from tuner.errors import CheckpointError, UsageError
from tuner.training.config import Hyperparameters
from tuner.training.data import TrainingData
from tuner.training.loop import TrialTrainer
from tuner.training.modelspec import ModelSpec
from tuner.training.own_model import (
    OwnNetwork,
    check_training,
    describe_error,
    import_here,
    import_kept,
    local_sources,
    source_sha256,
)

HP = Hyperparameters(batch_size=32, lr=0.05)
Writer = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Writer]:
    """`write("net.py", source)` writes a module into a folder, which is forgotten afterwards."""
    before, modules = list(sys.path), set(sys.modules)

    def write(name: str, source: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return path

    yield write
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_what_an_import_inside_a_function_names_is_a_source_too_and_what_shadows_python_is_not(write):
    folder = write("ownpkg/__init__.py", "").parent.parent
    write("ownpkg/net.py", "import json\ndef build(*_):\n    from .deep import layers\n    import torch, later_side\n")
    write("ownpkg/deep/layers.py", "from .. import sibling")  # a namespace package
    write("ownpkg/sibling.py", "import nowhere_to_be")
    for name in ("json", "torch", "unrelated"):
        write(f"{name}.py", "")
    write("later_side.py", "no python")
    import_here("ownpkg.net:build", folder)
    wanted = ["later_side.py", "ownpkg/__init__.py", "ownpkg/deep/layers.py", "ownpkg/net.py", "ownpkg/sibling.py"]
    assert list(local_sources(folder)) == wanted


def test_a_function_of_the_program_itself_is_refused_since_workers_cannot_import_it(tmp_path):
    with pytest.raises(UsageError, match=r"put the function into a file, such as mynet\.py, and name it mynet:build"):
        import_here("__main__:build", tmp_path)


def test_a_module_that_is_no_file_is_refused_in_one_line():
    with pytest.raises(UsageError, match="builtins is not read from a file"):
        source_sha256("builtins")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("", r"--model mynet:build: mynet has no function 'build'"),
        ("build = 3", r"--model mynet:build: build is of type int, not a function"),
        (
            "import nowhere_to_be",
            r"cannot be imported: ModuleNotFoundError: No module named 'nowhere_to_be' \(mynet.py, ",
        ),
        ("\nx = 1 / 0", r"cannot be imported: ZeroDivisionError: division by zero \(mynet.py, line 2\)"),
        ("def build(:", r"cannot be imported: SyntaxError: invalid syntax \(mynet.py, line 1\)"),
        ("raise SystemExit('bye')", r"cannot be imported: SystemExit: bye"),
        ("import sys\nsys.nothing", r"cannot be imported: AttributeError: .*nothing"),
    ],
)
def test_what_cannot_be_imported_is_one_line_that_says_why(write: Writer, source: str, line: str) -> None:
    folder = write("mynet.py", source).parent
    with pytest.raises(UsageError, match=line):
        import_here("mynet:build", folder)


def test_a_module_that_is_nowhere_and_one_whose_name_is_taken_are_refused(write: Writer) -> None:
    folder = write("json.py", "build = print").parent
    with pytest.raises(UsageError, match=r"there is no module 'nowhere_net', neither in .* nor installed"):
        import_here("nowhere_net:build", folder)
    with pytest.raises(UsageError, match="there is another module 'json', which is in use: rename the file"):
        import_here("json:build", folder)


def test_an_edited_module_is_imported_as_it_is_now(write: Writer) -> None:
    folder = write("mynet.py", "def build(): return 'old'").parent
    assert import_here("mynet:build", folder)() == "old"  # type: ignore[call-arg]
    write("mynet.py", "def build(): return 'new and longer'")
    assert import_here("mynet:build", folder)() == "new and longer"  # type: ignore[call-arg]


def test_a_study_goes_on_with_the_sources_that_it_keeps(write: Writer, tmp_path: Path) -> None:
    here = tmp_path / "here"
    write("here/pkg/__init__.py", "")
    write("here/pkg/nets.py", "from pkg.layers import NAME\ndef build(): return NAME")
    write("here/pkg/layers.py", "NAME = 'as it was'")
    assert import_here("pkg.nets:build", here)() == "as it was"  # type: ignore[call-arg]
    sources = local_sources(here)
    assert list(sources) == ["pkg/__init__.py", "pkg/layers.py", "pkg/nets.py"]
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in sources.items()}
    spec = ModelSpec("pkg.nets:build", sha256=source_sha256("pkg.nets"), files=hashes)
    for path, content in sources.items():
        write(f"kept/{path}", content.decode())
    write("here/pkg/layers.py", "NAME = 'changed'")
    assert import_kept(spec, tmp_path / "kept")() == "as it was"  # type: ignore[call-arg]
    write("kept/pkg/layers.py", "NAME = 'tampered with'")
    with pytest.raises(CheckpointError, match=r"kept/pkg/layers.py has changed since its study began"):
        import_kept(spec, tmp_path / "kept")
    (tmp_path / "kept/pkg/layers.py").unlink()
    with pytest.raises(CheckpointError, match=r"cannot read .*layers.py: No such file"):
        import_kept(spec, tmp_path / "kept")


def test_an_error_says_where_in_the_users_code_it_came_from(write: Writer) -> None:
    folder = write("mynet.py", "import torch\ndef build(width):\n    return torch.zeros(width)").parent
    with pytest.raises(RuntimeError) as caught:
        import_here("mynet:build", folder)(-1)  # type: ignore[call-arg, arg-type]
    assert describe_error(caught.value, folder).endswith("(mynet.py, line 3)")
    assert describe_error(ValueError("two\nlines"), folder) == "ValueError: two"


class Viewed(nn.Module):
    """Reshapes by `view`, as tutorials do, which fails on channels-last activations."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width * 64, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.norm(self.convolution(images)))
        return self.head(features.view(features.size(0), -1))  # type: ignore[no-any-return]


def test_it_is_called_with_the_parameters_of_the_space_and_trained_saved_and_restored(
    stripes: TrainingData, tmp_path: Path
) -> None:
    seen = []

    def build(params, input_shape, classes):
        seen.append((params, input_shape, classes))
        return Viewed(params["width"], classes)

    params = {"width": 8, "fancy": True, "lr": 0.05}
    network = OwnNetwork(ModelSpec("mynet:build", "a" * 64), build)

    def new_trainer(**changes) -> TrialTrainer:
        values = {"network": network, "params": params, **changes}
        return TrialTrainer(HP, stripes, max_epochs=4, seed=0, device="cpu", **values)

    trainer = new_trainer()
    assert seen == [(params, (1, 8, 8), 2)]
    scores = [trainer.run_epoch().score for _ in range(2)]
    saved = trainer.save(tmp_path)
    scores += [trainer.run_epoch().score for _ in range(2)]
    assert scores[-1] >= 0.95
    other = new_trainer()
    other.restore(saved.last)
    assert [other.run_epoch().score for _ in range(2)] == scores[2:]
    for changes in ({"params": {**params, "fancy": False}}, {"network": OwnNetwork(ModelSpec("a:b", "b" * 64), build)}):
        with pytest.raises(CheckpointError, match="belongs to another configuration"):
            new_trainer(**changes).restore(saved.last)


class Pair(nn.Module):
    """Gives an auxiliary output too, in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 2)

    def forward(self, images: torch.Tensor) -> object:
        logits = self.layer(images.flatten(1))
        return (logits, logits) if self.training else logits


@pytest.mark.parametrize(
    ("built", "line"),
    [
        (3, r"mynet:build returned a int, not a torch.nn.Module"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), r"gives 2 x 7 \(float32\) for 2 pictures: .* float N x 2"),
        (nn.Sequential(nn.Flatten(0), nn.Linear(128, 2)), r"gives 2 \(float32\) for 2 pictures"),
        (Pair(), r"gives a tuple, not a tensor of logits N x 2"),
        (nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(2)), r"has no parameters to learn"),
    ],
)
def test_what_is_no_classifier_of_these_pictures_is_refused(built: object, line: str) -> None:
    network = OwnNetwork(ModelSpec("mynet:build"), lambda params, shape, classes: built)  # type: ignore[arg-type,return-value]
    with pytest.raises(UsageError, match=line):
        check_training("mynet:build", network.build(HP, {}, (1, 8, 8), 2), (1, 8, 8), 2)


def test_frozen_epochs_are_refused_for_a_network_whose_last_layer_nobody_knows() -> None:
    network = OwnNetwork(ModelSpec("mynet:build"), lambda params, shape, classes: nn.Linear(1, 1))
    with pytest.raises(UsageError, match="frozen_epochs = 2 is for torchvision networks, not for mynet:build"):
        network.build(Hyperparameters(frozen_epochs=2), {}, (1, 8, 8), 2)
