"""Where initial weights come from, and that nothing in their file is run."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from tuner.errors import UsageError
from tuner.training.pretrained import find_weights
from tuner.training.transfer import new_network

NAME, CACHED = "squeezenet1_1", "squeezenet1_1-b8a52dc0.pth"


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch hub, and no network."""

    def unreachable(*_: object, **__: object) -> None:
        assert socket.getdefaulttimeout() == 10.0
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return new_network(NAME, 1000, pretrained=True).state_dict()


def test_a_file_is_taken_with_its_sha256_and_the_normalisation_of_the_published_weights(tmp_path, state) -> None:
    file = tmp_path / "mine.pth"
    torch.save(state, file)
    found = find_weights(NAME, file)
    assert (found.source, found.sha256) == (str(file), hashlib.sha256(file.read_bytes()).hexdigest())
    assert (found.mean, found.std) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert found.tensors.keys() == state.keys()


def test_without_a_file_the_cache_of_torch_hub_is_used(hub, state) -> None:
    hub.mkdir(parents=True)
    torch.save(state, hub / CACHED)
    found = find_weights(NAME, None)
    assert found.source == f"https://download.pytorch.org/models/{CACHED}"
    assert found.tensors.keys() == state.keys()


def test_what_cannot_be_downloaded_is_one_line_that_says_where_to_put_the_file(hub) -> None:
    with pytest.raises(UsageError) as caught:
        find_weights(NAME, None)
    assert str(caught.value) == (
        f"the weights of {NAME} cannot be downloaded (<urlopen error Name or service not known>): get "
        f"https://download.pytorch.org/models/{CACHED} elsewhere and put it at {hub / CACHED}, or name it with "
        "--weights FILE"
    )
    assert socket.getdefaulttimeout() is None


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("harm-done"),))  # type: ignore[return-value]


def test_a_file_with_code_in_it_or_no_state_dict_is_refused_and_nothing_is_run(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in (("code.pth", Harmful()), ("network.pth", torch.nn.Linear(1, 1))):
        torch.save(content, name)
        with pytest.raises(UsageError, match=f"{name} holds no weights that can be read without running code from it"):
            find_weights(NAME, Path(name))
    assert not Path("harm-done").exists()
    Path("text.pth").write_text("hello")
    with pytest.raises(UsageError, match=r"text.pth holds no weights that can be read"):
        find_weights(NAME, Path("text.pth"))
    torch.save({"epoch": 3}, "other.pth")
    with pytest.raises(UsageError, match=r"other.pth holds no state dict"):
        find_weights(NAME, Path("other.pth"))
    with pytest.raises(UsageError, match=r"gone.pth cannot be read: No such file"):
        find_weights(NAME, Path("gone.pth"))
