"""torchvision's networks: a new last layer, given weights, frozen and not, grey pictures, and what they refuse."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tuner.errors import UsageError
from tuner.training import checkpoint, loop
from tuner.training.checkpoint_ref import CheckpointRef
from tuner.training.config import Hyperparameters
from tuner.training.data import TrainingData
from tuner.training.loop import TrialTrainer
from tuner.training.modelspec import ModelSpec
from tuner.training.transfer import TorchvisionNetwork, body_of, last_layer, load_body, new_network

# Small and quick; and one of the few whose layers have versions, without which they do not load.
NAME = "mnasnet0_5"
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HP = Hyperparameters(batch_size=50, lr=0.02, frozen_epochs=2, unfrozen_lr_factor=0.1, l2=0.01, l1=1e-5, augment=0.1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kept weights of a study: all but the last layer."""
    torch.manual_seed(1)
    network = new_network(NAME, 1000, pretrained=True)
    path = tmp_path_factory.mktemp("model") / "weights.safetensors"
    path.write_bytes(safetensors.torch.save(body_of(network, network.state_dict(), "it")))
    return path


def new_trainer(data: TrainingData, weights: Path | None, hp: Hyperparameters = HP, seed: int = 0) -> TrialTrainer:
    spec = ModelSpec(f"torchvision:{NAME}", mean=MEAN, std=STD)
    network = TorchvisionNetwork(spec, weights)
    return TrialTrainer(hp, data, max_epochs=4, seed=seed, device="cpu", network=network, params={"lr": hp.lr})


def state_after(trainer: TrialTrainer, folder: Path) -> dict[str, Tensor]:
    trainer.run_epoch()
    return checkpoint.read(trainer.save(folder).last).group("model")


def test_at_first_only_the_new_layer_learns_and_then_everything(stripes, weights, tmp_path) -> None:
    given = {f"network.{key}": tensor for key, tensor in safetensors.torch.load(weights.read_bytes()).items()}
    trainer = new_trainer(stripes, weights)
    states = [state_after(trainer, tmp_path) for _ in range(3)]
    heads = {key for key in states[0] if key not in given}
    assert {key.rpartition(".")[2] for key in heads} == {"weight", "bias"}
    for state in states[:2]:
        # Norms' statistics too: a frozen layer is what it was.
        assert [key for key in given if not torch.equal(state[key], given[key])] == []
    assert not any(torch.equal(states[0][key], states[1][key]) for key in heads)
    moved = [key for key in given if not torch.equal(states[2][key], given[key])]
    assert len(moved) > 0.9 * len(given)


def test_once_everything_learns_the_rate_is_lower(stripes, weights, tmp_path) -> None:
    def step_of_first_kernel(factor: float) -> float:
        hp = dataclasses.replace(HP, frozen_epochs=0, unfrozen_lr_factor=factor, l1=0.0)
        before = safetensors.torch.load(weights.read_bytes())["layers.0.weight"]
        after = state_after(new_trainer(stripes, weights, hp), tmp_path / str(factor))["network.layers.0.weight"]
        return (after - before).norm().item()

    assert step_of_first_kernel(0.01) < 0.1 * step_of_first_kernel(1.0)


@pytest.mark.parametrize(("optimizer", "stop_after"), [("sgd", 1), ("sgd", 2), ("adam", 1), ("adamw", 2), ("sgd", 3)])
def test_a_trial_goes_on_bit_for_bit_wherever_it_stopped(
    stripes, weights, tmp_path, monkeypatch, optimizer, stop_after
) -> None:
    # In bfloat16 the gradient of this network's depthwise kernels is not always the same on a CPU, restored or not.
    monkeypatch.setattr(loop, "has_fast_bf16", lambda device: False)
    hp = dataclasses.replace(HP, optimizer=optimizer, lr=0.005)
    whole = new_trainer(stripes, weights, hp)
    for _ in range(stop_after):
        whole.run_epoch()
    saved = whole.save(tmp_path)
    # Without the initial weights, which must not matter any more.
    other = new_trainer(stripes, None, hp, seed=7)
    other.restore(CheckpointRef.from_dict(saved.last.as_dict()))
    one, two = state_after(whole, tmp_path / "one"), state_after(other, tmp_path / "two")
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_grey_pictures_are_to_the_network_what_colour_pictures_of_the_same_greys_are() -> None:
    spec = ModelSpec(f"torchvision:{NAME}", mean=MEAN, std=STD)
    architecture = TorchvisionNetwork(spec)
    network = architecture.build(Hyperparameters(), {}, (1, 32, 32), 4)
    network.network = torch.nn.Identity()
    pixels = torch.randint(0, 256, (3, 1, 32, 32)).float()

    def normalised(images: Tensor) -> Tensor:
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in architecture.normalisation(images.shape[1]))
        return (images - mean) / std

    torch.testing.assert_close(network(normalised(pixels)), normalised(pixels.expand(3, 3, 32, 32)))
    # Without trained weights the data set's own normalisation does, and the values are only repeated.
    plain = TorchvisionNetwork(ModelSpec(f"torchvision:{NAME}"))
    assert plain.normalisation(1) is None
    assert plain.build(Hyperparameters(), {}, (1, 32, 32), 4)(pixels).shape == (3, 4)


def test_what_is_saved_says_how_pictures_are_normalised(stripes, weights, tmp_path) -> None:
    trainer = new_trainer(stripes, weights)
    trainer.run_epoch()
    state = checkpoint.read(trainer.save(tmp_path).best).state
    assert state["mean"] == pytest.approx([255 * sum(MEAN) / 3])
    assert state["std"] == pytest.approx([255 * sum(STD) / 3])
    assert (state["model"]["name"], state["params"]) == (f"torchvision:{NAME}", {"lr": 0.02})


@pytest.mark.parametrize(
    ("name", "side", "line"),
    [
        ("alexnet", 32, r"torchvision:alexnet takes no pictures of 32 x 32 pixels \(.*\): give --image-size 224"),
        ("inception_v3", 64, r"torchvision:inception_v3 takes no pictures of 64 x 64 pixels .*: give --image-size 299"),
        ("resnet19", 32, r"torchvision has no classifier 'resnet19'; it has .*resnet18, "),
        ("fcn_resnet50", 32, r"torchvision has no classifier 'fcn_resnet50'"),
    ],
)
def test_pictures_that_are_too_small_and_networks_that_are_none_are_refused(name: str, side: int, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        TorchvisionNetwork(ModelSpec(f"torchvision:{name}")).build(Hyperparameters(), {}, (3, side, side), 10)


def test_parameters_of_the_built_in_networks_are_refused() -> None:
    with pytest.raises(UsageError, match="depth is of the built-in networks and means nothing to torchvision:resnet18"):
        TorchvisionNetwork(ModelSpec("torchvision:resnet18")).build(Hyperparameters(), {"depth": 2}, (3, 32, 32), 10)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("resnet18", "fc"),
        ("squeezenet1_1", "classifier.1"),
        ("shufflenet_v2_x0_5", "fc"),
        ("densenet121", "classifier"),
    ],
)
def test_the_last_layer_is_new_and_nothing_else(name: str, head: str) -> None:
    published = new_network(name, 1000, pretrained=True).state_dict()
    network = new_network(name, 3, pretrained=True)
    fresh = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    assert last_layer(network)[0] == head
    load_body(network, published, "it")
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, (fresh if key.startswith(f"{head}.") else published)[key]), key


def test_weights_of_before_2018_and_of_old_densenets_fit() -> None:
    network = new_network("densenet121", 5, pretrained=True)
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): tensor
        for key, tensor in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert body_of(network, old, "it").keys() == {key for key in network.state_dict() if "classifier" not in key}


def test_weights_of_another_network_are_refused_by_what_does_not_fit() -> None:
    network = new_network("resnet18", 5, pretrained=True)
    state = network.state_dict()
    missing = {key: tensor for key, tensor in state.items() if key != "conv1.weight"}
    for tensors, line in (
        (missing, "FILE holds no weights of this network: conv1.weight is missing"),
        ({**state, "extra": torch.zeros(1)}, "FILE holds no weights of this network, which has no extra"),
        ({**state, "bn1.bias": torch.zeros(3)}, r"bn1.bias has shape \(3,\), not \(64,\)"),
    ):
        with pytest.raises(UsageError, match=line):
            body_of(network, tensors, "FILE")
